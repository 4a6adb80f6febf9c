//! What supervisors have reported: the newest report of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use galerna_protocol::{LaunchFailure, SupervisorReport, WorkerId, WorkerReport, WorkerState};
use tokio::time::Instant;

/// A worker that failed this often in a row is sought another place for.
const MOST_ATTEMPTS: u32 = 3;
/// How long a supervisor is avoided after that.
const AVOIDED: Duration = Duration::from_secs(120);

/// The newest report of each supervisor.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    received: BTreeMap<String, Received>,
    /// By topology and supervisor: until when it is avoided, and when the failure was.
    avoided: BTreeMap<(String, String), (Instant, i64)>,
}

#[derive(Debug)]
struct Received {
    report: SupervisorReport,
    at: Instant,
    /// The topologies of which nothing runs there any more, nor is to.
    ended: BTreeSet<String>,
}

impl Reports {
    /// Takes a report in place of the one before. `is_assigned` tells whether a topology is to run there
    /// at this moment.
    pub(crate) fn take(&mut self, report: SupervisorReport, now: Instant, is_assigned: impl Fn(&str) -> bool) {
        for failure in report.failures.iter().filter(|failure| failure.attempts >= MOST_ATTEMPTS) {
            let place = (failure.topology_id.clone(), report.supervisor.clone());
            let known = self.avoided.get(&place).map(|(_, last)| *last);
            if known != Some(failure.last_unix_ms) {
                self.avoided.insert(place, (now + AVOIDED, failure.last_unix_ms));
            }
        }
        let mut ended = BTreeMap::new();
        for worker in &report.workers {
            *ended.entry(worker.topology_id.as_str()).or_insert(true) &= worker.state() == WorkerState::Gone;
        }
        let ended = ended.into_iter().filter(|(topology, is_gone)| *is_gone && !is_assigned(topology));
        let ended = ended.map(|(topology, _)| topology.to_owned()).collect();
        self.received.insert(report.supervisor.clone(), Received { report, at: now, ended });
    }

    /// Notes that a topology is to run on a supervisor: what that has said of it was not its last word.
    pub(crate) fn expect_more(&mut self, topology: &str, supervisor: &str) {
        if let Some(received) = self.received.get_mut(supervisor) {
            received.ended.remove(topology);
        }
    }

    /// Forgets everything: it may be out of date.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets supervisors that are gone, unless something that lives has run there, and failures that
    /// count no more.
    pub(crate) fn sweep(
        &mut self,
        is_registered: impl Fn(&str) -> bool,
        is_living: impl Fn(&str) -> bool,
        now: Instant,
    ) {
        self.received.retain(|id, received| {
            is_registered(id) || received.report.workers.iter().any(|worker| is_living(&worker.topology_id))
        });
        self.avoided.retain(|(topology, _), (until, _)| *until > now && is_living(topology));
    }

    /// Where workers of this topology failed to start again and again.
    pub(crate) fn avoided<'a>(&'a self, topology: &'a str, now: Instant) -> impl Iterator<Item = &'a str> {
        let here = self.avoided.iter().filter(move |((id, _), (until, _))| id == topology && *until > now);
        here.map(|((_, supervisor), _)| supervisor.as_str())
    }

    /// Everything that was reported of a topology, all incarnations.
    pub(crate) fn of<'a>(&'a self, topology: &'a str) -> impl Iterator<Item = &'a WorkerReport> {
        let workers = self.received.values().flat_map(|received| &received.report.workers);
        workers.filter(move |worker| worker.topology_id == topology && worker.id.is_some())
    }

    /// The newest incarnation of each worker of a topology, from reports that are not older than `age`.
    pub(crate) fn current<'a>(
        &'a self,
        topology: &str,
        now: Instant,
        age: Duration,
    ) -> BTreeMap<&'a WorkerId, &'a WorkerReport> {
        let mut current: BTreeMap<&WorkerId, &WorkerReport> = BTreeMap::new();
        for received in self.received.values().filter(|received| now.duration_since(received.at) <= age) {
            for worker in received.report.workers.iter().filter(|worker| worker.topology_id == topology) {
                let Some(id) = &worker.id else { continue };
                if current.get(id).is_none_or(|known| known.incarnation <= worker.incarnation) {
                    current.insert(id, worker);
                }
            }
        }
        current
    }

    /// Workers of this topology that do not stay up, with their supervisors.
    pub(crate) fn failures<'a>(&'a self, topology: &'a str) -> impl Iterator<Item = (&'a str, &'a LaunchFailure)> {
        self.received.values().flat_map(move |received| {
            let failures = received.report.failures.iter().filter(move |failure| failure.topology_id == topology);
            failures.map(|failure| (received.report.supervisor.as_str(), failure))
        })
    }

    /// Whether this supervisor has reported from this disk within `age`.
    pub(crate) fn has_reported(&self, supervisor: &str, disk: &str, now: Instant, age: Duration) -> bool {
        self.told_from(supervisor, disk).is_some_and(|received| now.duration_since(received.at) <= age)
    }

    /// Whether this supervisor has reported, when it was, that nothing of a topology runs there any more,
    /// and was not to run it at that time nor since: no later report could say anything else.
    pub(crate) fn has_said_its_last(&self, supervisor: &str, disk: &str, topology: &str) -> bool {
        self.told_from(supervisor, disk).is_some_and(|received| received.ended.contains(topology))
    }

    /// How long ago this supervisor reported; nothing if it has not.
    pub(crate) fn silence(&self, supervisor: &str, now: Instant) -> Option<Duration> {
        self.received.get(supervisor).map(|received| now.saturating_duration_since(received.at))
    }

    fn told_from(&self, supervisor: &str, disk: &str) -> Option<&Received> {
        self.received.get(supervisor).filter(|received| received.report.disk == disk)
    }
}

/// Whether a worker can do nothing more: it has come to its end, or is gone.
pub(crate) fn has_ended(report: &WorkerReport) -> bool {
    matches!(report.state(), WorkerState::Finished | WorkerState::Drained | WorkerState::Gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(supervisor: &str, failure: LaunchFailure) -> SupervisorReport {
        SupervisorReport { supervisor: supervisor.into(), failures: vec![failure], ..Default::default() }
    }

    #[test]
    fn supervisor_where_a_worker_fails_thrice_is_avoided_for_a_while() {
        let failure = |attempts, last_unix_ms| LaunchFailure {
            topology_id: "words-1".into(),
            slot: 6701,
            attempts,
            last_unix_ms,
            ..Default::default()
        };
        let avoided =
            |reports: &Reports, now| -> Vec<String> { reports.avoided("words-1", now).map(str::to_owned).collect() };
        let start = Instant::now();
        let mut reports = Reports::default();
        reports.take(report("a", failure(2, 1)), start, |_| true);
        assert!(avoided(&reports, start).is_empty());
        reports.take(report("a", failure(3, 2)), start, |_| true);
        assert_eq!(avoided(&reports, start), ["a"]);
        // The same failure, told again: it does not become newer by that.
        reports.take(report("a", failure(3, 2)), start + AVOIDED / 2, |_| true);
        assert!(avoided(&reports, start + AVOIDED).is_empty());
        reports.take(report("a", failure(4, 3)), start + AVOIDED, |_| true);
        assert_eq!(avoided(&reports, start + AVOIDED), ["a"]);
    }

    #[test]
    fn only_fresh_reports_of_the_newest_incarnation_are_current() {
        let id = WorkerId::new("a", 6701);
        let worker = |incarnation, state: WorkerState| WorkerReport {
            topology_id: "words-1".into(),
            id: Some(id.clone()),
            incarnation,
            state: state.into(),
            ..Default::default()
        };
        let (mut reports, start) = (Reports::default(), Instant::now());
        let workers = vec![worker(2, WorkerState::Running), worker(1, WorkerState::Finished)];
        reports.take(SupervisorReport { supervisor: "a".into(), workers, ..Default::default() }, start, |_| true);
        let age = Duration::from_secs(2);
        assert_eq!(reports.current("words-1", start, age)[&id].state(), WorkerState::Running);
        assert!(reports.current("words-1", start + age * 2, age).is_empty());
        assert_eq!(reports.of("words-1").count(), 2);
    }
}
