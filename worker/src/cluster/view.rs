//! What a plan means for one worker: who runs which task, and which tasks are on their way. Pure.

use std::collections::{BTreeMap, BTreeSet};

use galerna_protocol::{AssignedWorker, TaskRange, WorkerId, WorkerPlan};
use galerna_topology_api::{TaskId, Topology};

/// A plan, ready to be looked things up in.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) plan: WorkerPlan,
    pub(super) workers: BTreeMap<WorkerId, AssignedWorker>,
    /// The worker and the executor that each task is meant for.
    owners: BTreeMap<TaskId, (WorkerId, TaskRange)>,
    /// The workers that run moving tasks until they release them.
    leavers: BTreeMap<TaskId, WorkerId>,
}

impl View {
    pub(super) fn new(plan: WorkerPlan) -> Self {
        let assignment = plan.assignment.clone().unwrap_or_default();
        let (mut workers, mut owners, mut leavers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for worker in assignment.workers {
            let Some(id) = worker.id.clone() else { continue };
            for executor in &worker.executors {
                owners.extend(executor.tasks().map(|task| (task, (id.clone(), *executor))));
            }
            workers.insert(id, worker);
        }
        for handover in assignment.handovers {
            if let Some(from) = handover.from {
                leavers.extend(handover.tasks.into_iter().map(|task| (task, from.clone())));
            }
        }
        Self { plan, workers, owners, leavers }
    }

    pub(super) fn generation(&self) -> u64 {
        self.plan.assignment.as_ref().map_or(0, |assignment| assignment.generation)
    }

    /// The worker that a task is meant for.
    pub(super) fn owner(&self, task: TaskId) -> Option<&WorkerId> {
        self.owners.get(&task).map(|(worker, _)| worker)
    }

    /// The executor that a task belongs to.
    pub(super) fn executor(&self, task: TaskId) -> Option<TaskRange> {
        self.owners.get(&task).map(|(_, executor)| *executor)
    }

    /// The tasks that are on their way, with the workers that are to release them.
    pub(super) fn moving(&self) -> impl Iterator<Item = (TaskId, &WorkerId)> {
        self.leavers.iter().map(|(task, from)| (*task, from))
    }

    /// The worker that a moving task comes from.
    pub(super) fn leaver(&self, task: TaskId) -> Option<&WorkerId> {
        self.leavers.get(&task)
    }
}

/// The spouts, by their tasks, from which a lost task is reached: tuples of theirs may be lost.
pub(super) fn spouts_upstream(topology: &Topology, lost: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
    let components = topology.components();
    // Tuples go through bolts; those of other tasks of a lost spout's component do not pass it.
    let holds_lost = |component: &galerna_topology_api::Component| {
        !component.is_spout() && lost.range(component.tasks.start..component.tasks.end).next().is_some()
    };
    let mut reached: BTreeSet<&str> =
        components.iter().filter(|component| holds_lost(component)).map(|component| component.id.as_str()).collect();
    // Upstream, edge by edge, until nothing is added: graphs have no cycles.
    loop {
        let before = reached.len();
        for component in
            components.iter().filter(|component| reached.contains(component.id.as_str())).collect::<Vec<_>>()
        {
            reached.extend(component.inputs.iter().map(|input| input.from.as_str()));
        }
        if reached.len() == before {
            break;
        }
    }
    let spouts = components.iter().filter(|component| component.is_spout() && reached.contains(component.id.as_str()));
    spouts.flat_map(|spout| spout.tasks.clone()).collect()
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::*;

    use super::*;

    struct Nothing;
    impl Spout for Nothing {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            Ok(Next::Exhausted)
        }
    }

    struct Sink;
    impl Bolt for Sink {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
    }

    #[test]
    fn loss_concerns_the_spouts_whose_tuples_reach_it() {
        let mut builder = TopologyBuilder::new("graph");
        builder.spout("a", || Nothing).parallelism(2);
        builder.spout("b", || Nothing);
        builder.bolt("from_a", || Sink).shuffle("a");
        builder.bolt("from_b", || Sink).shuffle("b");
        let topology = builder.build().expect("valid");
        let upstream = |lost: &[TaskId]| spouts_upstream(&topology, &lost.iter().copied().collect());
        assert_eq!(upstream(&[4]), BTreeSet::from([1, 2]));
        assert_eq!(upstream(&[5]), BTreeSet::from([3]));
        assert_eq!(upstream(&[1]), BTreeSet::new(), "its tuples do not pass through spouts");
    }
}
