//! `errors`: what went wrong in a topology on a cluster.

use galerna_protocol::{ErrorReport, NameRequest};
use galerna_topology_api::Timestamp;
use serde_json::{Value, json};

use super::args::{Named, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Client, Nimbus, block_on};
use super::numbers::count;
use super::worker_ends;

pub(super) fn run(args: &Named, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = NameRequest { name: args.name.clone() };
    let errors = async |mut client: Client| client.errors(request.clone()).await;
    let reply = block_on(async { Ok(Nimbus::of(&args.cluster).call(errors).await?.into_inner()) })?;
    reply.notes.iter().for_each(|note| io.say(&format!("note: {note}")));
    match args.cluster.output {
        Output::Json => {
            let ends = reply.worker_ends.iter().map(worker_ends::error_json);
            io.print(&format!("{}\n", reply.errors.iter().map(as_json).chain(ends).collect::<Value>()))?;
        }
        Output::Text if reply.errors.is_empty() && reply.worker_ends.is_empty() => io.say("no errors"),
        Output::Text => {
            let errors = reply.errors.iter().map(render).collect::<String>();
            let gap = if errors.is_empty() || reply.worker_ends.is_empty() { "" } else { "\n" };
            io.print(&format!("{errors}{gap}{}", worker_ends::section(&reply.worker_ends)))?;
        }
    }
    Ok(Exit::Done)
}

pub(super) fn as_json(of: &ErrorReport) -> Value {
    json!({
        "component": of.component,
        "task": of.task,
        "message": of.message,
        "count": of.count,
        "last_unix_ms": of.last_unix_ms,
        "worker": of.worker.as_ref().map(ToString::to_string),
        "first_unix_ms": of.first_unix_ms,
        "kind": of.kind,
    })
}

/// `2026-01-31T12:00:00Z split task 3 on node-1:6701 (12 times): …`
pub(super) fn render(of: &ErrorReport) -> String {
    let last = Timestamp::from_millis(of.last_unix_ms);
    let worker = of.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
    let times = times(of);
    let message = of.message.trim_end().replace('\n', "\n    ");
    // What befell a worker as a whole is of no component.
    let what = if of.component.is_empty() { "worker".to_owned() } else { format!("{} task {}", of.component, of.task) };
    format!("{last} {what}{worker}{times}: {message}\n")
}

/// ` (12 times since 2026-01-31T11:00:00Z)`.
fn times(of: &ErrorReport) -> String {
    match (of.count, of.first_unix_ms) {
        (1, _) => String::new(),
        (number, 0) => format!(" ({} times)", count(number)),
        (number, first) => format!(" ({} times since {})", count(number), Timestamp::from_millis(first)),
    }
}
