//! How the cluster stands, as the leader sees it in the store. Only the leader tells it, so that sums over
//! all nimbuses are right.

use std::collections::{BTreeMap, BTreeSet};

use galerna_coordination::keys::Status;
use galerna_coordination::metrics::Families;
use galerna_protocol::WorkerId;

use super::of;
use crate::rpc::{STATUS_NAMES, status_name};
use crate::stats;
use crate::view::{Topology, View};

/// Adds everything that is known of the cluster.
pub(super) fn add(families: &mut Families, view: &View, shortfalls: &BTreeMap<String, String>) {
    families.add(&of::MEMBERS, &[], view.members.len());
    add_supervisors(families, view);
    let mut by_status: BTreeMap<&str, u64> = STATUS_NAMES.iter().map(|status| (*status, 0)).collect();
    for topology in view.whole_topologies() {
        *by_status.entry(status(view, &topology)).or_default() += 1;
        add_topology(families, view, &topology, shortfalls.contains_key(&topology.id));
    }
    for (status, count) in by_status {
        families.add(&of::TOPOLOGIES, &[status], count);
    }
    families.add(&of::HISTORY, &[], view.history.len());
}

fn status(view: &View, topology: &Topology) -> &'static str {
    let is_moving = view.assignments.get(&topology.id).is_some_and(|one| !one.value.handovers.is_empty());
    status_name(&topology.desired.value, is_moving)
}

fn add_supervisors(families: &mut Families, view: &View) {
    let workers = view.assignments.values().flat_map(|assignment| &assignment.value.workers);
    let assigned: BTreeSet<&WorkerId> = workers.filter_map(|worker| worker.id.as_ref()).collect();
    let (mut active, mut leaving, mut used, mut free, mut closed) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    for (id, supervisor) in &view.supervisors {
        let supervisor = &supervisor.value;
        let has_worker = |slot: &&u32| assigned.contains(&WorkerId::new(id.clone(), **slot));
        let own_used = supervisor.slots.iter().filter(has_worker).count() as u64;
        let own_free = supervisor.slots.len() as u64 - own_used;
        used += own_used;
        if supervisor.is_leaving {
            (leaving, closed) = (leaving + 1, closed + own_free);
        } else {
            (active, free) = (active + 1, free + own_free);
        }
    }
    for (state, count) in [("active", active), ("leaving", leaving)] {
        families.add(&of::SUPERVISORS, &[state], count);
    }
    for (state, count) in [("free", free), ("leaving", closed), ("used", used)] {
        families.add(&of::SLOTS, &[state], count);
    }
}

fn add_topology(families: &mut Families, view: &View, topology: &Topology, is_short: bool) {
    let labels = [&*topology.spec.name, &topology.id];
    let desired = &topology.desired.value;
    let executors: u64 =
        topology.spec.components.iter().map(|component| u64::from(stats::executors(component, desired))).sum();
    let is_ending = matches!(desired.status, Status::Killed | Status::Finished);
    let wanted = |count: u64| if is_ending { 0 } else { count };
    let assignment = view.assignments.get(&topology.id).map(|assignment| &*assignment.value);
    let workers = assignment.map_or(&[][..], |assignment| &assignment.workers);
    // More workers than executors would have nothing to do.
    families.add(&of::WORKERS_WANTED, &labels, wanted(u64::from(desired.workers).min(executors)));
    families.add(&of::WORKERS_ASSIGNED, &labels, workers.len());
    families.add(&of::EXECUTORS_WANTED, &labels, wanted(executors));
    families.add(&of::EXECUTORS_ASSIGNED, &labels, workers.iter().map(|worker| worker.executors.len()).sum::<usize>());
    families.add(&of::IS_SHORT, &labels, u64::from(is_short));
    families.add(&of::GENERATION, &labels, assignment.map_or(0, |assignment| assignment.generation));
}
