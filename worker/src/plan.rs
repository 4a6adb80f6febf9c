//! Which executor runs which tasks, and which worker runs which executors. Pure.

use std::ops::Range;

use galerna_topology_api::{TaskId, Topology, tasks_of_executors};

/// One executor: a run of tasks of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Executor {
    /// The component's place in the topology.
    pub(crate) component: usize,
    pub(crate) tasks: Range<TaskId>,
    /// The worker that runs it, from 0.
    pub(crate) worker: usize,
}

/// Deals the executors of a topology to workers, one after the other as Storm's even scheduler.
pub(crate) fn executors(topology: &Topology, workers: usize) -> Vec<Executor> {
    let mut executors = Vec::new();
    for (component, described) in topology.components().iter().enumerate() {
        let mut first = described.tasks.start;
        for tasks in tasks_of_executors(described.task_count(), described.executors) {
            let worker = executors.len() % workers.max(1);
            executors.push(Executor { component, tasks: first..first + tasks, worker });
            first += tasks;
        }
    }
    executors
}

/// The lane of each executor, counted from 0 in the order in which lanes begin. Up to `most` executors of a run that
/// do not block have a lane each; others share theirs with executors of the same worker. An executor that blocks
/// shares its lane with no other.
pub(crate) fn lanes(topology: &Topology, executors: &[Executor], most: usize) -> Vec<usize> {
    let workers = executors.iter().map(|executor| executor.worker + 1).max().unwrap_or(1);
    let most_of_worker = (most / workers).max(1);
    // For each worker, its lanes that are shared, and the number of its executors that do not block.
    let mut shared: Vec<(Vec<usize>, usize)> = vec![(Vec::new(), 0); workers];
    let mut count = 0;
    let mut begin = || {
        count += 1;
        count - 1
    };
    let lane_of = |executor: &Executor| {
        if topology.components()[executor.component].is_blocking {
            return begin();
        }
        let (lanes, executors) = &mut shared[executor.worker];
        if lanes.len() < most_of_worker {
            lanes.push(begin());
        }
        *executors += 1;
        lanes[(*executors - 1) % lanes.len()]
    };
    executors.iter().map(lane_of).collect()
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::{Next, Result, Spout, SpoutEmitter, Streams, TopologyBuilder};
    use proptest::prelude::*;

    use super::*;

    struct Nothing;
    impl Spout for Nothing {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::none()
        }
        async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            Ok(Next::Exhausted)
        }
    }

    proptest! {
        #[test]
        fn every_task_is_assigned_once_and_workers_differ_by_one_executor(
            sizes in prop::collection::vec((1u32..8, 0u32..8), 1..6),
            workers in 1usize..5,
        ) {
            let mut builder = TopologyBuilder::new("plan");
            for (n, (executors, more)) in sizes.iter().enumerate() {
                builder.spout(format!("s{n}"), || Nothing).parallelism(*executors).tasks(executors + more);
            }
            let topology = builder.build().expect("valid");
            let executors = executors(&topology, workers);
            let mut tasks: Vec<TaskId> = executors.iter().flat_map(|executor| executor.tasks.clone()).collect();
            tasks.sort_unstable();
            let all: u32 = sizes.iter().map(|(executors, more)| executors + more).sum();
            prop_assert_eq!(tasks, (1..=all).collect::<Vec<_>>());
            let loads: Vec<_> = (0..workers).map(|at| executors.iter().filter(|e| e.worker == at).count()).collect();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
        }
    }
}
