//! Gathers what the decisions are made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use galerna_coordination::keys::Status;
use galerna_protocol::{AssignedWorker, Assignment, Handover};
use tokio::time::Instant;

use super::patience::{Deadlines, Patience};
use crate::core::{Core, lock};
use crate::reports::Reports;
use crate::scheduler::{self, ClusterView, ComponentView, SupervisorView, TopologyView};
use crate::stats;
use crate::steps::{Facts, TopologyFacts};
use crate::view::{Topology, View};

/// How everything stands.
pub(super) fn facts<'a>(
    view: &'a View,
    reports: &'a Reports,
    patience: &Patience,
    is_settled: bool,
    core: &Core,
) -> Facts<'a> {
    let mut supervisors: BTreeSet<&str> = view.supervisors.keys().map(String::as_str).collect();
    if !is_settled {
        // Nobody's absence counts yet.
        supervisors.extend(assigned_workers(view).map(|worker| worker.supervisor.as_str()));
    }
    let now = Instant::now();
    let topologies = view.topologies.iter().filter_map(|(id, entry)| {
        let assignment = view.assignments.get(id).map(|assignment| &*assignment.value);
        let generation = assignment.map_or(0, |assignment| assignment.generation);
        let deadlines = patience.of(id, generation);
        let facts = TopologyFacts {
            desired: &entry.desired.as_ref()?.value,
            assignment,
            current: reports.current(id, now, core.freshness()),
            handover_deadline_unix_ms: deadlines.map_or(i64::MAX, |deadlines| deadlines.usual),
            leaving_deadline_unix_ms: deadlines.and_then(Deadlines::leaving).unwrap_or(i64::MAX),
        };
        Some((id.as_str(), facts))
    });
    Facts {
        now_unix_ms: core.now_ms(),
        supervisors,
        topologies: topologies.collect(),
        history: view.history.iter().map(|(id, ended)| (id.as_str(), ended.value.ended_unix_ms)).collect(),
    }
}

fn assigned_workers(view: &View) -> impl Iterator<Item = &galerna_protocol::WorkerId> {
    let workers = view.assignments.values().flat_map(|assignment| &assignment.value.workers);
    workers.filter_map(|worker| worker.id.as_ref())
}

/// What the scheduler is told.
pub(super) async fn cluster_view(core: &Core, view: &View, is_settled: bool) -> ClusterView {
    let mut supervisors: BTreeMap<String, SupervisorView> = BTreeMap::new();
    for (id, registration) in &view.supervisors {
        let registration = &registration.value;
        let supervisor = SupervisorView {
            slots: registration.slots.clone(),
            cpu: registration.cpu,
            memory_mb: registration.memory_mb,
            accepts_new_work: !registration.is_leaving,
            is_leaving: registration.is_leaving,
        };
        supervisors.insert(id.clone(), supervisor);
    }
    if !is_settled {
        // Those whose absence does not count yet keep what they have.
        for worker in assigned_workers(view).filter(|worker| !view.supervisors.contains_key(&worker.supervisor)) {
            supervisors.entry(worker.supervisor.clone()).or_default().slots.push(worker.slot);
        }
    }
    let mut topologies = BTreeMap::new();
    for topology in view.whole_topologies() {
        let assignment = view.assignments.get(&topology.id).map(|assignment| &*assignment.value);
        let is_ending = matches!(topology.desired.value.status, Status::Killed | Status::Finished);
        if !is_ending || assignment.is_some() {
            let allowed = allowed(core, view, &topology).await;
            let planned = topology_view(core, &topology, assignment, allowed, is_ending);
            topologies.insert(topology.id, planned);
        }
    }
    ClusterView { supervisors, topologies }
}

/// The supervisors that its program can run on; `None` if all, or if that is not known here.
async fn allowed(core: &Core, view: &View, topology: &Topology) -> Option<Arc<BTreeSet<String>>> {
    let needs = core.needs_of(&topology.spec.artifact.as_ref()?.sha256).await.ok()?;
    let fitting = view.supervisors.iter().filter(|(_, one)| needs.fit(&one.value.platform));
    let fitting: BTreeSet<String> = fitting.map(|(id, _)| id.clone()).collect();
    (fitting.len() < view.supervisors.len()).then(|| Arc::new(fitting))
}

fn topology_view(
    core: &Core,
    topology: &Topology,
    assignment: Option<&Assignment>,
    allowed: Option<Arc<BTreeSet<String>>>,
    is_ending: bool,
) -> TopologyView {
    let desired = &topology.desired.value;
    let components = topology.spec.components.iter().map(|component| ComponentView {
        first_task: component.first_task,
        tasks: component.tasks,
        executors: stats::executors(component, desired),
        cpu: component.cpu,
        memory_mb: component.memory_mb,
    });
    let avoid = lock(&core.reports).avoided(&topology.id, Instant::now()).map(str::to_owned).collect();
    TopologyView {
        submitted_unix_ms: desired.submitted_unix_ms,
        components: components.collect(),
        workers: desired.workers,
        assignment: assignment.map(planned),
        avoid,
        allowed,
        is_rebalance_wanted: desired.rebalance_deadline_unix_ms.is_some(),
        is_ending,
    }
}

/// An assignment as the scheduler sees it.
pub(super) fn planned(assignment: &Assignment) -> scheduler::Assignment {
    let workers = assignment.workers.iter().filter_map(|one| Some((one.id.clone()?, one.executors.clone())));
    let handovers = assignment
        .handovers
        .iter()
        .filter_map(|one| Some(scheduler::Handover { tasks: one.tasks.clone(), from: one.from.clone()? }));
    scheduler::Assignment {
        generation: assignment.generation,
        workers: workers.collect(),
        handovers: handovers.collect(),
    }
}

/// An assignment as it is written: with the addresses of supervisors, or those it had of one that is
/// not there.
pub(super) fn written(planned: &scheduler::Assignment, view: &View, known: Option<&Assignment>) -> Assignment {
    let workers = planned.workers.iter().map(|(id, executors)| {
        let before = known.and_then(|known| known.workers.iter().find(|worker| worker.id.as_ref() == Some(id)));
        let (host, supervisor_address) = match (view.supervisors.get(&id.supervisor), before) {
            (Some(one), _) => (one.value.host.clone(), one.value.address()),
            (None, Some(before)) => (before.host.clone(), before.supervisor_address.clone()),
            (None, None) => Default::default(),
        };
        AssignedWorker { id: Some(id.clone()), host, supervisor_address, executors: executors.clone() }
    });
    let handovers = planned.handovers.iter();
    Assignment {
        generation: planned.generation,
        workers: workers.collect(),
        handovers: handovers.map(|one| Handover { tasks: one.tasks.clone(), from: Some(one.from.clone()) }).collect(),
    }
}
