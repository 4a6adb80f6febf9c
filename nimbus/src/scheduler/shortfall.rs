//! Says what a topology wants and does not get, why, and what would help.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::board::{Board, Demand};
use super::placement::{Placement, Refusal};

/// What the cluster as a whole has; the same for all topologies.
#[derive(Debug)]
pub(super) struct Totals {
    supervisors: usize,
    leaving: usize,
    slots: usize,
    workers: usize,
}

impl Totals {
    pub(super) fn of(board: &Board<'_>) -> Self {
        let supervisors = board.supervisors();
        Self {
            supervisors: supervisors.len(),
            leaving: supervisors.iter().filter(|supervisor| supervisor.view.is_leaving).count(),
            slots: supervisors.iter().map(|supervisor| supervisor.slots()).sum(),
            workers: supervisors.iter().map(|supervisor| supervisor.slots() - supervisor.free_slots()).sum(),
        }
    }
}

/// `None` if the topology has what it wants.
pub(super) fn shortfall(placement: &Placement<'_>, board: &Board<'_>, totals: &Totals) -> Option<String> {
    if placement.view.is_ending {
        return None;
    }
    let explain = |needed: usize, refusal: &Refusal| explanation(placement, board, totals, needed, refusal);
    if let Some(refusal) = &placement.refusal {
        if placement.view.assignment.is_none() {
            let executors = placement.components.wanted_executors().len();
            return Some(explain(placement.wanted_workers(executors), refusal));
        }
        if placement.homeless.is_empty() {
            return Some(what_fails(placement));
        }
        let lost = counted(placement.homeless.len(), "executor");
        return Some(format!("{lost} of lost workers cannot be placed anew: {}", explain(1, refusal)));
    }
    if let Some(refusal) = &placement.stranded {
        let reason = explain(1, refusal);
        return Some(format!("{}: {reason}", what_is_stranded(placement, board)));
    }
    if let Some(refusal) = &placement.rebalance_refusal {
        return Some(format!("is not rebalanced: {}", explain(1, refusal)));
    }
    let (now, wanted) = (placement.workers.len(), placement.wanted_workers(placement.executor_count()));
    if now >= wanted || placement.is_handing_over {
        return None;
    }
    let has_room = board.ranked().any(|at| placement.may_use(board, at));
    let largest = placement.workers.iter().map(|worker| worker.demand);
    let largest =
        largest.max_by(|one, other| one.cpu.total_cmp(&other.cpu).then(one.memory_mb.total_cmp(&other.memory_mb)));
    let refusal = if has_room { Refusal::Resources(largest.unwrap_or_default()) } else { Refusal::Slots };
    Some(format!("runs on {} of {wanted}: {}", counted(now, "worker"), explain(wanted - now, &refusal)))
}

/// `2 executors stay on supervisor a, which is leaving`.
fn what_is_stranded(placement: &Placement<'_>, board: &Board<'_>) -> String {
    let executors: usize = placement.leaving(board).map(|worker| worker.executors.len()).sum();
    let places: BTreeSet<&str> =
        placement.leaving(board).map(|worker| board.supervisor(worker.supervisor).id).collect();
    let places: Vec<&str> = places.into_iter().collect();
    let stay = if executors == 1 { "stays" } else { "stay" };
    let where_to = match places.as_slice() {
        [one] => format!("supervisor {one}, which is leaving"),
        several => format!("supervisors {}, which are leaving", several.join(", ")),
    };
    format!("{} {stay} on {where_to}", counted(executors, "executor"))
}

/// Workers that fail to start, and have to stay where they do.
fn what_fails(placement: &Placement<'_>) -> String {
    let places: Vec<&str> = placement.view.avoid.iter().map(String::as_str).collect();
    let (verb, they) = if placement.failing.len() == 1 { ("fails", "it") } else { ("fail", "them") };
    let workers = counted(placement.failing.len(), "worker");
    format!("{workers} {verb} to start on {}, and no other supervisor has room for {they}", places.join(", "))
}

fn explanation(
    placement: &Placement<'_>,
    board: &Board<'_>,
    totals: &Totals,
    needed: usize,
    refusal: &Refusal,
) -> String {
    match refusal {
        Refusal::Empty => "it has no tasks; give its components some".to_owned(),
        _ if totals.supervisors == 0 => "no supervisor is there; start one".to_owned(),
        Refusal::Slots => {
            // All slots that it could use are taken, or it would have got them.
            let mut text = format!("needs {}, none is free: ", counted(needed, "slot"));
            text += &facts(placement, board, totals);
            text + "; add supervisors or slots, or kill a topology"
        }
        Refusal::Resources(demand) => {
            let left = board.ranked().filter(|at| placement.may_use(board, *at)).map(|at| board.supervisor(at).left());
            let most = left.fold(Demand::default(), |most, left| Demand {
                cpu: most.cpu.max(left.cpu),
                memory_mb: most.memory_mb.max(left.memory_mb),
            });
            let mut text = format!(
                "needs {} for a worker, at most {} is left on a supervisor with a free slot: ",
                amount(*demand),
                amount(most)
            );
            text += &facts(placement, board, totals);
            text + "; add supervisors, ask for less CPU or memory, or kill a topology"
        }
    }
}

/// `2 supervisors with 8 slots run 7 workers`, and which of them do not count.
fn facts(placement: &Placement<'_>, board: &Board<'_>, totals: &Totals) -> String {
    let verb = if totals.supervisors == 1 { "runs" } else { "run" };
    let supervisors = counted(totals.supervisors, "supervisor");
    let (slots, workers) = (counted(totals.slots, "slot"), counted(totals.workers, "worker"));
    let mut text = format!("{supervisors} with {slots} {verb} {workers}");
    let mut note = |count: usize, one: &str, many: &str| {
        if count > 0 {
            // Writing to a string does not fail.
            let _ = write!(text, ", {count} of them {}", if count == 1 { one } else { many });
        }
    };
    note(totals.leaving, "is leaving", "are leaving");
    let view = placement.view;
    let fitting = view.allowed.as_ref().map(|allowed| allowed.iter().filter(|id| board.find(id).is_some()).count());
    note(totals.supervisors - fitting.unwrap_or(totals.supervisors), "has another platform", "have another platform");
    let avoided = view.avoid.iter().filter(|id| board.find(id).is_some()).count();
    note(avoided, "failed to start its workers", "failed to start its workers");
    text
}

fn amount(demand: Demand) -> String {
    let cpu = (demand.cpu > 0.0 && demand.cpu.is_finite()).then(|| format!("{:.0} % of a core", demand.cpu));
    let memory =
        (demand.memory_mb > 0.0 && demand.memory_mb.is_finite()).then(|| format!("{:.0} MiB", demand.memory_mb));
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => format!("{cpu} and {memory}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "nothing".to_owned(),
    }
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
