//! Moves what runs on supervisors that are about to go to others.
//!
//! New workers take over, in free slots of supervisors that stay; what finds no slot joins the
//! topology's workers there. Tasks of other supervisors stay where they are. What finds no place at all
//! stays, too, and is looked at again with every plan.

use super::board::Board;
use super::place::deal_out;
use super::placement::{Executor, Placement, Refusal, Worker};

/// Moves all that can be moved. What is being handed over, or waits for a place, has to have come to
/// rest before.
pub(super) fn evacuate_all(placements: &mut [Placement<'_>], board: &mut Board<'_>) {
    if !board.has_leaving() {
        return;
    }
    for placement in placements.iter_mut().filter(|placement| placement.is_movable()) {
        placement.stranded = None;
        if placement.leaving(board).next().is_some() {
            evacuate(placement, board);
        }
    }
}

fn evacuate(placement: &mut Placement<'_>, board: &mut Board<'_>) {
    let wanted = placement.wanted_workers(placement.executor_count());
    let workers = std::mem::take(&mut placement.workers);
    let is_leaving = |worker: &Worker| board.supervisor(worker.supervisor).view.is_leaving;
    let (leaving, staying): (Vec<_>, Vec<_>) = workers.into_iter().partition(is_leaving);
    placement.workers = staying;
    let mut moving: Vec<Executor> = leaving.iter().flat_map(|worker| &worker.executors).copied().collect();
    moving.sort_by_key(|executor| executor.tasks.first);
    let Err(refusal) = deal_out(placement, board, &moving, wanted) else {
        for worker in &leaving {
            placement.vacate(board, worker);
        }
        placement.is_changed = true;
        return;
    };
    // There is no place for all of it, but there may be one for a part.
    let stranded: Vec<Worker> =
        leaving.into_iter().filter_map(|worker| evacuate_part(placement, board, worker, wanted)).collect();
    placement.stranded = (!stranded.is_empty()).then_some(refusal);
    placement.workers.extend(stranded);
}

/// Moves a worker as a whole, else those of its executors that find a place: what has to stay.
fn evacuate_part(
    placement: &mut Placement<'_>,
    board: &mut Board<'_>,
    mut worker: Worker,
    wanted: usize,
) -> Option<Worker> {
    let mut deal = |executors: &[Executor], board: &mut Board<'_>| -> Result<(), Refusal> {
        deal_out(placement, board, executors, wanted)?;
        placement.is_changed = true;
        Ok(())
    };
    let stay: Vec<Executor> = match deal(&worker.executors, board) {
        Ok(()) => Vec::new(),
        Err(_) => {
            let executors = worker.executors.iter().copied();
            executors.filter(|executor| deal(std::slice::from_ref(executor), board).is_err()).collect()
        }
    };
    if stay.is_empty() {
        placement.vacate(board, &worker);
        return None;
    }
    let demand = placement.demand(&stay);
    board.exchange(worker.supervisor, worker.demand, demand);
    (worker.executors, worker.demand) = (stay, demand);
    Some(worker)
}
