//! Spreads a running topology over more or fewer workers, with as few moves as possible.

use std::cmp::Reverse;

use super::balance::Stays;
use super::board::{Board, Demand};
use super::place::{open_workers, room_for};
use super::placement::{Executor, Placement, Refusal, Worker};

/// Puts the wanted workers and executors into effect, as far as there is room.
pub(super) fn rebalance(placement: &mut Placement<'_>, board: &mut Board<'_>) {
    let executors = placement.components.wanted_executors();
    let (now, wanted) = (placement.workers.len(), placement.wanted_workers(executors.len()));
    if !placement.is_at_ease() || executors.is_empty() {
        return;
    }
    let most = now.min(wanted) + room_for(placement, board, wanted.saturating_sub(now));
    let mut refusal = None;
    for workers in (now.min(wanted)..=most).rev() {
        match run_on(placement, board, &executors, workers) {
            Ok(()) => return,
            Err(reason) => refusal = refusal.or(Some(reason)),
        }
    }
    placement.rebalance_refusal = refusal;
}

/// Widens each topology that can be widened; whether there was one.
pub(super) fn widen_all(placements: &mut [Placement<'_>], board: &mut Board<'_>) -> bool {
    let mut has_widened = false;
    for placement in placements {
        has_widened |= widen(placement, board);
    }
    has_widened
}

/// Lets a topology that runs on fewer workers than it wants have those that there is room for now.
/// There are at least as many executors as wanted workers, so each new one takes some from the busiest.
fn widen(placement: &mut Placement<'_>, board: &mut Board<'_>) -> bool {
    let count = placement.executor_count();
    let (now, wanted) = (placement.workers.len(), placement.wanted_workers(count));
    if now >= wanted || !placement.is_at_ease() {
        return false;
    }
    let room = room_for(placement, board, wanted - now);
    if room == 0 {
        return false;
    }
    let mut executors: Vec<Executor> = Vec::with_capacity(count);
    executors.extend(placement.workers.iter().flat_map(|worker| &worker.executors));
    executors.sort_by_key(|executor| executor.tasks.first);
    (now + 1..=now + room).rev().any(|workers| run_on(placement, board, &executors, workers).is_ok())
}

/// Deals the executors to so many workers. All or nothing.
fn run_on(
    placement: &mut Placement<'_>,
    board: &mut Board<'_>,
    executors: &[Executor],
    workers: usize,
) -> Result<(), Refusal> {
    let stays = Stays::new(executors, &placement.workers);
    let kept = kept_workers(placement, board, &stays, executors.len(), workers);
    let mut parts = stays.deal(executors, &kept, workers - kept.len());
    let opened_parts = parts.split_off(kept.len());
    for worker in &placement.workers {
        board.unload(worker.supervisor, worker.demand);
    }
    let mut after: Vec<Worker> = Vec::with_capacity(workers);
    let mut result = Ok(());
    for (at, executors) in kept.iter().zip(parts) {
        let Worker { supervisor, slot, demand: before, .. } = placement.workers[*at];
        let demand = placement.demand(&executors);
        let grows = demand.cpu > before.cpu || demand.memory_mb > before.memory_mb;
        if grows && !board.supervisor(supervisor).fits(demand) {
            result = Err(Refusal::Resources(demand));
            break;
        }
        board.load(supervisor, demand);
        after.push(Worker { supervisor, slot, executors, demand });
    }
    match result.and_then(|()| open_workers(placement, board, opened_parts)) {
        Ok(opened) => {
            after.extend(opened);
            let closed = (0..placement.workers.len()).filter(|at| !kept.contains(at));
            for worker in closed.map(|at| &placement.workers[at]) {
                // It is off the board already: what is left is its slot.
                board.load(worker.supervisor, Demand::default());
                placement.vacate(board, &Worker { demand: Demand::default(), ..worker.clone() });
            }
            placement.workers = after;
            placement.is_changed = true;
            Ok(())
        }
        Err(refusal) => {
            for worker in &after {
                board.unload(worker.supervisor, worker.demand);
            }
            for worker in &placement.workers {
                board.load(worker.supervisor, worker.demand);
            }
            Err(refusal)
        }
    }
}

/// The workers that stay when there are to be `workers`, in order. Those with the fewest tasks to move go
/// first, then those that share a supervisor, then those on the most loaded one.
fn kept_workers(
    placement: &Placement<'_>,
    board: &Board<'_>,
    stays: &Stays,
    executors: usize,
    workers: usize,
) -> Vec<usize> {
    let mut order: Vec<usize> = (0..placement.workers.len()).collect();
    if order.len() <= workers {
        return order;
    }
    let share = executors.div_ceil(workers);
    order.sort_by_cached_key(|at| {
        let supervisor = placement.workers[*at].supervisor;
        let value = Reverse(stays.value(*at, share));
        (value, placement.workers_on(supervisor), board.supervisor(supervisor).load())
    });
    order.truncate(workers);
    order.sort_unstable();
    order
}
