//! Whether a topology runs, and why not.

use galerna_protocol::{DescribeReply, NameRequest, WorkerState};
use tonic::Code;

use super::outcome::Outcome;
use super::session::Session;
use crate::cli::failure::Failure;
use crate::cli::nimbus::Client;
use crate::cli::numbers::plural;

/// How a topology stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it runs, or it has come to a good end.
    Runs,
    /// Not yet, and why.
    NotYet(String),
    /// It will not, and why.
    Never(&'static str, String),
}

/// Waits until a topology runs, or cannot any more.
pub(super) async fn runs(session: &mut Session<'_, '_>, outcome: &mut Outcome) -> Result<(), Failure> {
    let request = NameRequest { name: outcome.name.clone() };
    let describe = async |mut client: Client| client.describe(request.clone()).await;
    loop {
        let standing = match session.ask(describe).await {
            Ok(reply) => {
                let reply = reply.into_inner();
                let summary = reply.summary.as_ref();
                outcome.status = summary.map(|summary| summary.status.clone()).unwrap_or_default();
                standing(&reply, &outcome.id)
            }
            Err(status) if status.code() == Code::NotFound => {
                Standing::Never("killed", "it was killed meanwhile".to_owned())
            }
            Err(status) => return Err(status.into()),
        };
        let name = &outcome.name;
        match standing {
            Standing::Runs => return Ok(()),
            Standing::Never(code, why) => return Err(Failure::new(code, format!("`{name}` does not run: {why}"))),
            Standing::NotYet(why) if !session.has_time() => {
                let message = format!("`{name}` does not run after {} s: {why}", session.args.timeout);
                return Err(Failure::new("not_running", message));
            }
            Standing::NotYet(why) => session.progress(&format!("{name}: waiting: {why}")),
        }
        session.pause().await;
    }
}

/// How the topology of this id stands, by what is told of its name.
pub(super) fn standing(reply: &DescribeReply, id: &str) -> Standing {
    let summary = reply.summary.clone().unwrap_or_default();
    if summary.id != id {
        return Standing::Never("replaced", format!("it was replaced by {} meanwhile", summary.id));
    }
    match summary.status.as_str() {
        "KILLED" => return Standing::Never("killed", "it was killed meanwhile".to_owned()),
        "FINISHED" if reply.failure.is_empty() => return Standing::Runs,
        "FINISHED" => return Standing::Never("topology_failed", format!("it has ended badly: {}", reply.failure)),
        _ => {}
    }
    let has_begun = |state| matches!(state, WorkerState::Running | WorkerState::Finished);
    let running = reply
        .workers
        .iter()
        .filter(|worker| has_begun(worker.state()) && worker.generation >= reply.generation)
        .count();
    if !reply.unscheduled.is_empty() {
        return Standing::NotYet(reply.unscheduled.join("; "));
    }
    match reply.workers.len() {
        0 => Standing::NotYet("it is not scheduled yet".to_owned()),
        all if running < all => Standing::NotYet(format!("{running} of {} run", plural(all, "worker"))),
        _ if summary.status == "REBALANCING" => Standing::NotYet("tasks are moved".to_owned()),
        _ => Standing::Runs,
    }
}
