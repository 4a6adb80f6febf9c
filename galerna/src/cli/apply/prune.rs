//! What an owner has that is not applied any more.

use std::time::Duration;

use galerna_protocol::{KillRequest, ListRequest, TopologySummary};
use tonic::{Code, Status};

use super::outcome::{Deed, Outcome};
use super::session::Session;
use crate::cli::failure::Failure;
use crate::cli::nimbus::Client;

/// Kills what belongs to the owner, but not this and what is to be kept.
pub(super) async fn kill_others(
    session: &mut Session<'_, '_>,
    applied: Option<&str>,
    outcomes: &mut Vec<Outcome>,
) -> Result<(), Failure> {
    let args = session.args;
    let Some(owner) = &args.owner else { return Ok(()) };
    let is_kept = |name: &str| applied == Some(name) || args.keep.iter().any(|kept| kept == name);
    for of in listed(session).await? {
        if of.owner != *owner || is_kept(&of.name) || of.status == "KILLED" {
            continue;
        }
        let request = KillRequest { name: of.name.clone(), wait_secs: args.drain, topology_id: of.id.clone() };
        let kill = async |mut client: Client| client.kill(request.clone()).await;
        match session.ask(kill).await {
            Ok(_) => {}
            // It is gone already.
            Err(status) if matches!(status.code(), Code::NotFound | Code::Aborted) => {}
            Err(status) => return Err(status.into()),
        }
        let reasons = vec!["not applied any more".to_owned()];
        let outcome = Outcome { name: of.name, id: of.id, deed: Deed::Killed, reasons, status: "KILLED".to_owned() };
        session.tell(outcome, outcomes)?;
    }
    Ok(())
}

/// Waits until what was killed is gone.
pub(super) async fn are_gone(session: &mut Session<'_, '_>, outcomes: &[Outcome]) -> Result<(), Failure> {
    let killed: Vec<&str> = outcomes.iter().filter(|one| one.deed == Deed::Killed).map(|one| one.id.as_str()).collect();
    if killed.is_empty() {
        return Ok(());
    }
    session.gets_more_time(Duration::from_secs(session.args.drain.unwrap_or_default().into()));
    loop {
        let listed = listed(session).await?;
        let left: Vec<&str> = listed.iter().map(|of| of.id.as_str()).filter(|id| killed.contains(id)).collect();
        if left.is_empty() {
            return Ok(());
        }
        let left = left.join(", ");
        if !session.has_time() {
            return Err(Failure::new("deadline_exceeded", format!("{left} did not end in time")));
        }
        session.progress(&format!("waiting until {left} has ended"));
        session.pause().await;
    }
}

async fn listed(session: &mut Session<'_, '_>) -> Result<Vec<TopologySummary>, Status> {
    let list = async |mut client: Client| client.list(ListRequest::default()).await;
    Ok(session.ask(list).await?.into_inner().topologies)
}
