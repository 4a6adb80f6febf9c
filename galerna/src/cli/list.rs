//! `list` and `supervisors`: what there is on a cluster.

pub(super) mod note;

use galerna_protocol::{EndedSummary, ListRequest, SupervisorSummary, SupervisorsRequest, TopologySummary};
use galerna_topology_api::Timestamp;
use serde_json::{Value, json};

use super::args::{Cluster, List, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Client, Nimbus, block_on};
use super::numbers::{cores, count, memory, seconds};
use super::table::{Align, Table};

pub(super) fn run(args: &List, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = ListRequest { is_ended: args.ended, ..ListRequest::default() };
    let list = async |mut client: Client| client.list(request).await;
    let reply = block_on(async { Ok(Nimbus::of(&args.cluster).call(list).await?.into_inner()) })?;
    if args.ended {
        return print(&args.cluster, &reply.ended, "topologies have ended", ended_json, ended_table, io);
    }
    print(&args.cluster, &reply.topologies, "topologies", summary_json, topology_table, io)
}

pub(super) fn supervisors(cluster: &Cluster, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let supervisors = async |mut client: Client| client.supervisors(SupervisorsRequest {}).await;
    let reply = block_on(async { Ok(Nimbus::of(cluster).call(supervisors).await?.into_inner()) })?;
    print(cluster, &reply.supervisors, "supervisors", supervisor_json, supervisor_table, io)
}

fn print<T>(
    cluster: &Cluster,
    items: &[T],
    things: &str,
    json: fn(&T) -> Value,
    table: fn(&[T]) -> Table,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    match cluster.output {
        Output::Json => io.print(&format!("{}\n", Value::from_iter(items.iter().map(json))))?,
        Output::Text if items.is_empty() => io.say(&format!("no {things}")),
        Output::Text => io.print(&table(items).render())?,
    }
    Ok(Exit::Done)
}

/// What scripts read of a topology.
pub(super) fn summary_json(of: &TopologySummary) -> Value {
    let mut object = json!({
        "name": of.name,
        "id": of.id,
        "status": of.status,
        "tasks": of.tasks,
        "executors": of.executors,
        "workers": of.workers,
        "uptime_s": of.uptime_secs,
        "owner": of.owner,
        "workers_down": of.workers_down,
        "workers_not_responding": of.workers_not_responding,
        "note": note::of(of),
    });
    if !of.failure.is_empty() {
        object["failure"] = json!(of.failure);
    }
    object
}

fn topology_table(topologies: &[TopologySummary]) -> Table {
    let numbers = ["workers", "executors", "tasks", "up"].map(|title| (title, Align::Right));
    let texts = ["name", "status"].map(|title| (title, Align::Left));
    let ends = ["id", "note"].map(|title| (title, Align::Left));
    let mut table = Table::new(texts.into_iter().chain(numbers).chain(ends));
    for of in topologies {
        let numbers = [of.workers, of.executors, of.tasks].map(|number| count(number.into()));
        let texts = [of.name.clone(), note::status(of).to_owned()];
        table.row(texts.into_iter().chain(numbers).chain([seconds(of.uptime_secs), of.id.clone(), note::of(of)]));
    }
    table
}

fn ended_json(of: &EndedSummary) -> Value {
    let mut object = summary_json(&of.summary.clone().unwrap_or_default());
    object["ended_unix_ms"] = json!(of.ended_unix_ms);
    object["failure"] = json!(of.failure);
    object
}

fn ended_table(topologies: &[EndedSummary]) -> Table {
    let texts = ["name", "status", "ended"].map(|title| (title, Align::Left));
    let last = ["id", "failure"].map(|title| (title, Align::Left));
    let mut table = Table::new(texts.into_iter().chain([("after", Align::Right)]).chain(last));
    for of in topologies {
        let TopologySummary { name, status, id, uptime_secs, .. } = of.summary.clone().unwrap_or_default();
        let failure = of.failure.lines().next().unwrap_or_default().to_owned();
        table.row([name, status, moment(of.ended_unix_ms), seconds(uptime_secs), id, failure]);
    }
    table
}

/// A moment, to the second.
pub(super) fn moment(unix_ms: i64) -> String {
    Timestamp::from_millis(unix_ms.div_euclid(1000).saturating_mul(1000)).to_string()
}

fn supervisor_json(of: &SupervisorSummary) -> Value {
    json!({
        "id": of.id,
        "address": of.address,
        "slots": of.slots,
        "used": of.used,
        "uptime_s": of.uptime_secs,
        "leaving": of.is_leaving,
        "cpu": of.cpu,
        "memory_mb": of.memory_mb,
    })
}

fn supervisor_table(supervisors: &[SupervisorSummary]) -> Table {
    let numbers = ["slots", "used", "cores", "memory", "up"].map(|title| (title, Align::Right));
    let texts = ["id", "address", "status"].map(|title| (title, Align::Left));
    let mut table = Table::new(texts.into_iter().chain(numbers).chain([("platform", Align::Left)]));
    for of in supervisors {
        let platform = of.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        let status = if of.is_leaving { "leaving" } else { "ready" };
        let texts = [of.id.clone(), of.address.clone(), status.to_owned()];
        let slots = [of.slots, of.used].map(|number| count(number.into()));
        let numbers = slots.into_iter().chain([cores(of.cpu), memory(of.memory_mb), seconds(of.uptime_secs)]);
        table.row(texts.into_iter().chain(numbers).chain([platform]));
    }
    table
}
