//! How much memory one worker may have.

use std::collections::BTreeSet;

use galerna_protocol::{AssignedWorker, Handover, TopologySpec, WorkerId, WorkerPlan};

use crate::options::WorkerMemory;
use crate::size;

const MIB: u64 = 1 << 20;
/// What the supervisor itself needs: a twentieth, within these bounds, and at most half.
const OWN: (u64, u64) = (32 * MIB, 128 * MIB);

/// What follows from options and limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    rule: WorkerMemory,
    /// What a slot has.
    of_slot: Option<u64>,
}

/// The most that one worker may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) bytes: u64,
    /// Where that comes from, for people.
    pub(crate) reason: &'static str,
}

impl Shares {
    /// `bound` is what this supervisor and its workers have together.
    pub(crate) fn new(rule: WorkerMemory, bound: Option<u64>, slots: u32) -> Self {
        let left = bound.map(|bound| bound - (bound / 20).clamp(OWN.0, OWN.1).min(bound / 2));
        Self { rule, of_slot: left.map(|left| left / u64::from(slots.max(1))) }
    }

    /// The share of the worker with this plan.
    pub(crate) fn of(&self, spec: Option<&TopologySpec>, plan: &WorkerPlan, id: &WorkerId) -> Option<Share> {
        let of_slot = match self.rule {
            WorkerMemory::Unlimited => return None,
            WorkerMemory::Limit(bytes) => return Some(Share { bytes, reason: "--worker-memory" }),
            WorkerMemory::Slot => self.of_slot?,
        };
        let declared = spec.map_or(0, |spec| declared(spec, plan, id));
        Some(if declared > of_slot {
            Share { bytes: declared, reason: "what its components declare" }
        } else {
            Share { bytes: of_slot, reason: "a slot's part of all; --worker-memory sets another" }
        })
    }
}

/// What the components of a worker's tasks ask for, those included that it is still to hand over.
fn declared(spec: &TopologySpec, plan: &WorkerPlan, id: &WorkerId) -> u64 {
    let Some(assignment) = &plan.assignment else { return 0 };
    let is_its = |worker: &&AssignedWorker| worker.id.as_ref() == Some(id);
    let leaves = |handover: &&Handover| handover.from.as_ref() == Some(id);
    let leaving: BTreeSet<u32> =
        assignment.handovers.iter().filter(leaves).flat_map(|handover| handover.tasks.iter().copied()).collect();
    let runs = |task: u32| {
        let own = assignment.workers.iter().filter(is_its).flat_map(|worker| &worker.executors);
        own.into_iter().any(|range| (range.first..=range.last).contains(&task)) || leaving.contains(&task)
    };
    let asked = spec.components.iter().map(|component| {
        let tasks = component.first_task..component.first_task.saturating_add(component.tasks);
        component.memory_mb * tasks.filter(|task| runs(*task)).count() as f64
    });
    // Nimbus takes none that is negative or infinite; what is too large is as good as no share.
    (asked.sum::<f64>() * MIB as f64) as u64
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its share of {} ({})", size::show(self.bytes), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{Assignment, ComponentSpec, TaskRange};

    use super::*;

    fn plan(executors: &[(u32, u32)], leaving: &[u32]) -> WorkerPlan {
        let executors = executors.iter().map(|(first, last)| TaskRange { first: *first, last: *last }).collect();
        let workers = vec![
            AssignedWorker { id: Some(WorkerId::new("s", 7)), executors, ..Default::default() },
            AssignedWorker {
                id: Some(WorkerId::new("t", 7)),
                executors: vec![TaskRange { first: 1, last: 9 }],
                ..Default::default()
            },
        ];
        let handovers = vec![Handover { tasks: leaving.to_vec(), from: Some(WorkerId::new("s", 7)) }];
        WorkerPlan { assignment: Some(Assignment { generation: 1, workers, handovers }), ..Default::default() }
    }

    #[test]
    fn a_worker_has_a_slots_part_or_what_its_tasks_declare() {
        let component =
            |first_task, tasks, memory_mb| ComponentSpec { first_task, tasks, memory_mb, ..Default::default() };
        let components = vec![component(1, 2, 100.0), component(3, 4, 150.0), component(7, 1, 0.0)];
        let spec = TopologySpec { components, ..Default::default() };
        let id = WorkerId::new("s", 7);
        let share = |rule, bound, executors: &[(u32, u32)], leaving: &[u32]| {
            let shares = Shares::new(rule, bound, 4);
            shares.of(Some(&spec), &plan(executors, leaving), &id).map(|share| share.bytes / MIB)
        };
        let (slot, two) = (WorkerMemory::Slot, Some(2048 * MIB));
        // 2048 less a twentieth, by four.
        assert_eq!(share(slot, two, &[(1, 1)], &[]), Some(486));
        assert_eq!(share(slot, two, &[(1, 3), (7, 7)], &[]), Some(486));
        assert_eq!(share(slot, two, &[(2, 6)], &[]), Some(700));
        assert_eq!(share(slot, two, &[(3, 4)], &[5, 6]), Some(600), "what it hands over is still there");
        assert_eq!(share(slot, None, &[(2, 6)], &[]), None, "nothing bounds it");
        assert_eq!(share(slot, Some(64 * MIB), &[], &[]), Some(8));
        assert_eq!(share(slot, Some(40 * MIB), &[], &[]), Some(5));
        assert_eq!(share(slot, Some(16384 * MIB), &[], &[]), Some(4064));
        assert_eq!(share(WorkerMemory::Limit(300 * MIB), two, &[(2, 6)], &[]), Some(300));
        assert_eq!(share(WorkerMemory::Unlimited, two, &[(2, 6)], &[]), None);
        let share = Shares::new(slot, two, 4).of(None, &WorkerPlan::default(), &id).expect("a share");
        assert_eq!(share.to_string(), "its share of 486 MiB (a slot's part of all; --worker-memory sets another)");
    }
}
