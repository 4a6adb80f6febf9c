//! Gives supervisors that are clearly less loaded than others some of their workers.
//!
//! The load of a supervisor is the number of workers that run something there. One that runs at most
//! half as many as another, and at least two fewer, is filled up from the busiest until no other runs
//! two more than it. So an idle supervisor that returns gets work, and small differences, as they
//! remain when topologies come and go, move nothing. Each move makes the loads more even by one whole
//! worker, so this ends, and what it leaves behind it does not touch again.
//!
//! While a supervisor is leaving nothing is moved for evenness: what it gives away goes to the least
//! loaded anyway, and when all are restarted in turn, tasks would be moved again and again.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::board::Board;
use super::placement::Placement;

/// Moves workers, one at a time, until no supervisor is clearly less loaded.
pub(super) fn even_out(placements: &mut [Placement<'_>], board: &mut Board<'_>) {
    if board.has_leaving() || receivers(board, &BTreeSet::new()).is_empty() {
        return;
    }
    let mut hosted: Vec<Vec<(usize, usize)>> = vec![Vec::new(); board.supervisors().len()];
    for (topology, placement) in placements.iter().enumerate().filter(|(_, placement)| placement.is_at_ease()) {
        for (at, worker) in placement.workers.iter().enumerate() {
            hosted[worker.supervisor].push((topology, at));
        }
    }
    let supervisors = board.supervisors().iter().enumerate();
    let mut donors: BTreeSet<(Reverse<usize>, usize)> =
        supervisors.map(|(at, supervisor)| (Reverse(supervisor.load()), at)).collect();
    let mut filling = BTreeSet::new();
    loop {
        let mut has_moved = false;
        for receiver in receivers(board, &filling) {
            let Some((donor, place)) = find_move(placements, board, &hosted, &donors, receiver, &filling) else {
                continue;
            };
            for at in [donor, receiver] {
                donors.remove(&(Reverse(board.supervisor(at).load()), at));
            }
            let worker = hosted[donor].swap_remove(place);
            move_worker(&mut placements[worker.0], board, worker.1, receiver);
            hosted[receiver].push(worker);
            donors.extend([donor, receiver].map(|at| (Reverse(board.supervisor(at).load()), at)));
            filling.insert(receiver);
            has_moved = true;
        }
        if !has_moved {
            return;
        }
    }
}

fn is_clearly_less(load: usize, than: usize) -> bool {
    load + 2 <= than && 2 * load <= than
}

/// Who could be filled up, the least loaded first.
fn receivers(board: &Board<'_>, filling: &BTreeSet<usize>) -> Vec<usize> {
    let busiest = board.supervisors().iter().map(|supervisor| supervisor.load()).max().unwrap_or(0);
    let may_receive = |at: &usize| {
        let load = board.supervisor(*at).load();
        is_clearly_less(load, busiest) || (filling.contains(at) && load + 2 <= busiest)
    };
    board.ranked().filter(may_receive).collect()
}

/// The busiest supervisor that has a worker for the receiver, and the worker's place there.
fn find_move(
    placements: &[Placement<'_>],
    board: &Board<'_>,
    hosted: &[Vec<(usize, usize)>],
    donors: &BTreeSet<(Reverse<usize>, usize)>,
    receiver: usize,
    filling: &BTreeSet<usize>,
) -> Option<(usize, usize)> {
    let load = board.supervisor(receiver).load();
    if board.supervisor(receiver).free_slots() == 0 {
        return None;
    }
    for (Reverse(busy), donor) in donors {
        let is_worth_it = is_clearly_less(load, *busy) || (filling.contains(&receiver) && load + 2 <= *busy);
        if !is_worth_it {
            return None;
        }
        let price = |place: &usize| {
            let (topology, at) = hosted[*donor][*place];
            price_of_move(&placements[topology], board, at, receiver).map(|price| (price, topology, at))
        };
        let cheapest = (0..hosted[*donor].len()).filter_map(|place| Some((price(&place)?, place))).min();
        if let Some((_, place)) = cheapest {
            return Some((*donor, place));
        }
    }
    None
}

/// What speaks against moving a worker, the less the better; `None` if it cannot be moved there.
fn price_of_move(
    placement: &Placement<'_>,
    board: &Board<'_>,
    at: usize,
    receiver: usize,
) -> Option<(usize, bool, u64)> {
    let worker = &placement.workers[at];
    let (here, there) = (placement.workers_on(worker.supervisor), placement.workers_on(receiver));
    let is_possible =
        there < here && placement.may_use(board, receiver) && board.supervisor(receiver).fits(worker.demand);
    let tasks = || worker.executors.iter().map(|executor| u64::from(executor.tasks.count())).sum();
    // A topology that gets off a shared supervisor gains by it; one that shares another one does not.
    let sharing = if there > 0 { 2 } else { usize::from(here < 2) };
    is_possible.then(|| (sharing, placement.holds(worker.supervisor, worker.slot), tasks()))
}

fn move_worker(placement: &mut Placement<'_>, board: &mut Board<'_>, at: usize, receiver: usize) {
    let Some(slot) = board.take_any(receiver) else { return };
    let worker = placement.workers[at].clone();
    placement.vacate(board, &worker);
    board.load(receiver, worker.demand);
    placement.workers[at].supervisor = receiver;
    placement.workers[at].slot = slot;
    placement.is_changed = true;
}
