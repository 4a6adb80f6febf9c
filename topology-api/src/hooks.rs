//! Hooks: being told of what tasks and workers do.

use std::time::Duration;

use crate::context::TopologyInfo;
use crate::error::Result;
use crate::resources::Resources;
use crate::tasks::TaskId;
use crate::tuple::Tuple;
use crate::value::Value;

/// What became of one execute.
#[derive(Clone, Copy, Debug)]
pub struct ExecuteInfo<'a> {
    /// The task that executed it.
    pub task: TaskId,
    /// The tuple.
    pub tuple: Tuple<'a>,
    /// Whether the call returned `Ok`.
    pub is_ok: bool,
}

/// Is told of each tuple of one task. Costs a call per tuple; tasks without hooks pay nothing.
#[allow(unused_variables, reason = "defaults do nothing")]
pub trait TaskHook: Send + Sync {
    /// A tuple was emitted on a stream.
    fn emit(&self, task: TaskId, stream: &str, values: &[Value]) {}
    /// A tuple was executed.
    fn execute(&self, info: &ExecuteInfo<'_>) {}
    /// A bolt's tuple was acked, or a spout's tree completed, in this time for a spout.
    fn ack(&self, task: TaskId, complete_latency: Option<Duration>) {}
    /// A bolt's tuple failed, or a spout's tree did.
    fn fail(&self, task: TaskId) {}
}

/// Is told when a worker of the topology starts and ends. What it prepares, it puts into the
/// worker's [`Resources`].
#[allow(unused_variables, reason = "defaults do nothing")]
pub trait WorkerHook: Send + Sync {
    /// Before the worker's first task starts.
    ///
    /// # Errors
    /// An error keeps the worker from starting.
    fn start(&self, topology: &TopologyInfo, resources: &Resources) -> Result<()> {
        Ok(())
    }
    /// After the worker's last task ended.
    fn shutdown(&self) {}
}
