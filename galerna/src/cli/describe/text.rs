//! A topology on a cluster, for people.

use std::fmt::Write;
use std::time::Duration;

use galerna_protocol::{ComponentStats, DescribeReply, ExecutorSummary, Latency, TaskRange, WorkerId};
use galerna_worker::{ComponentSummary, RetryingSummary};

use super::{counts_are, user_metrics};
use crate::cli::components::{counts, latencies, retrying};
use crate::cli::errors;
use crate::cli::list::moment;
use crate::cli::numbers::{count, plural, seconds};
use crate::cli::rates;
use crate::cli::table::{Align, Table};
use crate::cli::worker_ends::{line, state_name};

/// So many ends of workers are shown.
const SHOWN_ENDS: usize = 5;

pub(super) fn render(reply: &DescribeReply) -> String {
    let summary = reply.summary.clone().unwrap_or_default();
    let (name, id, time) = (&summary.name, &summary.id, seconds(summary.uptime_secs));
    let mut text = match reply.ended_unix_ms {
        0 => format!("{name} ({id}): {} for {time}, generation {}\n", status(reply), reply.generation),
        ended => {
            let (status, ended) = (status(reply), moment(ended));
            format!("{name} ({id}): {status} at {ended} after {time}, generation {}\n", reply.generation)
        }
    };
    if reply.ended_unix_ms == 0 {
        let _ = write!(text, "{}, ", plural(summary.workers as usize, "worker"));
    }
    let (executors, tasks) = (summary.executors as usize, summary.tasks as usize);
    let _ = writeln!(text, "{}, {}", plural(executors, "executor"), plural(tasks, "task"));
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
        text.push_str(&now(reply));
    }
    if !reply.worker_ends.is_empty() {
        text.push_str("\nworkers that ended last (`errors` shows their last lines):\n");
        for end in reply.worker_ends.iter().take(SHOWN_ENDS) {
            let _ = writeln!(text, "  {}", indented(&line(end)));
        }
    }
    if !reply.components.is_empty() {
        let components: Vec<_> = reply.components.iter().map(component).collect();
        let _ = write!(text, "\n{}\n{}", counts(&components).render(), latencies(&components).render());
        if let Some(table) = user_metrics::table(&reply.components) {
            let _ = write!(text, "\n{}", table.render());
        }
        text.push_str(&retrying(&components));
        let why = if reply.are_counts_exact {
            ""
        } else {
            " these: a worker's last moment, or a supervisor's report, is missing"
        };
        let _ = writeln!(text, "\ncounts are {}{why}", counts_are(reply));
    }
    if !reply.errors.is_empty() {
        text.push_str("\nerrors (`errors` shows all):\n");
        for error in &reply.errors {
            let _ = writeln!(text, "  {}", indented(&errors::render(error)));
        }
    }
    text
}

/// The status for people, as in `list`: a topology that has finished badly has failed.
fn status(reply: &DescribeReply) -> &str {
    let status = reply.summary.as_ref().map_or("-", |summary| &summary.status);
    if status == "FINISHED" && !reply.failure.is_empty() { "FAILED" } else { status }
}

/// What it does now.
fn now(reply: &DescribeReply) -> String {
    let tables = rates::tables(reply);
    let mut text: String = tables.iter().map(|table| format!("\n{}", table.render())).collect();
    text.push_str(match tables.is_empty() {
        true => "\nno rates yet: they need reports of at least a second\n",
        false => "p50, p99: complete latency of spouts, execute of bolts; shares: last 10 s\n",
    });
    for gap in &reply.gaps {
        let _ = writeln!(text, "rates lack figures: {gap}");
    }
    if !reply.sources.is_empty() {
        let _ = write!(text, "\n{}", rates::sources(&reply.sources).render());
    }
    text
}

/// Further lines of a message stand under its first.
fn indented(message: &str) -> String {
    message.trim_end().replace('\n', "\n    ")
}

fn workers(reply: &DescribeReply) -> Table {
    let numbers = ["pid", "incarnation", "tasks", "up", "restarts"].map(|title| (title, Align::Right));
    let texts = ["state", "runs"].map(|title| (title, Align::Left));
    let mut table = Table::new([("worker", Align::Left)].into_iter().chain(numbers).chain(texts));
    for of in &reply.workers {
        let id = of.id.clone().unwrap_or_default();
        let launch = [of.pid.to_string(), of.incarnation.to_string()];
        let numbers = launch.into_iter().chain([count(of.tasks.into()), seconds(of.uptime_secs), count(of.restarts)]);
        let texts = [state_name(of.state()).to_owned(), runs(&id, &reply.executors)];
        table.row([id.to_string()].into_iter().chain(numbers).chain(texts));
    }
    table
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
        retrying: of.retrying.as_ref().map(|of| RetryingSummary {
            tuples: of.tuples,
            duration: Duration::from_millis(of.for_ms),
            reason: of.reason.clone(),
        }),
        execute_latency_us: latency(&of.execute_latency),
        complete_latency_us: latency(&of.complete_latency),
        ..ComponentSummary::default()
    }
}
