//! The summary of a run, for people.

use std::fmt::Write;

use galerna_worker::{ComponentSummary, Latency, RunStatus, RunSummary};

use crate::cli::numbers::{count, duration, micros, rate};
use crate::cli::table::{Align, Table};

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

/// Whether no component did anything.
pub(super) fn is_empty(summary: &RunSummary) -> bool {
    summary.components.iter().all(|of| of.emitted == 0 && of.executed == 0)
}

/// What components did, how long it took them, totals, then errors.
pub(super) fn render(summary: &RunSummary) -> String {
    let mut text = format!("\n{}\n{}\n", counts(summary).render(), latencies(summary).render());
    let _ = writeln!(text, "{}", totals(summary));
    counters(summary, &mut text);
    if !summary.errors.is_empty() {
        text.push_str("\nerrors:\n");
        for error in &summary.errors {
            let times = if error.count == 1 { String::new() } else { format!(" ({} times)", count(error.count)) };
            let message = error.message.trim_end().replace('\n', "\n    ");
            let _ = writeln!(text, "  {} task {}{times}: {message}", error.component, error.task);
        }
    }
    text
}

fn counts(summary: &RunSummary) -> Table {
    let rare = RARE.iter().filter(|(_, number)| summary.components.iter().any(|of| number(of) > 0));
    let shown: Vec<&Column> = COUNTS.iter().chain(rare).collect();
    let mut columns = vec![("component", Align::Left), ("kind", Align::Left)];
    columns.extend(shown.iter().map(|(title, _)| (*title, Align::Right)));
    let mut table = Table::new(columns);
    for of in &summary.components {
        let mut cells = vec![of.id.clone(), of.kind.to_owned()];
        cells.extend(shown.iter().map(|(_, number)| count(number(of))));
        table.row(cells);
    }
    table
}

fn latencies(summary: &RunSummary) -> Table {
    let titles = ["execute p50", "p99", "max", "complete p50", "p99", "max"];
    let columns = titles.map(|title| (title, Align::Right));
    let mut table = Table::new([("latency", Align::Left)].into_iter().chain(columns));
    for of in &summary.components {
        let numbers = [of.execute_latency_us, of.complete_latency_us].into_iter().flat_map(latency);
        table.row([of.id.clone()].into_iter().chain(numbers));
    }
    table
}

fn latency(latency: Option<Latency>) -> [String; 3] {
    latency.map_or_else(|| ["-"; 3].map(str::to_owned), |of| [of.p50, of.p99, of.max].map(micros))
}

fn totals(summary: &RunSummary) -> String {
    let status = match summary.status {
        RunStatus::Running => "running",
        RunStatus::Finished => "finished",
        RunStatus::Stopped => "stopped",
        RunStatus::Failed => "failed",
    };
    let time = duration(summary.duration);
    format!("{}: {status} after {time}, {} tuples/s", summary.topology, rate(summary.tuples_per_second))
}

/// What components count by name, a line for each component that does.
fn counters(summary: &RunSummary, text: &mut String) {
    for of in summary.components.iter().filter(|of| !of.counters.is_empty()) {
        let named: Vec<_> = of.counters.iter().map(|(name, number)| format!("{name} {}", count(*number))).collect();
        let _ = writeln!(text, "{} counted: {}", of.id, named.join(", "));
    }
}
