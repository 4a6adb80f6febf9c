//! What is told of a topology's workers beside what they count: the ends of their processes, and how many do not run.

use std::collections::BTreeMap;

use galerna_protocol::{Assignment, TopologySummary, WorkerEnd, WorkerId, WorkerReport, WorkerState};

/// Number of ends kept per worker.
const KEPT_ENDS: usize = 5;

/// The last ends of each worker that nobody had ordered, the newest first.
pub(crate) fn ends<'a>(reports: impl IntoIterator<Item = &'a WorkerReport>) -> Vec<WorkerEnd> {
    let of_report = |report: &WorkerReport| {
        let end = report.end.clone()?;
        Some(WorkerEnd { worker: end.worker.clone().or_else(|| report.id.clone()), ..end })
    };
    let mut ends: Vec<WorkerEnd> = reports.into_iter().filter_map(of_report).collect();
    ends.sort_by_key(|end| std::cmp::Reverse((end.unix_ms, end.incarnation)));
    let mut kept: BTreeMap<Option<WorkerId>, usize> = BTreeMap::new();
    ends.retain(|end| {
        let kept = kept.entry(end.worker.clone()).or_default();
        *kept += 1;
        *kept <= KEPT_ENDS
    });
    ends
}

/// How often the process of a worker ended though nobody had ordered it.
pub(crate) fn restarts<'a>(reports: impl IntoIterator<Item = &'a WorkerReport>, worker: &WorkerId) -> u64 {
    let its = reports.into_iter().filter(|report| report.id.as_ref() == Some(worker));
    its.map(|report| report.unexpected_ends).fold(0, u64::saturating_add)
}

/// Counts the workers of an assignment that do not run, by how they stand.
pub(crate) fn count_missing(
    summary: &mut TopologySummary,
    assignment: &Assignment,
    current: &BTreeMap<&WorkerId, &WorkerReport>,
) {
    for worker in assignment.workers.iter().filter_map(|worker| worker.id.as_ref()) {
        let count = match current.get(worker).map(|report| report.state()) {
            Some(WorkerState::Running | WorkerState::Finished | WorkerState::Drained) => continue,
            Some(WorkerState::Gone) => &mut summary.workers_down,
            Some(WorkerState::NotResponding) => &mut summary.workers_not_responding,
            Some(WorkerState::Starting) => &mut summary.workers_starting,
            Some(WorkerState::Unspecified) | None => &mut summary.workers_unknown,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::AssignedWorker;

    use super::*;

    fn report(slot: u32, incarnation: u64, state: WorkerState) -> WorkerReport {
        let id = Some(WorkerId::new("a", slot));
        WorkerReport { id, incarnation, state: state.into(), ..WorkerReport::default() }
    }

    #[test]
    fn last_five_ends_of_each_worker_are_told_and_all_are_counted() {
        let ended = |slot, incarnation: u64| WorkerReport {
            end: Some(WorkerEnd { incarnation, unix_ms: incarnation as i64, ..WorkerEnd::default() }),
            unexpected_ends: 1,
            ..report(slot, incarnation, WorkerState::Gone)
        };
        let summed_up = WorkerReport { unexpected_ends: 30, ..report(1, 1, WorkerState::Gone) };
        let mut reports = vec![summed_up, report(1, 99, WorkerState::Running), ended(2, 4)];
        reports.extend((2..10).map(|incarnation| ended(1, incarnation)));
        let told: Vec<_> = ends(&reports)
            .iter()
            .map(|end| (end.worker.as_ref().map_or(0, |worker| worker.slot), end.incarnation))
            .collect();
        assert_eq!(told, [(1, 9), (1, 8), (1, 7), (1, 6), (1, 5), (2, 4)]);
        assert_eq!(restarts(&reports, &WorkerId::new("a", 1)), 38);
        assert_eq!(restarts(&reports, &WorkerId::new("a", 2)), 1);
        assert_eq!(restarts(&reports, &WorkerId::new("b", 1)), 0);
    }

    #[test]
    fn workers_that_do_not_run_are_counted_by_how_they_stand() {
        use WorkerState::{Drained, Finished, Gone, NotResponding, Running, Starting};
        let states = [Running, Finished, Drained, Gone, Gone, NotResponding, Starting];
        let reports: Vec<WorkerReport> = (1..).zip(states).map(|(slot, state)| report(slot, 1, state)).collect();
        let current = reports.iter().filter_map(|report| Some((report.id.as_ref()?, report))).collect();
        // Of the last one there is no report.
        let assigned = (1..=8).map(|slot| AssignedWorker { id: Some(WorkerId::new("a", slot)), ..Default::default() });
        let assignment = Assignment { workers: assigned.collect(), ..Assignment::default() };
        let mut summary = TopologySummary::default();
        count_missing(&mut summary, &assignment, &current);
        let TopologySummary { workers_down, workers_not_responding, workers_starting, workers_unknown, .. } = summary;
        assert_eq!([workers_down, workers_not_responding, workers_starting, workers_unknown], [2, 1, 1, 1]);
    }
}
