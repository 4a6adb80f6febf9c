//! A topology on a cluster, for people.

use std::fmt::Write;

use galerna_protocol::{
    ComponentStats, DescribeReply, ExecutorSummary, Latency, TaskRange, WorkerId, WorkerState, WorkerSummary,
};
use galerna_worker::ComponentSummary;

use super::{counts_are, user_metrics};
use crate::cli::components::{counts, latencies};
use crate::cli::numbers::{count, plural, seconds};
use crate::cli::table::{Align, Table};

pub(super) fn render(reply: &DescribeReply) -> String {
    let summary = reply.summary.clone().unwrap_or_default();
    let mut text = format!(
        "{} ({}): {} for {}, generation {}\n{}, {}, {}\n",
        summary.name,
        summary.id,
        summary.status,
        seconds(summary.uptime_secs),
        reply.generation,
        plural(summary.workers as usize, "worker"),
        plural(summary.executors as usize, "executor"),
        plural(summary.tasks as usize, "task"),
    );
    if !summary.owner.is_empty() {
        let _ = writeln!(text, "owner: {}", summary.owner);
    }
    if !reply.failure.is_empty() {
        let _ = writeln!(text, "failed: {}", indented(&reply.failure));
    }
    if !reply.unscheduled.is_empty() {
        text.push_str("\nnot scheduled, or not staying up:\n");
        for reason in &reply.unscheduled {
            let _ = writeln!(text, "  {}", indented(reason));
        }
    }
    if !reply.workers.is_empty() {
        let _ = write!(text, "\n{}", workers(reply).render());
    }
    if !reply.components.is_empty() {
        let components: Vec<_> = reply.components.iter().map(component).collect();
        let _ = write!(text, "\n{}\n{}", counts(&components).render(), latencies(&components).render());
        if let Some(table) = user_metrics::table(&reply.components) {
            let _ = write!(text, "\n{}", table.render());
        }
        let why = if reply.are_counts_exact {
            ""
        } else {
            " these: a worker's last moment, or a supervisor's report, is missing"
        };
        let _ = writeln!(text, "\ncounts are {}{why}", counts_are(reply));
    }
    text
}

/// Further lines of a message stand under its first.
fn indented(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

fn workers(reply: &DescribeReply) -> Table {
    let numbers = ["pid", "incarnation", "tasks", "up"].map(|title| (title, Align::Right));
    let texts = ["state", "runs"].map(|title| (title, Align::Left));
    let mut table = Table::new([("worker", Align::Left)].into_iter().chain(numbers).chain(texts));
    for of in &reply.workers {
        let id = of.id.clone().unwrap_or_default();
        let numbers = [of.pid.to_string(), of.incarnation.to_string(), count(of.tasks.into()), seconds(of.uptime_secs)];
        let texts = [state(of).to_owned(), runs(&id, &reply.executors)];
        table.row([id.to_string()].into_iter().chain(numbers).chain(texts));
    }
    table
}

fn state(of: &WorkerSummary) -> &'static str {
    match of.state() {
        WorkerState::Unspecified => "-",
        WorkerState::Starting => "starting",
        WorkerState::Running => "running",
        WorkerState::Finished => "finished",
        WorkerState::Drained => "drained",
        WorkerState::Gone => "gone",
    }
}

/// The tasks of a worker by component, one part for each executor: `lines 1, count 4-5 6`.
fn runs(worker: &WorkerId, executors: &[ExecutorSummary]) -> String {
    let mut parts: Vec<(&str, String)> = Vec::new();
    for of in executors.iter().filter(|of| of.worker.as_ref() == Some(worker)) {
        let TaskRange { first, last } = of.tasks.unwrap_or_default();
        let tasks = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match parts.iter_mut().find(|(component, _)| *component == of.component) {
            Some((_, known)) => *known = format!("{known} {tasks}"),
            None => parts.push((&of.component, tasks)),
        }
    }
    parts.iter().map(|(component, tasks)| format!("{component} {tasks}")).collect::<Vec<_>>().join(", ")
}

fn component(of: &ComponentStats) -> ComponentSummary {
    let latency =
        |of: &Option<Latency>| of.as_ref().map(|of| galerna_worker::Latency { p50: of.p50, p99: of.p99, max: of.max });
    ComponentSummary {
        id: of.id.clone(),
        kind: ["spout", "bolt"].into_iter().find(|kind| *kind == of.kind).unwrap_or("system"),
        tasks: of.tasks,
        executors: of.executors,
        emitted: of.emitted,
        executed: of.executed,
        acked: of.acked,
        failed: of.failed,
        replayed: of.replayed,
        gave_up: of.gave_up,
        restarts: of.restarts,
        errors: of.errors,
        execute_latency_us: latency(&of.execute_latency),
        complete_latency_us: latency(&of.complete_latency),
        ..ComponentSummary::default()
    }
}
