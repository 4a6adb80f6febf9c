//! `top`: rates, latency and pending tuples of all topologies.

use galerna_protocol::{ListRequest, TopologySummary};
use serde_json::{Value, json};

use super::args::{Output, Top};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::list::{note, summary_json};
use super::nimbus::{Client, Nimbus, block_on};
use super::numbers::{count, plural, seconds};
use super::rates::{per_second, quantiles, window_json};
use super::table::{Align, Table};
use super::watch::{Page, watch};

pub(super) fn run(args: &Top, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let nimbus = Nimbus::of(&args.cluster);
    // A file or a pipe gets one table.
    let is_once = args.once || !io.is_watched;
    let page = async || {
        let request = ListRequest { with_rates: true, ..ListRequest::default() };
        let list = async |mut client: Client| client.list(request).await;
        let topologies = nimbus.call(list).await?.into_inner().topologies;
        let text = match args.cluster.output {
            Output::Json => format!("{}\n", topologies.iter().map(as_json).collect::<Value>()),
            Output::Text => render(&topologies),
        };
        Ok(Page { text, is_last: is_once })
    };
    block_on(async { watch(args.every, io, page).await })
}

fn render(topologies: &[TopologySummary]) -> String {
    if topologies.is_empty() {
        return "no topologies\n".to_owned();
    }
    let running = topologies.iter().filter(|of| !matches!(of.status.as_str(), "FINISHED" | "KILLED")).count();
    let names = ["name", "status"].map(|title| (title, Align::Left));
    let numbers = ["last", "emitted/s", "acked/s", "failed/s", "p50", "p99", "pending", "workers", "up"];
    let mut table = Table::new(names.into_iter().chain(numbers.map(|title| (title, Align::Right))));
    for of in topologies {
        let rates = match &of.last_10_s {
            None => ["-"; 6].map(str::to_owned),
            Some(window) => {
                let [p50, p99] = quantiles(window.complete_latency.as_ref());
                let [emitted, acked, failed] = [window.emitted, window.acked, window.failed].map(per_second);
                [seconds(window.seconds.round() as u64), emitted, acked, failed, p50, p99]
            }
        };
        let rest = [count(of.pending), count(of.workers.into()), seconds(of.uptime_secs)];
        table.row([of.name.clone(), note::status(of).to_owned()].into_iter().chain(rates).chain(rest));
    }
    let all = plural(topologies.len(), "topology").replace("topologys", "topologies");
    format!("{all}, {running} running; rates of spouts, p50 and p99 of complete latency\n\n{}", table.render())
}

fn as_json(of: &TopologySummary) -> Value {
    let mut object = summary_json(of);
    object["last_10s"] = window_json(of.last_10_s.as_ref());
    object["pending"] = json!(of.pending);
    object
}
