//! Places what has no place: new topologies, and executors whose workers are lost.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::balance::{Dealt, deal_in_turn};
use super::board::{Board, Demand};
use super::placement::{Executor, Placement, Refusal, Worker};

/// Places all that has no place, as far as there is room.
pub(super) fn place_all(placements: &mut [Placement<'_>], board: &mut Board<'_>) {
    let waiting = placements.iter_mut().filter(|placement| !placement.view.is_ending && placement.is_waiting());
    for placement in waiting {
        placement.refusal = None;
        if placement.view.assignment.is_none() {
            place_new(placement, board);
        } else {
            place_homeless(placement, board);
        }
    }
}

/// Gives a topology that runs nowhere its workers: as many as it wants, or as there is room for.
fn place_new(placement: &mut Placement<'_>, board: &mut Board<'_>) {
    let executors = placement.components.wanted_executors();
    let mut refusal = if executors.is_empty() { Refusal::Empty } else { Refusal::Slots };
    let room = room_for(placement, board, placement.wanted_workers(executors.len()));
    for workers in (1..=room).rev() {
        match open_workers(placement, board, deal_in_turn(&executors, workers)) {
            Ok(workers) => {
                placement.workers = workers;
                placement.is_changed = true;
                return;
            }
            Err(reason) if workers == room => refusal = reason,
            Err(_) => {}
        }
    }
    placement.refusal = Some(refusal);
}

/// Places the executors whose workers are lost or fail to start. Nothing else is touched: new workers
/// take the place of lost ones, and what finds no slot joins the workers that are left. All or nothing.
fn place_homeless(placement: &mut Placement<'_>, board: &mut Board<'_>) {
    let failing = placement.failing.iter().flat_map(|worker| &worker.executors);
    let mut moving: Vec<Executor> = placement.homeless.iter().chain(failing).copied().collect();
    moving.sort_by_key(|executor| executor.tasks.first);
    // What was being handed over to a lost worker is best off where it came from.
    let idle = placement.let_go(board);
    let wanted = placement.wanted_workers(placement.executor_count() + moving.len());
    match deal_out(placement, board, &moving, wanted) {
        Ok(()) => {
            placement.homeless.clear();
            for worker in std::mem::take(&mut placement.failing) {
                // It runs nothing, so there is nothing to wait for.
                placement.held.retain(|held| *held != (worker.supervisor, worker.slot));
                placement.vacate(board, &worker);
            }
            placement.is_changed = true;
        }
        Err(refusal) => {
            placement.hold(board, idle);
            placement.refusal = Some(refusal);
        }
    }
}

/// Deals executors to new workers, of which there are to be `wanted` with those that are there, as far
/// as slots are free, and to those that are there. All or nothing.
pub(super) fn deal_out(
    placement: &mut Placement<'_>,
    board: &mut Board<'_>,
    moving: &[Executor],
    wanted: usize,
) -> Result<(), Refusal> {
    let is_open = |worker: &Worker| board.supervisor(worker.supervisor).is_open();
    // Where there is nothing to join, one at least has to be new.
    let fewest = usize::from(!placement.workers.iter().any(is_open));
    let most = wanted.saturating_sub(placement.workers.len()).min(moving.len()).max(fewest);
    let room = room_for(placement, board, most);
    let mut refusal = Refusal::Slots;
    for opened in (fewest..=room).rev() {
        match join(placement, board, moving, opened) {
            Ok(()) => return Ok(()),
            Err(reason) if opened == room => refusal = reason,
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// Deals executors to the workers that are there, where they may get more, and `opened` new ones.
fn join(
    placement: &mut Placement<'_>,
    board: &mut Board<'_>,
    moving: &[Executor],
    opened: usize,
) -> Result<(), Refusal> {
    let there = placement.workers.len();
    let mut dealt = Dealt::new(placement.workers.iter().map(|worker| worker.executors.as_slice()), opened);
    let mut joined: Vec<(usize, Executor, Demand)> = Vec::new();
    let mut opened_parts = vec![Vec::new(); opened];
    let mut result = Ok(());
    for executor in moving {
        let demand = placement.demand(std::slice::from_ref(executor));
        let may_join = |worker: &Worker| {
            let supervisor = board.supervisor(worker.supervisor);
            supervisor.is_open() && supervisor.fits(demand)
        };
        let fits = |at: usize| placement.workers.get(at).is_none_or(may_join);
        let Some(at) = dealt.emptiest(*executor, fits) else {
            result = Err(Refusal::Resources(demand));
            break;
        };
        dealt.add(at, *executor);
        if at < there {
            board.exchange(placement.workers[at].supervisor, Demand::default(), demand);
            joined.push((at, *executor, demand));
        } else {
            opened_parts[at - there].push(*executor);
        }
    }
    match result.and_then(|()| open_workers(placement, board, opened_parts)) {
        Ok(opened) => {
            for (at, executor, demand) in joined {
                let worker = &mut placement.workers[at];
                worker.executors.push(executor);
                worker.demand = worker.demand.plus(demand);
            }
            placement.workers.extend(opened);
            Ok(())
        }
        Err(refusal) => {
            for (at, _, demand) in joined {
                board.exchange(placement.workers[at].supervisor, demand, Demand::default());
            }
            Err(refusal)
        }
    }
}

/// How many slots a topology can get, `wanted` at most.
pub(super) fn room_for(placement: &Placement<'_>, board: &Board<'_>, wanted: usize) -> usize {
    let mut room = 0;
    for at in board.ranked() {
        if room >= wanted {
            break;
        }
        if placement.may_use(board, at) {
            room += board.supervisor(at).free_slots();
        }
    }
    room.min(wanted)
}

/// Finds supervisors for new workers that run these executors, and enters them on the board. All or nothing.
pub(super) fn open_workers(
    placement: &Placement<'_>,
    board: &mut Board<'_>,
    parts: Vec<Vec<Executor>>,
) -> Result<Vec<Worker>, Refusal> {
    let mut parts: Vec<_> = parts.into_iter().map(|part| (placement.demand(&part), part)).collect();
    // What asks for most is hardest to place.
    parts.sort_by(|(one, _), (other, _)| largest_first(*one, *other));
    let mut hosting: BTreeMap<usize, usize> = BTreeMap::new();
    for worker in &placement.workers {
        *hosting.entry(worker.supervisor).or_default() += 1;
    }
    let mut opened: Vec<Worker> = Vec::with_capacity(parts.len());
    for (demand, executors) in parts {
        let chosen = choose(placement, board, &hosting, demand);
        let taken = chosen.and_then(|at| board.take_any(at).map(|slot| (at, slot)).ok_or(Refusal::Slots));
        let (supervisor, slot) = match taken {
            Ok(taken) => taken,
            Err(refusal) => {
                for worker in opened {
                    board.unload(worker.supervisor, worker.demand);
                    board.release(worker.supervisor, worker.slot);
                }
                return Err(refusal);
            }
        };
        board.load(supervisor, demand);
        *hosting.entry(supervisor).or_default() += 1;
        opened.push(Worker { supervisor, slot, executors, demand });
    }
    Ok(opened)
}

fn largest_first(one: Demand, other: Demand) -> Ordering {
    other.cpu.total_cmp(&one.cpu).then(other.memory_mb.total_cmp(&one.memory_mb))
}

/// The supervisor that runs the fewest workers of this topology; among those the least loaded one.
fn choose(
    placement: &Placement<'_>,
    board: &Board<'_>,
    hosting: &BTreeMap<usize, usize>,
    demand: Demand,
) -> Result<usize, Refusal> {
    let mut refusal = Refusal::Slots;
    let mut best: Option<(usize, usize)> = None;
    for at in board.ranked() {
        if !placement.may_use(board, at) {
            continue;
        }
        if !board.supervisor(at).fits(demand) {
            refusal = Refusal::Resources(demand);
            continue;
        }
        let Some(hosted) = hosting.get(&at) else {
            return Ok(at);
        };
        if best.is_none_or(|(fewest, _)| *hosted < fewest) {
            best = Some((*hosted, at));
        }
    }
    best.map(|(_, at)| at).ok_or(refusal)
}
