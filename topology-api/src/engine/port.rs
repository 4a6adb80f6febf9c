//! What the engine implements, so that user code and the cells reach it.

use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxFuture, Flow, OutputCommand, Staging};
use crate::error::{Error, Result};
use crate::output_handle::OutputClosed;
use crate::spout::Next;
use crate::value::{Timestamp, Value};

/// What the engine offers every task at any time, from any thread.
pub trait TaskPort: Send + Sync {
    /// Lists an error of this task without failing anything.
    fn report_error(&self, error: &Error);

    /// Counts tuples that a reliable spout emitted again.
    fn count_replayed(&self, tuples: u64);

    /// Lists a tuple that a reliable spout will not try again; a bounded run then fails.
    fn give_up(&self, values: &[Value], reason: &str);

    /// Hands output of spawned work to the task, waiting while its queue is full.
    fn submit(&self, command: OutputCommand) -> BoxFuture<'_, Result<(), OutputClosed>>;

    /// Sleeps on the engine's clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Time since the task's worker started, on the engine's clock.
    fn elapsed(&self) -> Duration;

    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// What the engine does around each call of a bolt.
pub trait BoltHost: Send {
    /// Takes up what the call for `row` of the batch (or, without a row, a tick, flush or finish)
    /// staged and decided, and acks or fails its input.
    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow;

    /// The running call is pending: sends what stands ready. Ready when a wait for room is over and
    /// the call should be polled again at once.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Called before the first call of a batch and after it: the engine times one call a batch.
    fn time_call(&mut self, is_start: bool);
}

/// What the engine did with one call of a spout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoutSettled {
    /// Whether the next call may follow at once.
    pub flow: Flow,
    /// Whether tuples are tracked at all; if not, the message ids are acked at once.
    pub is_tracking: bool,
}

/// What the engine does around each call of a spout.
pub trait SpoutHost: Send {
    /// Takes up what the call staged, opening a tree for each row with a message id; the slots of
    /// these trees are appended to `slots` in order.
    fn settle(&mut self, staging: &mut Staging, slots: &mut Vec<u32>, outcome: &Result<Next>) -> SpoutSettled;

    /// As [`BoltHost::poll_pending`]; rows with message ids that were handed over open their trees.
    fn poll_pending(&mut self, slots: &mut Vec<u32>, cx: &mut Context<'_>) -> Poll<()>;

    /// As [`BoltHost::time_call`].
    fn time_call(&mut self, is_start: bool);
}
