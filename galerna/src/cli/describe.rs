//! `describe`: how one topology on a cluster is doing.

mod text;
mod user_metrics;

use galerna_protocol::{ComponentStats, DescribeReply, NameRequest, WorkerId, WorkerSummary};
use serde_json::{Value, json};

use super::args::{Cluster, Describe, Output};
use super::errors;
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::list::summary_json;
use super::nimbus::{Client, Nimbus, block_on};
use super::rates::{latency_json, source_json, window_json};
use super::watch::{Page, watch};
use super::worker_ends::{end_json, state_name};

pub(super) fn run(args: &Describe, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let nimbus = Nimbus::of(&args.cluster);
    if args.watch {
        let page = async || {
            let reply = describe(&nimbus, &args.name).await?;
            let is_last = reply.ended_unix_ms > 0;
            let notes = reply.notes.iter().filter(|_| args.cluster.output == Output::Text);
            let notes: String = notes.map(|note| format!("note: {note}\n")).collect();
            Ok(Page { text: notes + &rendered(&args.cluster, &reply), is_last })
        };
        return block_on(async { watch(args.every, io, page).await });
    }
    let reply = block_on(async { describe(&nimbus, &args.name).await })?;
    print(&args.cluster, &reply, io)?;
    Ok(Exit::Done)
}

pub(super) fn print(cluster: &Cluster, reply: &DescribeReply, io: &mut Io<'_>) -> Result<(), Failure> {
    reply.notes.iter().for_each(|note| io.say(&format!("note: {note}")));
    io.print(&rendered(cluster, reply))
}

fn rendered(cluster: &Cluster, reply: &DescribeReply) -> String {
    match cluster.output {
        Output::Text => text::render(reply),
        Output::Json => format!("{}\n", as_json(reply)),
    }
}

/// What Nimbus knows of a topology.
pub(super) async fn describe(nimbus: &Nimbus<'_>, name: &str) -> Result<DescribeReply, Failure> {
    let request = NameRequest { name: name.to_owned() };
    let describe = async |mut client: Client| client.describe(request.clone()).await;
    Ok(nimbus.call(describe).await?.into_inner())
}

/// As `list` has it, with the workers themselves in the place of their number, and more.
fn as_json(reply: &DescribeReply) -> Value {
    let mut object = summary_json(&reply.summary.clone().unwrap_or_default());
    object["workers"] = reply.workers.iter().map(worker_json).collect();
    object["generation"] = json!(reply.generation);
    object["components"] = reply.components.iter().map(component_json).collect();
    object["counts_are"] = json!(counts_are(reply));
    object["unscheduled"] = json!(reply.unscheduled);
    object["errors"] = reply.errors.iter().map(errors::as_json).collect();
    object["worker_ends"] = reply.worker_ends.iter().map(end_json).collect();
    if !reply.failure.is_empty() {
        object["failure"] = json!(reply.failure);
    }
    match reply.ended_unix_ms {
        0 => {
            object["sources"] = reply.sources.iter().map(source_json).collect();
            object["rates_lack"] = json!(reply.gaps);
        }
        ended => object["ended_unix_ms"] = json!(ended),
    }
    object
}

fn counts_are(reply: &DescribeReply) -> &'static str {
    if reply.are_counts_exact { "exact" } else { "at least" }
}

fn worker_json(of: &WorkerSummary) -> Value {
    let WorkerId { supervisor, slot } = of.id.clone().unwrap_or_default();
    json!({
        "supervisor": supervisor,
        "slot": slot,
        "pid": of.pid,
        "incarnation": of.incarnation,
        "tasks": of.tasks,
        "uptime_s": of.uptime_secs,
        "state": state_name(of.state()),
        "restarts": of.restarts,
    })
}

fn component_json(of: &ComponentStats) -> Value {
    let mut object = json!({
        "id": of.id,
        "kind": of.kind,
        "tasks": of.tasks,
        "executors": of.executors,
        "emitted": of.emitted,
        "executed": of.executed,
        "acked": of.acked,
        "failed": of.failed,
        "restarts": of.restarts,
        "execute_latency_us": latency_json(of.execute_latency.as_ref()),
        "complete_latency_us": latency_json(of.complete_latency.as_ref()),
        "errors": of.errors,
        "replayed": of.replayed,
        "gave_up": of.gave_up,
        "pending": of.pending,
        "queued": of.queued,
        "queue_capacity": of.queue_capacity,
        "last_10s": window_json(of.last_10_s.as_ref()),
        "last_10min": window_json(of.last_10_min.as_ref()),
    });
    if let Some(of) = &of.retrying {
        object["retrying"] = json!({"tuples": of.tuples, "for_ms": of.for_ms, "reason": of.reason});
    }
    user_metrics::add_json(&mut object, of);
    object
}
