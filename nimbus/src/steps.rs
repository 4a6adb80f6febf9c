//! Decides what comes next in the lives of topologies: facts in, steps out.

use std::collections::{BTreeMap, BTreeSet};

use galerna_coordination::keys::{Desired, Status};
use galerna_protocol::{Assignment, WorkerId, WorkerReport, WorkerState};

use crate::history::LONGEST_HISTORY;
use crate::reports::has_ended;

/// How a topology stands.
#[derive(Debug)]
pub(crate) struct TopologyFacts<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) assignment: Option<&'a Assignment>,
    /// The newest incarnation of each worker, as freshly reported.
    pub(crate) current: BTreeMap<&'a WorkerId, &'a WorkerReport>,
    /// Until when handovers may take, unless `desired` says.
    pub(crate) handover_deadline_unix_ms: i64,
    /// Until when they may take in any case, because a supervisor that takes part is about to go.
    pub(crate) leaving_deadline_unix_ms: i64,
}

/// What the decisions rest on.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) now_unix_ms: i64,
    /// Those that count as alive.
    pub(crate) supervisors: BTreeSet<&'a str>,
    pub(crate) topologies: BTreeMap<&'a str, TopologyFacts<'a>>,
    /// By id of the topology: when it ended.
    pub(crate) history: BTreeMap<&'a str, i64>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its input has ended and all is processed: it is FINISHED.
    Finish {
        /// Why that is no good end, if so.
        failure: String,
    },
    /// It is FINISHED and its workers have exited: its slots are free, its counts final.
    Release,
    /// It is KILLED and drained, or has had its time: it is removed.
    Remove,
    /// All tasks that are handed over are released, or have had their time.
    ClearHandovers,
    /// These workers can release nothing any more.
    ClearHandoversFrom(BTreeSet<WorkerId>),
    /// It is the oldest of too much that has ended.
    Forget,
}

/// What comes next: at most one step for each topology, by id.
pub(crate) fn next_steps(facts: &Facts<'_>) -> Vec<(String, Step)> {
    let steps = facts.topologies.iter().filter_map(|(id, topology)| {
        let step = next_step(topology, &facts.supervisors, facts.now_unix_ms)?;
        Some(((*id).to_owned(), step))
    });
    let mut steps: Vec<_> = steps.collect();
    steps.extend(forgotten(facts).into_iter().map(|id| (id.to_owned(), Step::Forget)));
    steps
}

fn next_step(facts: &TopologyFacts<'_>, supervisors: &BTreeSet<&str>, now_unix_ms: i64) -> Option<Step> {
    let is_late = facts.desired.kill_deadline_unix_ms <= now_unix_ms;
    let have_all = |has_ended: &dyn Fn(&WorkerReport) -> bool| {
        let mut workers = facts.assignment.iter().flat_map(|assignment| &assignment.workers);
        workers.all(|worker| {
            let Some(id) = &worker.id else { return true };
            // One whose supervisor is lost cannot be waited for.
            !supervisors.contains(id.supervisor.as_str())
                || facts.current.get(id).is_some_and(|report| has_ended(report))
        })
    };
    match (facts.desired.status, facts.assignment) {
        (Status::Killed, None) => Some(Step::Remove),
        (Status::Killed, Some(_)) => (is_late || have_all(&has_ended)).then_some(Step::Remove),
        (Status::Finished, None) => None,
        (Status::Finished, Some(_)) => {
            let is_gone = |report: &WorkerReport| report.state() == WorkerState::Gone;
            (is_late || have_all(&is_gone)).then_some(Step::Release)
        }
        (Status::Active | Status::Inactive, None) => None,
        (Status::Active | Status::Inactive, Some(assignment)) if assignment.handovers.is_empty() => {
            finish(facts, assignment)
        }
        (Status::Active | Status::Inactive, Some(assignment)) => {
            next_of_handovers(facts, assignment, supervisors, now_unix_ms)
        }
    }
}

/// It has finished when each of its workers says so, of the newest assignment.
fn finish(facts: &TopologyFacts<'_>, assignment: &Assignment) -> Option<Step> {
    let mut failures = BTreeSet::new();
    for worker in &assignment.workers {
        let report = facts.current.get(worker.id.as_ref()?)?;
        if report.state() != WorkerState::Finished || report.generation < assignment.generation {
            return None;
        }
        failures.extend(Some(report.failure.as_str()).filter(|failure| !failure.is_empty()));
    }
    let failure = failures.into_iter().collect::<Vec<_>>().join("; ");
    (!assignment.workers.is_empty()).then_some(Step::Finish { failure })
}

fn next_of_handovers(
    facts: &TopologyFacts<'_>,
    assignment: &Assignment,
    supervisors: &BTreeSet<&str>,
    now_unix_ms: i64,
) -> Option<Step> {
    let is_settled = assignment.workers.iter().all(|worker| {
        let report = worker.id.as_ref().and_then(|id| facts.current.get(id));
        report.is_some_and(|one| one.state() != WorkerState::Gone && one.settled_generation >= assignment.generation)
    });
    let deadline = facts.desired.rebalance_deadline_unix_ms.unwrap_or(facts.handover_deadline_unix_ms);
    let deadline = deadline.min(facts.leaving_deadline_unix_ms);
    if is_settled || deadline <= now_unix_ms {
        return Some(Step::ClearHandovers);
    }
    let is_lost = |id: &&WorkerId| {
        let is_gone = |report: &&WorkerReport| report.state() == WorkerState::Gone;
        !supervisors.contains(id.supervisor.as_str()) || facts.current.get(*id).is_some_and(is_gone)
    };
    let from = assignment.handovers.iter().filter_map(|handover| handover.from.as_ref());
    let lost: BTreeSet<WorkerId> = from.filter(is_lost).cloned().collect();
    (!lost.is_empty()).then_some(Step::ClearHandoversFrom(lost))
}

/// What has ended longest ago, beyond what is kept. What still has a name is not forgotten.
fn forgotten<'a>(facts: &Facts<'a>) -> Vec<&'a str> {
    let excess = facts.history.len().saturating_sub(LONGEST_HISTORY);
    let living = |id: &&str| facts.topologies.contains_key(id);
    let mut ended: Vec<(i64, &str)> =
        facts.history.iter().filter(|(id, _)| !living(id)).map(|(id, ended)| (*ended, *id)).collect();
    ended.sort_unstable();
    ended.into_iter().take(excess).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{AssignedWorker, Handover};

    use super::*;

    const NOW: i64 = 1_000_000;

    fn worker(slot: u32) -> WorkerId {
        WorkerId::new("a", slot)
    }

    fn report(id: &WorkerId, state: WorkerState, generation: u64) -> WorkerReport {
        WorkerReport {
            id: Some(id.clone()),
            incarnation: 1,
            state: state.into(),
            generation,
            settled_generation: generation,
            ..Default::default()
        }
    }

    fn assignment(slots: &[u32], from: Option<u32>) -> Assignment {
        Assignment {
            generation: 2,
            workers: slots
                .iter()
                .map(|slot| AssignedWorker { id: Some(worker(*slot)), ..Default::default() })
                .collect(),
            handovers: from.iter().map(|slot| Handover { tasks: vec![1], from: Some(worker(*slot)) }).collect(),
        }
    }

    /// What comes next for a topology with this status and these reports.
    fn step(
        desired: &Desired,
        assignment: Option<&Assignment>,
        reports: &[WorkerReport],
        alive: &[&str],
    ) -> Option<Step> {
        let current = reports.iter().filter_map(|report| Some((report.id.as_ref()?, report))).collect();
        let topology = TopologyFacts {
            desired,
            assignment,
            current,
            handover_deadline_unix_ms: NOW + 1,
            leaving_deadline_unix_ms: i64::MAX,
        };
        let facts = Facts {
            now_unix_ms: NOW,
            supervisors: alive.iter().copied().collect(),
            topologies: BTreeMap::from([("words-1", topology)]),
            history: BTreeMap::new(),
        };
        next_steps(&facts).pop().map(|(_, step)| step)
    }

    fn desired(status: Status) -> Desired {
        Desired { status, kill_deadline_unix_ms: NOW + 1, ..Desired::default() }
    }

    #[test]
    fn topology_finishes_when_all_its_workers_say_so_of_the_newest_assignment() {
        use WorkerState::{Finished, Gone, Running};
        let (first, second) = (worker(1), worker(2));
        let assignment = assignment(&[1, 2], None);
        let finished = Some(Step::Finish { failure: String::new() });
        for (reports, expected) in [
            (vec![report(&first, Finished, 2), report(&second, Finished, 2)], finished),
            (vec![report(&first, Finished, 2), report(&second, Finished, 1)], None),
            (vec![report(&first, Finished, 2), report(&second, Running, 2)], None),
            (vec![report(&first, Finished, 2), report(&second, Gone, 2)], None),
            (vec![report(&first, Finished, 2)], None),
            (vec![], None),
        ] {
            assert_eq!(step(&desired(Status::Active), Some(&assignment), &reports, &["a"]), expected, "{reports:?}");
        }
        let failed = WorkerReport { failure: "gave up 3 tuples".into(), ..report(&second, Finished, 2) };
        let step = step(&desired(Status::Active), Some(&assignment), &[report(&first, Finished, 2), failed], &["a"]);
        assert_eq!(step, Some(Step::Finish { failure: "gave up 3 tuples".into() }));
    }

    #[test]
    fn killed_topology_is_removed_when_drained_or_late_or_nothing_of_it_is_left() {
        use WorkerState::{Drained, Finished, Gone, Running};
        let (first, second) = (worker(1), worker(2));
        let assignment = assignment(&[1, 2], None);
        let killed = desired(Status::Killed);
        let drained = report(&first, Drained, 2);
        for (reports, alive, expected) in [
            (vec![drained.clone(), report(&second, Gone, 2)], &["a"][..], Some(Step::Remove)),
            (vec![drained.clone(), report(&second, Finished, 2)], &["a"], Some(Step::Remove)),
            (vec![drained.clone(), report(&second, Running, 2)], &["a"], None),
            (vec![drained.clone()], &["a"], None),
            (vec![], &["b"], Some(Step::Remove)),
        ] {
            assert_eq!(step(&killed, Some(&assignment), &reports, alive), expected, "{reports:?}");
        }
        assert_eq!(step(&killed, None, &[], &["a"]), Some(Step::Remove));
        let late = Desired { kill_deadline_unix_ms: NOW, ..killed };
        assert_eq!(step(&late, Some(&assignment), &[], &["a"]), Some(Step::Remove));
    }

    #[test]
    fn finished_topology_frees_its_slots_when_its_workers_are_gone() {
        use WorkerState::{Finished, Gone};
        let first = worker(1);
        let assignment = assignment(&[1], None);
        let finished = desired(Status::Finished);
        assert_eq!(step(&finished, Some(&assignment), &[report(&first, Finished, 2)], &["a"]), None);
        let gone = [report(&first, Gone, 2)];
        assert_eq!(step(&finished, Some(&assignment), &gone, &["a"]), Some(Step::Release));
        assert_eq!(step(&finished, None, &gone, &["a"]), None);
    }

    #[test]
    fn handovers_are_cleared_when_settled_or_late_or_their_worker_is_lost() {
        use WorkerState::{Gone, Running};
        let (first, second) = (worker(1), worker(2));
        let assignment = assignment(&[1, 2], Some(1));
        let active = desired(Status::Active);
        let settled = report(&second, Running, 2);
        for (reports, alive, expected) in [
            (vec![report(&first, Running, 2), settled.clone()], &["a"][..], Some(Step::ClearHandovers)),
            (vec![report(&first, Running, 1), settled.clone()], &["a"], None),
            (vec![settled.clone()], &["a"], None),
            (vec![report(&first, Gone, 2), settled], &["a"], Some(Step::ClearHandoversFrom([first.clone()].into()))),
            (vec![], &["b"], Some(Step::ClearHandoversFrom([first.clone()].into()))),
        ] {
            assert_eq!(step(&active, Some(&assignment), &reports, alive), expected, "{reports:?}");
        }
        let late = Desired { rebalance_deadline_unix_ms: Some(NOW), ..active.clone() };
        assert_eq!(step(&late, Some(&assignment), &[], &["a"]), Some(Step::ClearHandovers));
        // However long it may take, a supervisor that is about to go cannot be waited for.
        let patient = Desired { rebalance_deadline_unix_ms: Some(NOW + 60_000), ..active };
        for (leaving_deadline_unix_ms, expected) in [(NOW + 1, None), (NOW, Some(Step::ClearHandovers))] {
            let facts = TopologyFacts {
                desired: &patient,
                assignment: Some(&assignment),
                current: BTreeMap::new(),
                handover_deadline_unix_ms: NOW + 60_000,
                leaving_deadline_unix_ms,
            };
            assert_eq!(next_step(&facts, &BTreeSet::from(["a"]), NOW), expected);
        }
    }

    #[test]
    fn history_is_capped_and_what_still_has_a_name_stays() {
        let ids: Vec<String> = (0..103).map(|number| format!("t-{number}")).collect();
        let living = desired(Status::Finished);
        let topology = TopologyFacts {
            desired: &living,
            assignment: None,
            current: BTreeMap::new(),
            handover_deadline_unix_ms: 0,
            leaving_deadline_unix_ms: 0,
        };
        let facts = Facts {
            now_unix_ms: NOW,
            topologies: BTreeMap::from([("t-0", topology)]),
            history: ids.iter().map(String::as_str).zip(0..).collect(),
            ..Facts::default()
        };
        let forgotten: Vec<_> = next_steps(&facts).into_iter().map(|(id, step)| (id, step == Step::Forget)).collect();
        assert_eq!(forgotten, [1, 2, 3].map(|number| (format!("t-{number}"), true)));
    }
}
