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

#[cfg(test)]
mod tests {
    use galerna_protocol::{TopologySummary, WorkerSummary};

    use super::*;

    fn reply(status: &str, workers: &[(WorkerState, u64)]) -> DescribeReply {
        let worker = |(state, generation): &(WorkerState, u64)| WorkerSummary {
            state: (*state).into(),
            generation: *generation,
            ..WorkerSummary::default()
        };
        DescribeReply {
            summary: Some(TopologySummary {
                id: "words-1".into(),
                status: status.into(),
                ..TopologySummary::default()
            }),
            generation: 3,
            workers: workers.iter().map(worker).collect(),
            ..DescribeReply::default()
        }
    }

    #[test]
    fn it_runs_when_all_workers_do_so_by_the_newest_assignment() {
        use WorkerState::{Drained, Finished, Running, Starting};
        let waits = |why: &str| Standing::NotYet(why.to_owned());
        for (status, workers, expected) in [
            ("ACTIVE", &[(Running, 3), (Running, 3)][..], Standing::Runs),
            ("INACTIVE", &[(Running, 4)], Standing::Runs),
            ("ACTIVE", &[(Running, 3), (Finished, 3)], Standing::Runs),
            ("ACTIVE", &[(Running, 3), (Running, 2)], waits("1 of 2 workers run")),
            ("ACTIVE", &[(Starting, 3)], waits("0 of 1 worker run")),
            ("ACTIVE", &[(Drained, 3)], waits("0 of 1 worker run")),
            ("ACTIVE", &[], waits("it is not scheduled yet")),
            ("REBALANCING", &[(Running, 3)], waits("tasks are moved")),
            ("FINISHED", &[], Standing::Runs),
            ("KILLED", &[(Running, 3)], Standing::Never("killed", "it was killed meanwhile".to_owned())),
        ] {
            assert_eq!(standing(&reply(status, workers), "words-1"), expected, "{status} {workers:?}");
        }
    }

    #[test]
    fn another_topology_of_its_name_is_not_it() {
        let other = standing(&reply("ACTIVE", &[(WorkerState::Running, 3)]), "words-0");
        assert_eq!(other, Standing::Never("replaced", "it was replaced by words-1 meanwhile".to_owned()));
    }
}
