//! Which worker runs what, and what is handed over when that changes.

use std::collections::{BTreeMap, BTreeSet};

use galerna_protocol::{TaskRange, WorkerId};
use galerna_topology_api::tasks_of_executors;

/// Tasks that run elsewhere until their worker has released them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// Ascending.
    pub tasks: Vec<u32>,
    /// The worker that releases them.
    pub from: WorkerId,
}

/// Which worker of a topology runs what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Grows with each change.
    pub generation: u64,
    /// The executors of each worker, ascending; none for one that only releases tasks.
    pub workers: BTreeMap<WorkerId, Vec<TaskRange>>,
    /// What is being handed over, at most one for each worker that releases, by worker.
    pub handovers: Vec<Handover>,
}

/// The tasks of each executor of a component with `tasks` tasks, the first of which is `first_task`.
/// There are at least one executor and at most one for each task.
pub fn executors_of(first_task: u32, tasks: u32, executors: u32) -> Vec<TaskRange> {
    let mut first = first_task;
    let shares = tasks_of_executors(tasks, executors.max(1).min(tasks));
    let range = |share: u32| {
        let next = first.saturating_add(share);
        let range = TaskRange { first, last: next - 1 };
        first = next;
        range
    };
    shares.into_iter().map(range).collect()
}

/// Whether a task that ran in the executor beginning with task `old.1` of worker `old.0`, and is to run
/// in that beginning with `new.1` of `new.0`, has to be handed over.
pub fn is_handover_needed(old: (&WorkerId, u32), new: (&WorkerId, u32)) -> bool {
    old != new
}

/// The next generation, with nothing pending: handovers are done or given up, and workers that were
/// there for them only are gone.
pub fn clear_handovers(assignment: &Assignment) -> Assignment {
    let workers = assignment.workers.iter().filter(|(_, executors)| !executors.is_empty());
    Assignment {
        generation: assignment.generation + 1,
        workers: workers.map(|(id, executors)| (id.clone(), executors.clone())).collect(),
        handovers: Vec::new(),
    }
}

/// As [`clear_handovers`], but only of these workers, which can release nothing any more.
pub fn clear_handovers_from(assignment: &Assignment, lost: &BTreeSet<WorkerId>) -> Assignment {
    let handovers: Vec<_> = assignment.handovers.iter().filter(|one| !lost.contains(&one.from)).cloned().collect();
    let is_needed = |id: &WorkerId, executors: &[TaskRange]| {
        !executors.is_empty() || handovers.iter().any(|handover| handover.from == *id)
    };
    let workers = assignment.workers.iter().filter(|(id, executors)| is_needed(id, executors));
    Assignment {
        generation: assignment.generation + 1,
        workers: workers.map(|(id, executors)| (id.clone(), executors.clone())).collect(),
        handovers,
    }
}
