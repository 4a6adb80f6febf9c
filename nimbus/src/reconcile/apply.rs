//! Writes what was decided, each in one transaction that holds only for the leader and only if
//! nothing has changed meanwhile. One that does not hold is decided anew in the next round.

use galerna_coordination::keys::{Desired, Status};
use galerna_coordination::{Condition, Leadership, StoreError, Transaction};
use tokio::time::Instant;

use super::facts::{planned, written};
use crate::core::{Core, lock};
use crate::counts;
use crate::history::{self, Ended, EndedComponent};
use crate::scheduler;
use crate::stats;
use crate::steps::Step;
use crate::view::{Topology, View};

/// How long the workers of a topology that has finished may take to exit.
const EXIT_WAIT_MS: i64 = 30_000;

/// Takes a step; whether it was written.
pub(super) async fn apply(
    core: &Core,
    leadership: &Leadership,
    view: &View,
    id: &str,
    step: &Step,
) -> Result<bool, StoreError> {
    tracing::info!(topology = id, ?step, "takes the next step");
    if *step == Step::Forget {
        let transaction = Transaction::new().when(leadership.condition()).delete(core.keys.ended(id));
        return core.commit(transaction).await.map(|revision| revision.is_some());
    }
    let Some(topology) = view.topology(id) else {
        // Half of it is gone, or cannot be read: that alone is no reason to remove the rest.
        return if *step == Step::Remove { remove_rest(core, leadership, view, id).await } else { Ok(false) };
    };
    let guarded = guarded(core, leadership, view, &topology);
    let transaction = match step {
        Step::Finish { failure } => {
            let desired = Desired {
                status: Status::Finished,
                failure: failure.clone(),
                kill_deadline_unix_ms: core.now_ms().saturating_add(EXIT_WAIT_MS),
                rebalance_deadline_unix_ms: None,
                ..(*topology.desired.value).clone()
            };
            guarded.put_json(core.keys.desired(id), &desired)?
        }
        Step::Release => guarded
            .delete(core.keys.assignment(id))
            .put_json(core.keys.ended(id), &ended(core, view, &topology, "FINISHED"))?,
        Step::Remove => {
            let removed = guarded
                .delete(core.keys.assignment(id))
                .delete(core.keys.spec(id))
                .delete(core.keys.desired(id))
                .delete(core.keys.name(&topology.spec.name));
            match view.history.contains_key(id) {
                true => removed,
                false => removed.put_json(core.keys.ended(id), &ended(core, view, &topology, "KILLED"))?,
            }
        }
        Step::ClearHandovers | Step::ClearHandoversFrom(_) => {
            let Some(known) = view.assignments.get(id) else { return Ok(false) };
            let next = match step {
                Step::ClearHandoversFrom(lost) => scheduler::clear_handovers_from(&planned(&known.value), lost),
                _ => scheduler::clear_handovers(&planned(&known.value)),
            };
            guarded.put_json(core.keys.assignment(id), &written(&next, view, Some(&known.value)))?
        }
        Step::Forget => return Ok(false),
    };
    core.commit(transaction).await.map(|revision| revision.is_some())
}

/// A transaction that holds while we lead and nobody has changed this topology.
fn guarded(core: &Core, leadership: &Leadership, view: &View, topology: &Topology) -> Transaction {
    let key = core.keys.assignment(&topology.id);
    let assignment = match view.assignments.get(&topology.id) {
        Some(known) => Condition::Modified(key, known.modified),
        None => Condition::Absent(key),
    };
    Transaction::new()
        .when(leadership.condition())
        .when(Condition::Modified(core.keys.desired(&topology.id), topology.desired.modified))
        .when(assignment)
}

/// Removes what is left of a topology that somebody has half removed by hand.
async fn remove_rest(core: &Core, leadership: &Leadership, view: &View, id: &str) -> Result<bool, StoreError> {
    let mut transaction = Transaction::new().when(leadership.condition());
    for (name, owner) in &view.names {
        if *owner.value == id {
            transaction = transaction.delete(core.keys.name(name));
        }
    }
    let transaction =
        transaction.delete(core.keys.assignment(id)).delete(core.keys.spec(id)).delete(core.keys.desired(id));
    core.commit(transaction).await.map(|revision| revision.is_some())
}

fn ended(core: &Core, view: &View, topology: &Topology, status: &str) -> Ended {
    let reports = lock(&core.reports);
    let components = stats::component_stats(&topology.spec, &topology.desired.value, reports.of(&topology.id));
    Ended {
        name: topology.spec.name.clone(),
        status: status.to_owned(),
        submitted_unix_ms: topology.desired.value.submitted_unix_ms,
        ended_unix_ms: core.now_ms(),
        generation: view.assignments.get(&topology.id).map_or(0, |last| last.value.generation),
        failure: match topology.desired.value.failure.as_str() {
            // It was killed, but not before it had given tuples up or lost its last words.
            "" => reports
                .of(&topology.id)
                .map(|report| report.failure.clone())
                .find(|of| !of.is_empty())
                .unwrap_or_default(),
            failure => failure.to_owned(),
        },
        are_counts_exact: counts::are_exact(view, &reports, &topology.id, Instant::now(), core.freshness()),
        components: components.iter().map(EndedComponent::from).collect(),
        owner: topology.spec.owner.clone(),
        workers: history::kept_workers(
            reports.of(&topology.id),
            view.assignments.get(&topology.id).into_iter().flat_map(|last| &last.value.workers),
        ),
        errors: history::kept_errors(stats::errors(reports.of(&topology.id))),
    }
}

/// Writes a new assignment.
pub(super) async fn assign(
    core: &Core,
    leadership: &Leadership,
    view: &View,
    id: &str,
    next: &scheduler::Assignment,
) -> Result<(), StoreError> {
    let Some(topology) = view.topology(id) else { return Ok(()) };
    let known = view.assignments.get(id).map(|known| &*known.value);
    let next = written(next, view, known);
    let workers: Vec<String> = next.workers.iter().filter_map(|worker| Some(worker.id.as_ref()?.to_string())).collect();
    tracing::info!(topology = id, generation = next.generation, ?workers, "assigns");
    let mut transaction = guarded(core, leadership, view, &topology).put_json(core.keys.assignment(id), &next)?;
    if let Some(desired) = counts::noted(&topology.desired.value, view, Some(&next)) {
        transaction = transaction.put_json(core.keys.desired(id), &desired)?;
    }
    let written = commit_assignment(core, transaction).await;
    // After an error it may have been carried out all the same.
    let mut reports = lock(&core.reports);
    for supervisor in counts::supervisors_of(&next) {
        reports.expect_more(id, supervisor);
    }
    written
}

/// Notes which disks its supervisors count on, where that has changed; whether it was written.
pub(super) async fn note_disks(
    core: &Core,
    leadership: &Leadership,
    view: &View,
    id: &str,
) -> Result<bool, StoreError> {
    let Some(topology) = view.topology(id) else { return Ok(false) };
    let assignment = view.assignments.get(id).map(|known| &*known.value);
    let Some(desired) = counts::noted(&topology.desired.value, view, assignment) else { return Ok(false) };
    let transaction = guarded(core, leadership, view, &topology).put_json(core.keys.desired(id), &desired)?;
    core.commit(transaction).await.map(|revision| revision.is_some())
}

/// Commits a transaction that writes an assignment.
async fn commit_assignment(core: &Core, transaction: Transaction) -> Result<(), StoreError> {
    if core.commit(transaction).await?.is_some() {
        core.measured.note_assignment_change();
    }
    Ok(())
}

/// Notes that what a rebalance has asked for is done.
pub(super) async fn end_rebalance(
    core: &Core,
    leadership: &Leadership,
    view: &View,
    id: &str,
) -> Result<(), StoreError> {
    let Some(topology) = view.topology(id) else { return Ok(()) };
    let desired = Desired { rebalance_deadline_unix_ms: None, ..(*topology.desired.value).clone() };
    let transaction = guarded(core, leadership, view, &topology).put_json(core.keys.desired(id), &desired)?;
    core.commit(transaction).await.map(|_| ())
}

/// Writes the assignment anew if a supervisor of it is reached elsewhere than it says.
pub(super) async fn refresh_addresses(
    core: &Core,
    leadership: &Leadership,
    view: &View,
    id: &str,
) -> Result<(), StoreError> {
    let Some(known) = view.assignments.get(id) else { return Ok(()) };
    let mut fresh = written(&planned(&known.value), view, Some(&known.value));
    let Some(topology) = view.topology(id).filter(|_| fresh.workers != known.value.workers) else { return Ok(()) };
    fresh.generation += 1;
    let transaction = guarded(core, leadership, view, &topology).put_json(core.keys.assignment(id), &fresh)?;
    commit_assignment(core, transaction).await
}
