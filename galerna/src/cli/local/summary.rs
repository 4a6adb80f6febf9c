//! The summary of a run, for people.

use std::fmt::Write;

use galerna_worker::{RunStatus, RunSummary};

use crate::cli::components::{counts, latencies, retrying};
use crate::cli::numbers::{count, duration, rate};

/// Whether no component did anything.
pub(super) fn is_empty(summary: &RunSummary) -> bool {
    summary.components.iter().all(|of| of.emitted == 0 && of.executed == 0)
}

/// What components did, how long it took them, totals, then errors.
pub(super) fn render(summary: &RunSummary) -> String {
    let mut text = format!("\n{}\n{}\n", counts(&summary.components).render(), latencies(&summary.components).render());
    let _ = writeln!(text, "{}", totals(summary));
    counters(summary, &mut text);
    text.push_str(&retrying(&summary.components));
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
