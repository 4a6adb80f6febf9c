//! Whether all that a topology has counted is known: by whom it was counted, and whether they say so.
//!
//! A supervisor keeps what its workers have counted on its disk and tells all of it with each report.
//! So counts are exact while every supervisor that has ever run the topology reports, from the disk on
//! which it began. Which those are stands in the store, with the assignment that brings them in: a new
//! leader knows whom to hear. One that was left for good, and has said that nothing of it runs there
//! any more, has said its last word: the leader that has heard it counts it in for as long as it leads.

use std::collections::BTreeMap;
use std::time::Duration;

use galerna_coordination::keys::Desired;
use galerna_protocol::Assignment;
use tokio::time::Instant;

use crate::reports::Reports;
use crate::view::View;

/// The supervisors that an assignment names.
pub(crate) fn supervisors_of(assignment: &Assignment) -> impl Iterator<Item = &str> {
    assignment.workers.iter().filter_map(|worker| Some(worker.id.as_ref()?.supervisor.as_str()))
}

/// What is to be noted of those that run a topology by this assignment, and those that have run it;
/// `None` if all of it is.
pub(crate) fn noted(desired: &Desired, view: &View, assignment: Option<&Assignment>) -> Option<Desired> {
    let disk_of = |supervisor: &str| Some(&view.supervisors.get(supervisor)?.value.disk);
    let named = assignment.into_iter().flat_map(supervisors_of);
    let new = named.filter(|supervisor| !desired.ran_on.contains_key(*supervisor));
    let new: BTreeMap<&str, &String> = new.filter_map(|supervisor| Some((supervisor, disk_of(supervisor)?))).collect();
    // Who comes with another disk has forgotten what it counted.
    let is_other = |(supervisor, disk): (&String, &String)| disk_of(supervisor).is_some_and(|now| now != disk);
    let has_lost = desired.ran_on.iter().any(is_other);
    if new.is_empty() && !has_lost {
        return None;
    }
    let mut next = desired.clone();
    for (supervisor, disk) in &mut next.ran_on {
        if let Some(now) = disk_of(supervisor) {
            disk.clone_from(now);
        }
    }
    next.ran_on.extend(new.into_iter().map(|(supervisor, disk)| (supervisor.to_owned(), disk.clone())));
    next.has_lost_counts |= has_lost;
    Some(next)
}

/// Whether everything that was counted was reported, by reports that are not older than `age`.
pub(crate) fn are_exact(view: &View, reports: &Reports, id: &str, now: Instant, age: Duration) -> bool {
    let Some(desired) = view.topologies.get(id).and_then(|topology| topology.desired.as_ref()) else { return false };
    let assignment = view.assignments.get(id);
    let is_assigned = |supervisor: &str| {
        assignment.is_some_and(|assignment| supervisors_of(&assignment.value).any(|one| one == supervisor))
    };
    let assigned = assignment.into_iter().flat_map(|assignment| supervisors_of(&assignment.value));
    let is_known = |supervisor: &str| desired.value.ran_on.contains_key(supervisor);
    let have_reported = desired.value.ran_on.iter().all(|(supervisor, disk)| {
        reports.has_reported(supervisor, disk, now, age)
            || !is_assigned(supervisor) && reports.has_said_its_last(supervisor, disk, id)
    });
    !desired.value.has_lost_counts
        && assigned.into_iter().all(is_known)
        && have_reported
        && !reports.of(id).any(|report| report.may_lack_counts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use galerna_coordination::keys::Registration;
    use galerna_protocol::{AssignedWorker, SupervisorReport, WorkerId, WorkerReport, WorkerState};

    use super::*;
    use crate::view::{TopologyEntry, Versioned};

    const AGE: Duration = Duration::from_secs(3);
    const ID: &str = "words-1";

    fn versioned<T>(value: T) -> Versioned<T> {
        Versioned { value: Arc::new(value), modified: 1 }
    }

    fn assignment(supervisors: &[&str]) -> Assignment {
        let worker = |id: &&str| AssignedWorker { id: Some(WorkerId::new(*id, 6701)), ..AssignedWorker::default() };
        Assignment { generation: 1, workers: supervisors.iter().map(worker).collect(), handovers: Vec::new() }
    }

    /// These supervisors with their disks are there; the topology is assigned to some.
    fn view(registered: &[(&str, &str)], assigned: &[&str], desired: Desired) -> View {
        let registration = |disk: &str| versioned(Registration { disk: disk.into(), ..Registration::default() });
        let topology = TopologyEntry { spec: None, desired: Some(versioned(desired)) };
        View {
            supervisors: registered.iter().map(|(id, disk)| ((*id).to_owned(), registration(disk))).collect(),
            assignments: BTreeMap::from([(ID.to_owned(), versioned(assignment(assigned)))]),
            topologies: BTreeMap::from([(ID.to_owned(), topology)]),
            ..View::default()
        }
    }

    fn ran_on(disks: &[(&str, &str)]) -> Desired {
        let ran_on = disks.iter().map(|(id, disk)| ((*id).to_owned(), (*disk).to_owned())).collect();
        Desired { ran_on, ..Desired::default() }
    }

    fn report(supervisor: &str, disk: &str, state: WorkerState) -> SupervisorReport {
        let worker = WorkerReport {
            topology_id: ID.into(),
            id: Some(WorkerId::new(supervisor, 6701)),
            incarnation: 1,
            state: state.into(),
            ..Default::default()
        };
        SupervisorReport {
            supervisor: supervisor.into(),
            disk: disk.into(),
            workers: vec![worker],
            ..Default::default()
        }
    }

    #[test]
    fn each_supervisor_is_noted_with_the_disk_that_it_begins_on() {
        let view = view(&[("a", "d1"), ("b", "")], &["a", "b", "gone"], Desired::default());
        let next = noted(&Desired::default(), &view, Some(&assignment(&["a", "b", "gone"]))).expect("two are new");
        assert_eq!(next, ran_on(&[("a", "d1"), ("b", "")]));
        assert_eq!(noted(&next, &view, Some(&assignment(&["b"]))), None);
    }

    #[test]
    fn supervisor_that_comes_with_another_disk_has_lost_what_it_counted_for_ever() {
        let known = ran_on(&[("a", "d1"), ("b", "d2")]);
        let away = view(&[("b", "d2")], &["b"], known.clone());
        assert_eq!(noted(&known, &away, None), None, "one that is away may come back as it was");
        let other = view(&[("a", "d3"), ("b", "d2")], &["b"], known.clone());
        let next = noted(&known, &other, None).expect("it has another disk");
        let expected = Desired { has_lost_counts: true, ..ran_on(&[("a", "d3"), ("b", "d2")]) };
        assert_eq!(next, expected);
        assert_eq!(noted(&next, &other, Some(&assignment(&["a", "b"]))), None);
    }

    #[test]
    fn counts_are_exact_while_all_that_ever_ran_it_report_from_the_disk_that_they_began_on() {
        let now = Instant::now();
        let desired = ran_on(&[("a", "d1"), ("b", "d2")]);
        let view = view(&[("a", "d1"), ("b", "d2")], &["b"], desired.clone());
        let mut reports = Reports::default();
        let mut is_exact = |view: &View, report: SupervisorReport, now| {
            reports.take(report, now, |_| true);
            are_exact(view, &reports, ID, now, AGE)
        };
        assert!(!is_exact(&view, report("b", "d2", WorkerState::Running), now), "the other one is not known");
        assert!(is_exact(&view, report("a", "d1", WorkerState::Gone), now));
        assert!(!is_exact(&view, report("b", "d2", WorkerState::Running), now + AGE * 2), "one is silent");
        assert!(!is_exact(&view, report("a", "d3", WorkerState::Gone), now + AGE * 2), "it has another disk");
        assert!(is_exact(&view, report("a", "d1", WorkerState::Gone), now + AGE * 2));
        let mut lacking = report("a", "d1", WorkerState::Gone);
        lacking.workers[0].may_lack_counts = true;
        assert!(!is_exact(&view, lacking, now + AGE * 2));
        assert!(is_exact(&view, report("a", "d1", WorkerState::Gone), now + AGE * 2));
        let lost = Desired { has_lost_counts: true, ..desired };
        let lost = self::view(&[("a", "d1"), ("b", "d2")], &["b"], lost);
        assert!(!is_exact(&lost, report("a", "d1", WorkerState::Gone), now + AGE * 2));
    }

    #[test]
    fn last_word_of_a_supervisor_counts_if_all_has_ended_there_and_nothing_was_assigned_since() {
        let now = Instant::now();
        let later = now + AGE * 2;
        let view = view(&[("b", "d2")], &["b"], ran_on(&[("a", "d1"), ("b", "d2")]));
        let is_exact = |reports: &mut Reports| {
            reports.take(report("b", "d2", WorkerState::Running), later, |_| true);
            are_exact(&view, reports, ID, later, AGE)
        };
        for (state, was_assigned, expected) in [
            (WorkerState::Gone, false, true),
            (WorkerState::Gone, true, false),
            (WorkerState::Running, false, false),
            (WorkerState::Drained, false, false),
        ] {
            let mut reports = Reports::default();
            reports.take(report("a", "d1", state), now, |_| was_assigned);
            assert_eq!(is_exact(&mut reports), expected, "{state:?}, assigned: {was_assigned}");
            reports.expect_more(ID, "a");
            assert!(!is_exact(&mut reports), "it may have run there again");
        }
        let mut reports = Reports::default();
        reports.take(report("a", "d9", WorkerState::Gone), now, |_| false);
        assert!(!is_exact(&mut reports), "that was another disk");
    }
}
