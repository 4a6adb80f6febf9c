//! What the components of a topology did, as tables: of a local run, and of one on a cluster.

use galerna_worker::{ComponentSummary, Latency, RetryingSummary};

use super::numbers::{count, micros, plural, seconds};
use super::table::{Align, Table};

type Column = (&'static str, fn(&ComponentSummary) -> u64);

/// Always shown.
const COUNTS: &[Column] = &[
    ("tasks", |of| of.tasks.into()),
    ("executors", |of| of.executors.into()),
    ("emitted", |of| of.emitted),
    ("executed", |of| of.executed),
    ("acked", |of| of.acked),
    ("failed", |of| of.failed),
    ("restarts", |of| of.restarts),
];

/// Shown where they are not all 0.
const RARE: &[Column] = &[("replayed", |of| of.replayed), ("gave up", |of| of.gave_up), ("errors", |of| of.errors)];

/// How much they did.
pub(super) fn counts(components: &[ComponentSummary]) -> Table {
    let rare = RARE.iter().filter(|(_, number)| components.iter().any(|of| number(of) > 0));
    let shown: Vec<&Column> = COUNTS.iter().chain(rare).collect();
    let mut columns = vec![("component", Align::Left), ("kind", Align::Left)];
    columns.extend(shown.iter().map(|(title, _)| (*title, Align::Right)));
    let mut table = Table::new(columns);
    for of in components {
        let mut cells = vec![of.id.clone(), of.kind.to_owned()];
        cells.extend(shown.iter().map(|(_, number)| count(number(of))));
        table.row(cells);
    }
    table
}

/// How long it took them.
pub(super) fn latencies(components: &[ComponentSummary]) -> Table {
    let titles = ["execute p50", "p99", "max", "complete p50", "p99", "max"];
    let columns = titles.map(|title| (title, Align::Right));
    let mut table = Table::new([("latency", Align::Left)].into_iter().chain(columns));
    for of in components {
        let numbers = [of.execute_latency_us, of.complete_latency_us].into_iter().flat_map(latency);
        table.row([of.id.clone()].into_iter().chain(numbers));
    }
    table
}

/// A line for each spout that emits failed tuples again: how many, for how long, and why.
pub(super) fn retrying(components: &[ComponentSummary]) -> String {
    let lines = components.iter().filter_map(|of| {
        let retrying = of.retrying.as_ref()?;
        Some(format!("{} is {}\n", of.id, retrying_text(retrying)))
    });
    lines.collect()
}

/// `retrying 12 tuples for 8 min 05 s: the last failure of the first`.
pub(super) fn retrying_text(of: &RetryingSummary) -> String {
    let tuples = plural(of.tuples as usize, "tuple");
    format!(
        "retrying {tuples} for {}: {}",
        seconds(of.duration.as_secs()),
        of.reason.trim_end().replace('\n', "\n    ")
    )
}

fn latency(latency: Option<Latency>) -> [String; 3] {
    latency.map_or_else(|| ["-"; 3].map(str::to_owned), |of| [of.p50, of.p99, of.max].map(micros))
}
