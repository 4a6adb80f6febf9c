//! `kill`, `activate`, `deactivate`, `rebalance`: orders about one topology. Each is answered once it
//! is ordered, not when it is carried out.

use galerna_protocol::{ChangeReply, DescribeReply, KillRequest, NameRequest, RebalanceRequest};
use serde_json::{Value, json};

use super::args::{Cluster, Kill, Named, Output, Rebalance};
use super::describe::describe;
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Client, Nimbus, block_on};

/// Storm's, and ours, in seconds.
const MESSAGE_TIMEOUT: f64 = 30.0;

pub(super) fn kill(args: &Kill, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = KillRequest { name: args.name.clone(), wait_secs: args.wait, ..KillRequest::default() };
    let nimbus = Nimbus::of(&args.cluster);
    let (before, reply) = block_on(async {
        let before = describe(&nimbus, &args.name).await?;
        let kill = async |mut client: Client| client.kill(request.clone()).await;
        Ok((before, nimbus.call(kill).await?.into_inner()))
    })?;
    let is_over = before.summary.as_ref().is_some_and(|summary| summary.status == "FINISHED");
    let done = match args.wait.map_or_else(|| message_timeout(&before), |wait| Some(wait.into())) {
        _ if is_over => "killed: it had finished, its name is free".to_owned(),
        Some(wait) => format!("killed: what is in flight gets up to {wait} s"),
        None => "killed: what is in flight is processed first".to_owned(),
    };
    tell(&args.cluster, &reply, &done, io)
}

pub(super) fn activate(args: &Named, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = NameRequest { name: args.name.clone() };
    let activate = async |mut client: Client| client.activate(request.clone()).await;
    let reply = block_on(async { Ok(Nimbus::of(&args.cluster).call(activate).await?.into_inner()) })?;
    tell(&args.cluster, &reply, "activated: its spouts emit", io)
}

pub(super) fn deactivate(args: &Named, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = NameRequest { name: args.name.clone() };
    let deactivate = async |mut client: Client| client.deactivate(request.clone()).await;
    let reply = block_on(async { Ok(Nimbus::of(&args.cluster).call(deactivate).await?.into_inner()) })?;
    tell(&args.cluster, &reply, "deactivated: its spouts emit nothing until it is activated", io)
}

pub(super) fn rebalance(args: &Rebalance, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = RebalanceRequest {
        name: args.name.clone(),
        workers: args.workers,
        executors: args.executors.iter().cloned().collect(),
        wait_secs: args.wait,
        ..RebalanceRequest::default()
    };
    let rebalance = async |mut client: Client| client.rebalance(request.clone()).await;
    let reply = block_on(async { Ok(Nimbus::of(&args.cluster).call(rebalance).await?.into_inner()) })?;
    tell(&args.cluster, &reply, "rebalancing: `describe` shows how far it is", io)
}

/// How long a tuple of the topology may take, in seconds; nothing if for ever.
fn message_timeout(of: &DescribeReply) -> Option<f64> {
    let config = of.spec.as_ref().and_then(|spec| serde_json::from_str::<Value>(&spec.config).ok());
    let setting = |key: &str| config.as_ref().and_then(|config| config.get(key));
    if setting("topology.enable.message.timeouts").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    Some(setting("topology.message.timeout.secs").and_then(Value::as_f64).unwrap_or(MESSAGE_TIMEOUT))
}

fn tell(cluster: &Cluster, reply: &ChangeReply, done: &str, io: &mut Io<'_>) -> Result<Exit, Failure> {
    match cluster.output {
        Output::Text => {
            reply.notes.iter().for_each(|note| io.say(&format!("note: {note}")));
            io.print(&format!("{} {done}\n", reply.topology_id))?;
        }
        Output::Json => io.print(&format!("{}\n", json!({ "id": reply.topology_id, "notes": reply.notes })))?,
    }
    Ok(Exit::Done)
}
