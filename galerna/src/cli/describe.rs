//! `describe`: how one topology on a cluster is doing.

mod text;
mod user_metrics;

use galerna_protocol::{ComponentStats, DescribeReply, Latency, NameRequest, WorkerId, WorkerSummary};
use serde_json::{Value, json};

use super::args::{Cluster, Named, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::list::summary_json;
use super::nimbus::{Client, Nimbus, block_on};

pub(super) fn run(args: &Named, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let reply = block_on(async { describe(&Nimbus::of(&args.cluster), &args.name).await })?;
    print(&args.cluster, &reply, io)?;
    Ok(Exit::Done)
}

pub(super) fn print(cluster: &Cluster, reply: &DescribeReply, io: &mut Io<'_>) -> Result<(), Failure> {
    match cluster.output {
        Output::Text => io.print(&text::render(reply)),
        Output::Json => io.print(&format!("{}\n", as_json(reply))),
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
    if !reply.failure.is_empty() {
        object["failure"] = json!(reply.failure);
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
    })
}

fn component_json(of: &ComponentStats) -> Value {
    let latency = |of: &Option<Latency>| of.as_ref().map(|of| json!({"p50": of.p50, "p99": of.p99, "max": of.max}));
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
        "execute_latency_us": latency(&of.execute_latency),
        "complete_latency_us": latency(&of.complete_latency),
        "errors": of.errors,
        "replayed": of.replayed,
        "gave_up": of.gave_up,
    });
    user_metrics::add_json(&mut object, of);
    object
}
