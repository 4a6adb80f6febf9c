//! How a topology stands, as Nimbus describes it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use galerna_protocol::{DescribeReply, ExecutorSummary, WorkerId, WorkerState, WorkerSummary};

/// What `describe` says.
#[derive(Clone, Debug)]
pub(crate) struct State(pub(crate) DescribeReply);

/// Pid and incarnation: what changes when a worker is started anew.
pub(crate) type Launch = (u32, u64);

impl State {
    pub(crate) fn status(&self) -> &str {
        self.0.summary.as_ref().map_or("", |summary| &summary.status)
    }

    pub(crate) fn workers(&self) -> &[WorkerSummary] {
        &self.0.workers
    }

    /// Which process each worker is.
    pub(crate) fn launches(&self) -> BTreeMap<String, Launch> {
        self.0.workers.iter().map(|worker| (name(worker.id.as_ref()), (worker.pid, worker.incarnation))).collect()
    }

    /// The workers on this supervisor.
    pub(crate) fn workers_on(&self, supervisor: &str) -> Vec<&WorkerSummary> {
        let is_there = |worker: &&WorkerSummary| worker.id.as_ref().is_some_and(|id| id.supervisor == supervisor);
        self.0.workers.iter().filter(is_there).collect()
    }

    /// A worker that runs an executor of this component.
    pub(crate) fn worker_of(&self, component: &str) -> Result<&WorkerSummary> {
        let executor = self.0.executors.iter().find(|executor| executor.component == component);
        let id = executor.and_then(|executor| executor.worker.as_ref());
        let worker = self.0.workers.iter().find(|worker| id.is_some() && worker.id.as_ref() == id);
        worker.with_context(|| format!("no worker runs `{component}`: {:?}", self.0))
    }

    /// The executors of the topology's own components.
    pub(crate) fn executors(&self) -> impl Iterator<Item = &ExecutorSummary> {
        self.0.executors.iter().filter(|executor| !executor.component.starts_with("__"))
    }

    /// Why not all executors run, if they do not.
    pub(crate) fn what_is_missing(&self) -> Result<(), String> {
        let expected: u32 = self.0.spec.iter().flat_map(|spec| &spec.components).map(|component| component.tasks).sum();
        let running = self.0.workers.iter().filter(|worker| worker.state() == WorkerState::Running);
        let running: Vec<_> = running.filter_map(|worker| worker.id.as_ref()).collect();
        let executors = self.executors().filter(|executor| executor.worker.iter().any(|id| running.contains(&id)));
        let tasks: u32 = executors.filter_map(|executor| executor.tasks.as_ref()).map(|tasks| tasks.count()).sum();
        if self.status() == "ACTIVE" && tasks == expected && running.len() == self.0.workers.len() {
            return Ok(());
        }
        let workers: Vec<_> = self.0.workers.iter().map(|worker| (name(worker.id.as_ref()), worker.state())).collect();
        let unscheduled = self.0.unscheduled.join("; ");
        Err(format!("it is {}, {tasks} of {expected} tasks run on {workers:?}; {unscheduled}", self.status()))
    }
}

pub(crate) fn name(id: Option<&WorkerId>) -> String {
    id.map(ToString::to_string).unwrap_or_default()
}
