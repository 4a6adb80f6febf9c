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
