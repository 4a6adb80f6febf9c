//! How long handovers are waited for, before tasks are moved the hard way.

use std::collections::BTreeMap;

use galerna_coordination::keys::Registration;
use galerna_protocol::Assignment;

use crate::spec::Settings;
use crate::view::View;

/// So long before a supervisor goes at the latest, what it has not released is moved the hard way.
const LONGEST_MARGIN_MS: i64 = 5_000;

/// Until when the handovers that stand may take.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// By topology and generation.
    standing: BTreeMap<(String, u64), Deadlines>,
}

/// All in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deadlines {
    /// As the topology has it.
    pub(super) usual: i64,
    /// By supervisor that is about to go and takes part: when it goes, and until when it is waited for.
    leaving: BTreeMap<String, (i64, i64)>,
}

impl Deadlines {
    /// Until when those may take that a supervisor which is about to go takes part in.
    pub(super) fn leaving(&self) -> Option<i64> {
        self.leaving.values().map(|(_, until)| *until).min()
    }
}

impl Patience {
    /// Notes what stands since now, and forgets what stands no more.
    pub(super) fn note(&mut self, view: &View, now_ms: i64) {
        let mut standing = BTreeMap::new();
        for (id, assignment) in view.assignments.iter().filter(|(_, one)| !one.value.handovers.is_empty()) {
            let key = (id.clone(), assignment.value.generation);
            let known = self.standing.remove(&key);
            let wait =
                view.topology(id).map(|topology| Settings::of(&topology.spec).message_timeout).unwrap_or_default();
            let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            let usual = known.as_ref().map_or_else(|| now_ms.saturating_add(wait), |known| known.usual);
            let known = known.map(|known| known.leaving).unwrap_or_default();
            let leaving = leaving(view, &assignment.value).map(|(supervisor, registration)| {
                let goes = registration.leave_by_unix_ms;
                let noted = known.get(supervisor).filter(|(noted, _)| *noted == goes);
                let until = noted.map_or_else(
                    || last_moment(now_ms, goes, still_runs(&assignment.value, supervisor)),
                    |(_, until)| *until,
                );
                (supervisor.to_owned(), (goes, until))
            });
            let deadlines = Deadlines { usual, leaving: leaving.collect() };
            standing.insert(key, deadlines);
        }
        self.standing = standing;
    }

    pub(super) fn of(&self, topology: &str, generation: u64) -> Option<&Deadlines> {
        self.standing.get(&(topology.to_owned(), generation))
    }
}

/// The supervisors of an assignment that say when they go.
fn leaving<'a>(view: &'a View, assignment: &'a Assignment) -> impl Iterator<Item = (&'a str, &'a Registration)> {
    let workers = assignment.workers.iter().filter_map(|worker| worker.id.as_ref());
    let registered =
        workers.filter_map(|id| Some((id.supervisor.as_str(), &*view.supervisors.get(&id.supervisor)?.value)));
    registered.filter(|(_, one)| one.is_leaving && one.leave_by_unix_ms > 0)
}

fn still_runs(assignment: &Assignment, supervisor: &str) -> bool {
    let here = |id: &galerna_protocol::WorkerId| id.supervisor == supervisor;
    assignment.workers.iter().any(|worker| worker.id.as_ref().is_some_and(here) && !worker.executors.is_empty())
}

/// Until when handovers are waited for that a supervisor takes part in which goes at `goes_ms`. What
/// has to be moved away from it after these gets half of the time that is left.
fn last_moment(now_ms: i64, goes_ms: i64, has_to_move_more: bool) -> i64 {
    let left = goes_ms.saturating_sub(now_ms).max(0);
    if has_to_move_more { now_ms + left / 2 } else { now_ms + left - (left / 4).min(LONGEST_MARGIN_MS) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use galerna_protocol::{AssignedWorker, Handover, TaskRange, WorkerId};

    use super::*;
    use crate::view::Versioned;

    const NOW: i64 = 1_000_000;

    fn versioned<T>(value: T) -> Versioned<T> {
        Versioned { value: Arc::new(value), modified: 1 }
    }

    /// A topology that hands over from `a` to `b`, and runs one more executor at `a` if it has to.
    fn view(still_runs: bool, leave_by: Option<i64>) -> View {
        let worker = |supervisor: &str, executors: &[TaskRange]| AssignedWorker {
            id: Some(WorkerId::new(supervisor, 1)),
            executors: executors.to_vec(),
            ..Default::default()
        };
        let left: &[TaskRange] = if still_runs { &[TaskRange { first: 2, last: 2 }] } else { &[] };
        let assignment = Assignment {
            generation: 2,
            workers: vec![worker("a", left), worker("b", &[TaskRange { first: 1, last: 1 }])],
            handovers: vec![Handover { tasks: vec![1], from: Some(WorkerId::new("a", 1)) }],
        };
        let registration = Registration {
            is_leaving: leave_by.is_some(),
            leave_by_unix_ms: leave_by.unwrap_or_default(),
            ..Registration::default()
        };
        View {
            assignments: BTreeMap::from([("words-1".to_owned(), versioned(assignment))]),
            supervisors: BTreeMap::from([("a".to_owned(), versioned(registration))]),
            ..View::default()
        }
    }

    fn noted(patience: &mut Patience, view: &View, now_ms: i64) -> Option<i64> {
        patience.note(view, now_ms);
        patience.of("words-1", 2).expect("it stands").leaving()
    }

    #[test]
    fn supervisor_that_goes_is_waited_for_until_a_little_before_and_never_longer() {
        for (left, still_runs, expected) in [
            (60_000, false, 55_000),
            (8_000, false, 6_000),
            (0, false, 0),
            (-5_000, false, 0),
            (60_000, true, 30_000),
            (i64::MAX - NOW, false, i64::MAX - NOW - 5_000),
        ] {
            let deadline = noted(&mut Patience::default(), &view(still_runs, Some(NOW + left)), NOW);
            assert_eq!(deadline, Some(NOW + expected), "{left} ms are left");
        }
        assert_eq!(noted(&mut Patience::default(), &view(false, None), NOW), None);
    }

    #[test]
    fn deadline_stands_from_when_it_is_first_seen_that_a_supervisor_goes_until_it_is_back() {
        let mut patience = Patience::default();
        assert_eq!(noted(&mut patience, &view(false, None), NOW), None);
        let usual = patience.of("words-1", 2).expect("it stands").usual;
        let goes = view(false, Some(NOW + 8_000));
        assert_eq!(noted(&mut patience, &goes, NOW), Some(NOW + 6_000));
        assert_eq!(noted(&mut patience, &goes, NOW + 5_000), Some(NOW + 6_000));
        assert_eq!(noted(&mut patience, &view(false, None), NOW + 5_000), None);
        assert_eq!(patience.of("words-1", 2).expect("it stands").usual, usual);
        patience.note(&View::default(), NOW);
        assert_eq!(patience.of("words-1", 2), None);
    }
}
