//! What this supervisor exports to Prometheus: its own standing, and the counts of the workers that it runs
//! or has run. All of it is made of the reports that it keeps anyway, at the moment when somebody asks.

mod catalogue;
mod tasks;
mod user;
mod workers;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use galerna_coordination::metrics::{Families, Metric, add_build_info, add_process, common_metrics};
use galerna_protocol::{SupervisorReport, TopologySpec, WorkerReport, WorkerState};

use crate::health::Observable;
use crate::view::View;
use catalogue as of;

/// Everything that a supervisor may export.
pub fn metrics() -> Vec<Metric> {
    catalogue::ALL.iter().copied().chain(common_metrics()).collect()
}

/// Everything that is measured, as text.
pub(crate) fn text(observed: &Observable) -> String {
    let shared = &observed.shared;
    let view = Arc::clone(&observed.views.borrow());
    // What is told is on disk: the next start tells no less.
    let reports = shared.written_report();
    let mut families = Families::default();
    add_build_info(&mut families, "supervisor");
    add_own(&mut families, observed, &view, &reports.workers);
    add_topologies(&mut families, &view, &reports);
    for (topology, launches) in shared.health.launches() {
        if let Some(spec) = view.topologies.get(&topology).and_then(|seen| seen.spec.as_ref()) {
            families.add(&of::LAUNCHES, &[&spec.name, &topology], launches);
        }
    }
    shared.health.store.add_to(&mut families);
    add_process(&mut families);
    families.into_text()
}

/// Adds what was reported of the topologies that the store knows. So what is gone vanishes.
fn add_topologies(families: &mut Families, view: &View, report: &SupervisorReport) {
    let wanted = view.wanted(&report.supervisor);
    let topologies: Vec<Topology<'_>> = topologies(view, &report.workers).collect();
    for topology in &topologies {
        tasks::add(families, topology);
        workers::add(families, topology, &wanted, &report.failures);
    }
    user::add(families, &topologies);
}

/// A topology that the store knows, and what was reported of its workers here.
struct Topology<'a> {
    id: &'a str,
    spec: &'a TopologySpec,
    reports: Vec<&'a WorkerReport>,
}

fn topologies<'a>(view: &'a View, reports: &'a [WorkerReport]) -> impl Iterator<Item = Topology<'a>> {
    let mut by_topology: BTreeMap<&str, Vec<&WorkerReport>> = BTreeMap::new();
    for report in reports {
        by_topology.entry(&report.topology_id).or_default().push(report);
    }
    view.topologies.iter().filter_map(move |(id, seen)| {
        let reports = by_topology.remove(id.as_str()).unwrap_or_default();
        Some(Topology { id, spec: seen.spec.as_deref()?, reports })
    })
}

fn add_own(families: &mut Families, observed: &Observable, view: &View, reports: &[WorkerReport]) {
    let shared = &observed.shared;
    let occupied = reports.iter().filter(|report| report.state() != WorkerState::Gone);
    let mut used = view.wanted(&shared.options.id).into_keys().collect::<std::collections::BTreeSet<u32>>();
    used.extend(occupied.filter_map(|report| Some(report.id.as_ref()?.slot)));
    families.add(&of::REGISTERED, &[], u64::from(shared.health.registration().is_ok()));
    families.add(&of::LEAVING, &[], u64::from(observed.is_leaving()));
    families.add(&of::SLOTS, &[], u64::from(shared.options.slots));
    families.add(&of::SLOTS_USED, &[], used.len());
    let (count, bytes) = files_in(&shared.folders.artifacts());
    families.add(&of::ARTIFACTS, &[], count);
    families.add(&of::ARTIFACT_BYTES, &[], bytes);
}

/// How many files are in a folder, and how long they are together.
fn files_in(folder: &Path) -> (u64, u64) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|file| file.metadata().ok());
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.len()))
}

#[cfg(test)]
mod tests;
