//! One topology is made what its file says: compares, takes one step, and compares again.

use std::time::Duration;

use galerna_protocol::{
    CompareReply, CompareRequest, Comparison, KillRequest, RebalanceRequest, SetOwnerRequest, SubmitRequest,
    TopologySpec,
};
use tonic::{Code, Status};

use super::candidate::Candidate;
use super::outcome::{Deed, Outcome};
use super::session::Session;
use crate::cli::failure::Failure;
use crate::cli::nimbus::Client;

/// How much longer than its deadline the end of a topology may take: the leader may have changed.
const GRACE: Duration = Duration::from_secs(10);

/// What was done so far.
#[derive(Default)]
struct SoFar {
    /// Whether a submission was sent, though it may not have arrived.
    has_submitted: bool,
    /// Why it was rebalanced, if a rebalance was sent.
    rebalanced: Option<Vec<String>>,
    /// The one that was killed in favour of the new one.
    replaced: Option<Replaced>,
    /// Whether something that others have killed was waited for.
    has_waited_for_end: bool,
    /// Why the last step could not be taken.
    obstacle: Option<Status>,
}

/// A topology that has to go.
struct Replaced {
    reasons: Vec<String>,
    was_inactive: bool,
}

/// Has the cluster run this topology: what had to be done for it.
pub(super) async fn make_so(session: &mut Session<'_, '_>, candidate: &Candidate) -> Result<Outcome, Failure> {
    let mut so_far = SoFar::default();
    loop {
        let outcome = match compare(session, &candidate.spec).await {
            Ok(found) => step(session, candidate, &found, &mut so_far).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(Some(outcome)) => return Ok(outcome),
            Ok(None) if session.has_time() => session.pause().await,
            Ok(None) => return Err(so_far.out_of_time(session, &candidate.spec.name)),
            Err(failure) => return Err(so_far.failed(failure, &candidate.spec.name)),
        }
    }
}

async fn compare(session: &mut Session<'_, '_>, spec: &TopologySpec) -> Result<CompareReply, Failure> {
    let request = CompareRequest { spec: Some(spec.clone()) };
    let compare = async |mut client: Client| client.compare(request.clone()).await;
    let answer = session.ask(compare).await;
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        Code::Unimplemented => {
            let message = "this cluster's Nimbus is too old for `apply`: update it, or use `submit` and `kill`";
            Failure::new("unimplemented", message)
        }
        _ => status.into(),
    })
}

/// One step towards what is wanted; the outcome if there is none left.
async fn step(
    session: &mut Session<'_, '_>,
    candidate: &Candidate,
    found: &CompareReply,
    so_far: &mut SoFar,
) -> Result<Option<Outcome>, Failure> {
    match found.comparison() {
        Comparison::Absent => submit(session, candidate, so_far).await,
        Comparison::Unchanged => {
            check_owner(session, &candidate.spec, found)?;
            unchanged(session, &candidate.spec, found, so_far).await
        }
        Comparison::Scaled => {
            check_owner(session, &candidate.spec, found)?;
            rebalance(session, &candidate.spec, found, so_far).await
        }
        Comparison::Changed => {
            check_owner(session, &candidate.spec, found)?;
            kill(session, candidate, found, so_far).await
        }
        Comparison::Ending => {
            wait_for_end(session, &candidate.spec.name, found, so_far);
            Ok(None)
        }
        Comparison::Unspecified => {
            Err(Failure::new("unimplemented", "Nimbus answers what this program does not know: update the program"))
        }
    }
}

async fn submit(
    session: &mut Session<'_, '_>,
    candidate: &Candidate,
    so_far: &mut SoFar,
) -> Result<Option<Outcome>, Failure> {
    let is_inactive =
        session.args.submission.inactive || so_far.replaced.as_ref().is_some_and(|replaced| replaced.was_inactive);
    candidate.program.upload(&session.nimbus, session.io).await?;
    if !so_far.has_submitted && so_far.replaced.is_none() {
        candidate.notes.iter().for_each(|note| session.io.say(&format!("note: {note}")));
    }
    let request = SubmitRequest { spec: Some(candidate.spec.clone()), is_inactive };
    let submit = async |mut client: Client| client.submit(request.clone()).await;
    so_far.has_submitted = true;
    match session.nimbus.call(submit).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            reply.notes.iter().for_each(|note| session.io.say(&format!("note: {note}")));
            let status = if is_inactive { "INACTIVE" } else { "ACTIVE" };
            Ok(Some(so_far.outcome(&candidate.spec.name, reply.topology_id, status)))
        }
        Err(status) if status.code() == Code::AlreadyExists => {
            // Somebody else was faster: what they have submitted is looked at next.
            so_far.has_submitted = false;
            so_far.comes_to(status)
        }
        Err(status) => so_far.comes_to(status),
    }
}

async fn unchanged(
    session: &mut Session<'_, '_>,
    spec: &TopologySpec,
    found: &CompareReply,
    so_far: &SoFar,
) -> Result<Option<Outcome>, Failure> {
    let mut outcome = so_far.outcome(&spec.name, found.topology_id.clone(), &found.status);
    match take_over(session, spec, found).await {
        Ok(change) => outcome.reasons.extend(change),
        // It is another by now.
        Err(status) if is_passing(&status) => return Ok(None),
        Err(status) => return Err(status.into()),
    }
    Ok(Some(outcome))
}

async fn rebalance(
    session: &mut Session<'_, '_>,
    spec: &TopologySpec,
    found: &CompareReply,
    so_far: &mut SoFar,
) -> Result<Option<Outcome>, Failure> {
    let workers = serde_json::from_str::<serde_json::Value>(&spec.config).ok();
    let workers = workers.as_ref().and_then(|config| config.get("topology.workers")?.as_u64());
    let request = RebalanceRequest {
        name: spec.name.clone(),
        workers: Some(workers.and_then(|workers| u32::try_from(workers).ok()).unwrap_or(1)),
        executors: spec.components.iter().map(|component| (component.id.clone(), component.executors)).collect(),
        wait_secs: session.args.drain,
        topology_id: found.topology_id.clone(),
    };
    let rebalance = async |mut client: Client| client.rebalance(request.clone()).await;
    match session.nimbus.call(rebalance).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            reply.notes.iter().for_each(|note| session.io.say(&format!("note: {note}")));
            so_far.rebalanced.get_or_insert_with(|| found.reasons.clone());
            let found = CompareReply { status: "REBALANCING".to_owned(), ..found.clone() };
            unchanged(session, spec, &found, so_far).await
        }
        Err(status) if status.code() == Code::FailedPrecondition => {
            session.progress(&format!("{}: waiting to be rebalanced: {}", spec.name, status.message()));
            so_far.obstacle = Some(status);
            Ok(None)
        }
        Err(status) => {
            if status.code() == Code::Unavailable {
                so_far.rebalanced.get_or_insert_with(|| found.reasons.clone());
            }
            so_far.comes_to(status)
        }
    }
}

/// Ends the one that is there, once it is sure that the new one can come.
async fn kill(
    session: &mut Session<'_, '_>,
    candidate: &Candidate,
    found: &CompareReply,
    so_far: &mut SoFar,
) -> Result<Option<Outcome>, Failure> {
    let spec = &candidate.spec;
    candidate.program.upload(&session.nimbus, session.io).await?;
    let request = SubmitRequest { spec: Some(spec.clone()), is_inactive: false };
    let check = async |mut client: Client| client.check(request.clone()).await;
    session.ask(check).await?;
    let drain = session.args.drain.map_or(found.drain_ms.div_ceil(1000), u64::from);
    let how = match found.status.as_str() {
        "FINISHED" => "has finished".to_owned(),
        _ => format!("gets up to {drain} s for what is in flight"),
    };
    let (name, old) = (&spec.name, &found.topology_id);
    candidate.notes.iter().for_each(|note| session.io.say(&format!("note: {note}")));
    session.progress(&format!("{name}: replacing {old}, which {how}: {}", found.reasons.join("; ")));
    let request =
        KillRequest { name: name.clone(), wait_secs: session.args.drain, topology_id: found.topology_id.clone() };
    let kill = async |mut client: Client| client.kill(request.clone()).await;
    let killed = session.nimbus.call(kill).await;
    // It may have been killed though the answer was lost.
    if killed.is_ok() || matches!(&killed, Err(status) if status.code() == Code::Unavailable) {
        if so_far.replaced.is_none() {
            session.gets_more_time(Duration::from_secs(drain) + GRACE);
        }
        so_far.replaced = Some(Replaced { reasons: found.reasons.clone(), was_inactive: found.is_inactive });
    }
    match killed {
        Ok(_) => {
            so_far.obstacle = None;
            Ok(None)
        }
        Err(status) => so_far.comes_to(status),
    }
}

fn wait_for_end(session: &mut Session<'_, '_>, name: &str, found: &CompareReply, so_far: &mut SoFar) {
    let left = Duration::from_millis(found.drain_ms);
    if so_far.replaced.is_none() {
        // An earlier call of ours may have been cut off: its drain is not counted either.
        if let Some(drain) = session.args.drain.filter(|_| !so_far.has_waited_for_end) {
            session.gets_more_time(left.min(Duration::from_secs(drain.into())) + GRACE);
        }
        so_far.has_waited_for_end = true;
        session.progress(&format!("{name}: waiting until {}, which was killed, has ended", found.topology_id));
    }
    let message = format!("{} is still being killed, for up to {} s", found.topology_id, left.as_secs());
    so_far.obstacle = Some(Status::deadline_exceeded(message));
}

/// Gives it to whom it is to belong to: what that changes.
async fn take_over(
    session: &mut Session<'_, '_>,
    spec: &TopologySpec,
    found: &CompareReply,
) -> Result<Option<String>, Status> {
    if found.owner == spec.owner {
        return Ok(None);
    }
    let request =
        SetOwnerRequest { name: spec.name.clone(), topology_id: found.topology_id.clone(), owner: spec.owner.clone() };
    let set_owner = async |mut client: Client| client.set_owner(request.clone()).await;
    session.ask(set_owner).await?;
    let shown = |owner: &str| if owner.is_empty() { "nobody".to_owned() } else { owner.to_owned() };
    Ok(Some(format!("owner: {} → {}", shown(&found.owner), shown(&spec.owner))))
}

/// What belongs to others is left alone.
fn check_owner(session: &Session<'_, '_>, spec: &TopologySpec, found: &CompareReply) -> Result<(), Failure> {
    if found.owner == spec.owner || session.args.take_over {
        return Ok(());
    }
    let name = &spec.name;
    let message = match (found.owner.as_str(), spec.owner.as_str()) {
        ("", wanted) => format!("`{name}` is there already and belongs to nobody; --take-over gives it to `{wanted}`"),
        (owner, "") => {
            format!(
                "`{name}` belongs to `{owner}`; apply it with --owner '{owner}', or --take-over so that it belongs to nobody"
            )
        }
        (owner, wanted) => format!("`{name}` belongs to `{owner}`; --take-over gives it to `{wanted}`"),
    };
    Err(Failure::new("belongs_to_another", message))
}

/// Whether the next comparison may find that there is no obstacle any more.
fn is_passing(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Aborted | Code::NotFound | Code::AlreadyExists)
}

impl SoFar {
    /// Goes on after a step that could not be taken, unless it never can.
    fn comes_to(&mut self, status: Status) -> Result<Option<Outcome>, Failure> {
        if !is_passing(&status) {
            return Err(status.into());
        }
        self.obstacle = Some(status);
        Ok(None)
    }

    fn outcome(&self, name: &str, id: String, status: &str) -> Outcome {
        let (deed, reasons) = match (&self.replaced, &self.rebalanced) {
            (Some(replaced), _) => (Deed::Replaced, replaced.reasons.clone()),
            (None, _) if self.has_submitted => (Deed::Submitted, Vec::new()),
            (None, Some(reasons)) => (Deed::Rebalanced, reasons.clone()),
            (None, None) => (Deed::Unchanged, Vec::new()),
        };
        Outcome { name: name.to_owned(), id, deed, reasons, status: status.to_owned() }
    }

    fn out_of_time(&self, session: &Session<'_, '_>, name: &str) -> Failure {
        let why = self.obstacle.as_ref().map_or_else(String::new, |status| format!(": {}", status.message()));
        let message = format!("`{name}` could not be applied within {} s{why}", session.args.timeout);
        self.failed(Failure::new("deadline_exceeded", message), name)
    }

    /// Nobody should have to find out that nothing runs any more.
    fn failed(&self, failure: Failure, name: &str) -> Failure {
        match failure {
            Failure::Told { code, message } if self.replaced.is_some() => {
                let message = format!("{message}; `{name}` was killed to be replaced: apply it again");
                Failure::Told { code, message }
            }
            failure => failure,
        }
    }
}
