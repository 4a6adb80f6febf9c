//! Decides which worker runs what: a pure function of what is there, what is wanted and what runs.
//!
//! Topologies are served in the order in which they were submitted. What runs well is left alone;
//! it changes only if
//! - workers are lost, with their supervisor or slot: their executors alone are placed anew, at once;
//! - workers fail to start at a supervisor, and there is room elsewhere: likewise;
//! - a supervisor is leaving: what it runs is handed over to others;
//! - a rebalance is asked for: tasks are handed over, as few as possible;
//! - it runs on fewer workers than it wants, and slots are free now: tasks are handed over to new ones;
//! - a supervisor is clearly less loaded than others: it takes over whole workers, see `even`.
//!
//! While tasks are being handed over, nothing but losses changes an assignment. What is lost and finds
//! no room stays assigned where it was, and goes on if that comes back. A plan that was carried out
//! leads to no further one.

mod assignment;
mod balance;
mod board;
mod change;
mod components;
mod evacuate;
mod even;
mod place;
mod placement;
mod plan;
mod shortfall;
mod spread;
mod view;
mod wire;

#[cfg(test)]
mod tests;

use board::Board;
use placement::Placement;
use shortfall::Totals;

pub use assignment::{Assignment, Handover, clear_handovers, clear_handovers_from, executors_of, is_handover_needed};
pub use plan::{Decision, Plan, TopologyPlan};
pub use view::{ClusterView, ComponentView, SupervisorView, TopologyView};

/// What is to be done.
pub fn schedule(view: &ClusterView) -> Plan {
    let mut board = Board::new(view);
    let mut topologies: Vec<_> = view.topologies.iter().collect();
    topologies.sort_by_key(|(id, topology)| (topology.submitted_unix_ms, *id));
    let mut placements: Vec<Placement<'_>> =
        topologies.into_iter().map(|(id, topology)| Placement::adopt(id, topology, &mut board)).collect();
    board.rank_all();
    place::place_all(&mut placements, &mut board);
    evacuate::evacuate_all(&mut placements, &mut board);
    for placement in placements.iter_mut().filter(|placement| placement.view.is_rebalance_wanted) {
        spread::rebalance(placement, &mut board);
    }
    // What was placed and rebalanced at once may have given slots back.
    place::place_all(&mut placements, &mut board);
    evacuate::evacuate_all(&mut placements, &mut board);
    // With CPU and memory to heed, one topology's spreading can make room for another's.
    while spread::widen_all(&mut placements, &mut board) {}
    even::even_out(&mut placements, &mut board);
    let totals = Totals::of(&board);
    let plan = |placement: &Placement<'_>| {
        let decision = decision(placement, &board);
        (
            placement.id.to_owned(),
            TopologyPlan { decision, shortfall: shortfall::shortfall(placement, &board, &totals) },
        )
    };
    Plan { topologies: placements.iter().map(plan).collect() }
}

fn decision(placement: &Placement<'_>, board: &Board<'_>) -> Decision {
    if placement.view.is_ending || placement.is_waiting() {
        let has_assignment = placement.view.assignment.is_some();
        return if has_assignment || placement.view.is_ending { Decision::Unchanged } else { Decision::Unplaced };
    }
    let next = if placement.is_changed { change::next_assignment(placement, board) } else { None };
    next.map_or(Decision::Unchanged, Decision::Assign)
}
