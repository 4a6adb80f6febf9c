//! How the workers of a topology stand here.

use std::collections::BTreeMap;

use galerna_coordination::metrics::{Families, resident_memory};
use galerna_protocol::{LaunchFailure, Order, WorkerReport, WorkerState};

use super::{Topology, of};
use crate::view::Wanted;

/// Adds everything that is known of a topology's workers.
pub(super) fn add(
    families: &mut Families,
    topology: &Topology<'_>,
    wanted: &BTreeMap<u32, Wanted>,
    failures: &[LaunchFailure],
) {
    let (name, id) = (&*topology.spec.name, topology.id);
    if !topology.reports.is_empty() {
        families.add(
            &of::FENCED,
            &[name, id],
            topology.reports.iter().map(|report| report.fenced_batches).sum::<u64>(),
        );
    }
    let wanted = wanted.iter().filter(|(_, one)| one.topology == id && matches!(one.order, Order::Run | Order::Pause));
    let mut workers: BTreeMap<u32, Option<&WorkerReport>> = wanted.map(|(slot, _)| (*slot, None)).collect();
    for report in topology.reports.iter().filter(|report| report.state() != WorkerState::Gone) {
        if let Some(worker) = &report.id {
            workers.insert(worker.slot, Some(report));
        }
    }
    for (slot, report) in workers {
        let labels = [name, id, &slot.to_string()];
        families.add(&of::STATE, &[name, id, labels[2], state(report)], 1_u64);
        let Some(report) = report else { continue };
        families.add(&of::STARTED, &labels, report.started_unix_ms as f64 / 1e3);
        if let Some(bytes) = resident_memory(report.pid) {
            families.add(&of::MEMORY, &labels, bytes);
        }
    }
    for (slot, restarts) in restarts(&topology.reports) {
        families.add(&of::WORKER_RESTARTS, &[name, id, &slot.to_string()], restarts);
    }
    for failure in failures.iter().filter(|failure| failure.topology_id == id) {
        families.add(&of::FAILED_LAUNCHES, &[name, id, &failure.slot.to_string()], u64::from(failure.attempts));
    }
}

/// By slot: how often a worker's process has ended though nobody had ordered it.
fn restarts(reports: &[&WorkerReport]) -> BTreeMap<u32, u64> {
    let mut restarts = BTreeMap::new();
    for report in reports {
        if let Some(id) = &report.id {
            *restarts.entry(id.slot).or_default() += report.unexpected_ends;
        }
    }
    restarts
}

fn state(report: Option<&WorkerReport>) -> &'static str {
    match report.map(WorkerReport::state) {
        None | Some(WorkerState::Gone) => "absent",
        Some(WorkerState::Unspecified | WorkerState::Starting) => "starting",
        Some(WorkerState::Running) => "running",
        Some(WorkerState::Finished) => "finished",
        Some(WorkerState::Drained) => "drained",
        Some(WorkerState::NotResponding) => "not_responding",
    }
}
