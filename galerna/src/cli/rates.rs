//! Rates, latencies and levels of components, for people and for scripts.

use galerna_protocol::{ComponentStats, DescribeReply, Latency, SourceSummary, Window};
use serde_json::{Value, json};

use super::numbers::{count, micros, rate, seconds};
use super::table::{Align, Table};

/// Seconds from which on a window has its full length: the long one ends with a whole second, and begins with whole tens.
const FULL: [(f64, &str); 2] = [(9.5, "last 10 s"), (585.0, "last 10 min")];

/// `last 10 s`, or `last 4 s` if Nimbus has watched for no longer.
pub(super) fn short_label(of: &Window) -> String {
    label(of, FULL[0])
}

fn label(of: &Window, (full, name): (f64, &str)) -> String {
    if of.seconds >= full { name.to_owned() } else { format!("last {}", seconds(of.seconds.round() as u64)) }
}

/// Tables of rates and latencies, one for each window, and of levels. A long window that is as short as the short window is left out.
pub(super) fn tables(reply: &DescribeReply) -> Vec<Table> {
    let window = |of: fn(&ComponentStats) -> Option<&Window>| reply.components.first().and_then(of);
    let (short, long) = (window(|of| of.last_10_s.as_ref()), window(|of| of.last_10_min.as_ref()));
    let mut tables = Vec::new();
    if let Some(short) = short {
        tables.push(table(reply, short_label(short), |of| of.last_10_s.as_ref()));
    }
    if let Some(long) = long.filter(|long| short.is_none_or(|short| long.seconds > short.seconds + 0.5)) {
        tables.push(table(reply, label(long, FULL[1]), |of| of.last_10_min.as_ref()));
    }
    if short.is_some() {
        tables.push(now(reply));
    }
    tables
}

fn table(reply: &DescribeReply, title: String, window: fn(&ComponentStats) -> Option<&Window>) -> Table {
    let titles = ["emitted/s", "executed/s", "acked/s", "failed/s", "p50", "p99"];
    let mut table = Table::titled(title, titles.map(|title| (title, Align::Right)));
    for of in &reply.components {
        let Some(window) = window(of) else { continue };
        let is_spout = of.kind == "spout";
        let executed = if is_spout { "-".to_owned() } else { per_second(window.executed) };
        let numbers = [per_second(window.emitted), executed, per_second(window.acked), per_second(window.failed)];
        let latency = if is_spout { &window.complete_latency } else { &window.execute_latency };
        table.row([of.id.clone()].into_iter().chain(numbers).chain(quantiles(latency.as_ref())));
    }
    table
}

/// Levels of the components, and shares of time.
fn now(reply: &DescribeReply) -> Table {
    let titles = ["pending", "queued", "queue full", "busy", "waiting", "blocked"];
    let mut table = Table::titled("now".to_owned(), titles.map(|title| (title, Align::Right)));
    for of in &reply.components {
        let is_spout = of.kind == "spout";
        let [queued, full] = match of.queue_capacity {
            _ if is_spout => ["-", "-"].map(str::to_owned),
            0 => [count(of.queued), "-".to_owned()],
            capacity => [count(of.queued), percent(of.queued as f64 / capacity as f64)],
        };
        let shares = of.last_10_s.as_ref().map_or([None; 3], shares);
        let shares = shares.map(|share| share.map_or_else(|| "-".to_owned(), percent));
        table.row([of.id.clone(), count(of.pending), queued, full].into_iter().chain(shares));
    }
    table
}

/// Positions and lags of sources.
pub(super) fn sources(sources: &[SourceSummary]) -> Table {
    let columns = [("source", Align::Left), ("task", Align::Right), ("lag", Align::Right), ("position", Align::Left)];
    let mut table = Table::new(columns);
    for of in sources {
        let lag = of.lag.map_or_else(|| "-".to_owned(), count);
        // One line, for any text.
        let position = of.position.replace(char::is_control, " ");
        table.row([of.component.clone(), of.task.to_string(), lag, position]);
    }
    table
}

/// A rate; nothing at all is `0`.
pub(super) fn per_second(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { rate(value) }
}

/// The median and the 99th percentile.
pub(super) fn quantiles(latency: Option<&Latency>) -> [String; 2] {
    latency.map_or_else(|| ["-"; 2].map(str::to_owned), |of| [of.p50, of.p99].map(micros))
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share.clamp(0.0, 1.0) * 100.0)
}

/// The shares of time in which tasks ran calls, waited for input, and waited for room.
fn shares(of: &Window) -> [Option<f64>; 3] {
    let waiting = of.busy.map(|busy| (1.0 - busy - of.blocked).max(0.0));
    [of.busy, waiting, Some(of.blocked)]
}

/// A window as JSON; null without a window.
pub(super) fn window_json(of: Option<&Window>) -> Value {
    let Some(of) = of else { return Value::Null };
    let [busy, waiting, blocked] = shares(of).map(|share| share.map(rounded));
    json!({
        "seconds": rounded(of.seconds),
        "emitted_per_s": rounded(of.emitted),
        "executed_per_s": rounded(of.executed),
        "acked_per_s": rounded(of.acked),
        "failed_per_s": rounded(of.failed),
        "execute_latency_us": latency_json(of.execute_latency.as_ref()),
        "complete_latency_us": latency_json(of.complete_latency.as_ref()),
        "busy": busy,
        "waiting": waiting,
        "blocked": blocked,
    })
}

/// A source as JSON.
pub(super) fn source_json(of: &SourceSummary) -> Value {
    json!({ "component": of.component, "task": of.task, "position": of.position, "lag": of.lag })
}

/// A latency as JSON.
pub(super) fn latency_json(of: Option<&Latency>) -> Value {
    of.map_or(Value::Null, |of| json!({"p50": of.p50, "p99": of.p99, "max": of.max}))
}

/// To three decimals.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
