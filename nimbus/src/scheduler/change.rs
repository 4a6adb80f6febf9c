//! What a topology's next assignment is, and what is handed over on the way there.

use std::collections::{BTreeMap, BTreeSet};

use galerna_protocol::{TaskRange, WorkerId};

use super::assignment::{Assignment, Handover, is_handover_needed};
use super::board::Board;
use super::placement::Placement;

/// The next assignment; `None` if it would say what the present one says.
pub(super) fn next_assignment(placement: &Placement<'_>, board: &Board<'_>) -> Option<Assignment> {
    let mut workers = BTreeMap::new();
    for worker in &placement.workers {
        let mut executors: Vec<TaskRange> = worker.executors.iter().map(|executor| executor.tasks).collect();
        executors.sort_by_key(|tasks| tasks.first);
        workers.insert(Placement::worker_id(board, worker.supervisor, worker.slot), executors);
    }
    let Some(old) = &placement.view.assignment else {
        return Some(Assignment { generation: 1, workers, handovers: Vec::new() });
    };
    let held = placement.held.iter().map(|(supervisor, slot)| Placement::worker_id(board, *supervisor, *slot));
    let alive: BTreeSet<WorkerId> = held.collect();
    let handovers =
        if placement.is_handing_over { still_pending(old, &workers, &alive) } else { needed(old, &workers, &alive) };
    for handover in &handovers {
        workers.entry(handover.from.clone()).or_default();
    }
    let is_same = workers == old.workers && handovers == old.handovers;
    (!is_same).then(|| Assignment { generation: old.generation + 1, workers, handovers })
}

type Workers = BTreeMap<WorkerId, Vec<TaskRange>>;

/// Where each task runs: the first task of its executor and its worker, by the executor's last task.
fn by_task(workers: &Workers) -> BTreeMap<u32, (u32, &WorkerId)> {
    let ranges = workers.iter().flat_map(|(id, ranges)| ranges.iter().map(move |range| (id, range)));
    ranges.map(|(id, range)| (range.last, (range.first, id))).collect()
}

fn place_of<'w>(places: &BTreeMap<u32, (u32, &'w WorkerId)>, task: u32) -> Option<(&'w WorkerId, u32)> {
    let (_, (first, id)) = places.range(task..).next()?;
    (*first <= task).then_some((*id, *first))
}

/// What living workers have to release.
fn needed(old: &Assignment, new: &Workers, alive: &BTreeSet<WorkerId>) -> Vec<Handover> {
    let places = by_task(&old.workers);
    let mut handovers: BTreeMap<&WorkerId, Vec<u32>> = BTreeMap::new();
    for (id, range) in new.iter().flat_map(|(id, ranges)| ranges.iter().map(move |range| (id, range))) {
        for task in range.tasks() {
            let Some(before) = place_of(&places, task).filter(|(from, _)| alive.contains(from)) else { continue };
            if is_handover_needed(before, (id, range.first)) {
                handovers.entry(before.0).or_default().push(task);
            }
        }
    }
    let handover = |(from, mut tasks): (&WorkerId, Vec<u32>)| {
        tasks.sort_unstable();
        Handover { tasks, from: from.clone() }
    };
    handovers.into_iter().map(handover).collect()
}

/// What is left of the handovers that are going on: those between workers that both live on. Nothing
/// else has moved but what was lost.
fn still_pending(old: &Assignment, new: &Workers, alive: &BTreeSet<WorkerId>) -> Vec<Handover> {
    let (before, after) = (by_task(&old.workers), by_task(new));
    let mut handovers = Vec::new();
    for handover in old.handovers.iter().filter(|handover| alive.contains(&handover.from)) {
        let has_stayed = |task: &u32| place_of(&before, *task) == place_of(&after, *task);
        let tasks: Vec<u32> = handover.tasks.iter().copied().filter(has_stayed).collect();
        if !tasks.is_empty() {
            handovers.push(Handover { tasks, from: handover.from.clone() });
        }
    }
    handovers
}
