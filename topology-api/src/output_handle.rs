//! Emitting and acking from work that a bolt has spawned.

use std::fmt;
use std::sync::Arc;

use crate::emitter::Row;
use crate::engine::TaskPort;
use crate::error::Error;
use crate::held::{HeldId, HeldTuple};
use crate::tasks::TaskId;
use crate::value::Value;

/// The output of the task is closed for spawned work: the input has ended, the task moves, or the task has
/// ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task takes no more output of spawned work")]
pub struct OutputClosed;

/// A kept tuple to decide about: the tuple itself, or its id.
#[derive(Debug)]
pub enum HeldRef {
    /// The tuple, which the decision consumes.
    Tuple(HeldTuple),
    /// The id of the tuple. The decision settles the tuple, even if the bolt kept it several times.
    Id(HeldId),
}

impl From<HeldTuple> for HeldRef {
    fn from(tuple: HeldTuple) -> Self {
        Self::Tuple(tuple)
    }
}

impl From<HeldId> for HeldRef {
    fn from(id: HeldId) -> Self {
        Self::Id(id)
    }
}

/// A kept tuple, and `Ok` to ack it or an error to fail it.
pub type HeldDecision = (HeldRef, Result<(), Error>);

/// One row to emit.
#[derive(Debug)]
pub struct OutputRow {
    /// The stream; the default one if none is named.
    pub stream: Option<String>,
    /// The receiving task, on a direct stream.
    pub direct: Option<TaskId>,
    /// The kept tuples that the row is anchored to.
    pub anchors: Vec<HeldId>,
    /// The values.
    pub values: Vec<Value>,
}

/// A command of an [`OutputHandle`] to its task: rows to emit, then decisions about kept tuples.
///
/// The task emits all rows of a command or none. If a row does not fit its stream, or is anchored to a
/// tuple that is already acked or failed, the task emits no row, lists the error, and fails the tuples that
/// the command acks.
///
/// ```
/// # use galerna_topology_api::{HeldTuple, OutputClosed, OutputCommand, OutputHandle, values};
/// # async fn joined(handle: OutputHandle, left: HeldTuple, right: HeldTuple) -> Result<(), OutputClosed> {
/// let pair = [left.id(), right.id()];
/// handle.submit(OutputCommand::new().emit(pair, values!["a", "b"]).ack(left).ack(right)).await
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "a command does nothing until it is submitted"]
pub struct OutputCommand {
    rows: Vec<OutputRow>,
    decisions: Vec<HeldDecision>,
}

impl OutputCommand {
    /// A command that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Emits a row on the default stream, anchored to these kept tuples, or to none.
    pub fn emit(self, anchors: impl IntoIterator<Item = HeldId>, row: impl Row) -> Self {
        self.push(None, None, anchors, row)
    }

    /// Emits a row on a named stream, anchored to these kept tuples, or to none.
    pub fn emit_to(self, stream: &str, anchors: impl IntoIterator<Item = HeldId>, row: impl Row) -> Self {
        self.push(Some(stream), None, anchors, row)
    }

    /// Emits a row to one task on a direct stream, anchored to these kept tuples, or to none.
    pub fn emit_direct(
        self,
        task: TaskId,
        stream: &str,
        anchors: impl IntoIterator<Item = HeldId>,
        row: impl Row,
    ) -> Self {
        self.push(Some(stream), Some(task), anchors, row)
    }

    /// Acks a kept tuple, by itself or by its id.
    pub fn ack(mut self, tuple: impl Into<HeldRef>) -> Self {
        self.decisions.push((tuple.into(), Ok(())));
        self
    }

    /// Fails a kept tuple, by itself or by its id; the error is listed.
    pub fn fail(mut self, tuple: impl Into<HeldRef>, error: impl Into<Error>) -> Self {
        self.decisions.push((tuple.into(), Err(error.into())));
        self
    }

    /// The rows and the decisions. For runtimes and test harnesses.
    pub fn into_parts(self) -> (Vec<OutputRow>, Vec<HeldDecision>) {
        (self.rows, self.decisions)
    }

    /// The number of rows. For runtimes.
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    fn push(
        mut self,
        stream: Option<&str>,
        direct: Option<TaskId>,
        anchors: impl IntoIterator<Item = HeldId>,
        row: impl Row,
    ) -> Self {
        let (stream, anchors) = (stream.map(str::to_owned), anchors.into_iter().collect());
        let mut values = Vec::new();
        row.append_to(&mut values);
        self.rows.push(OutputRow { stream, direct, anchors, values });
        self
    }
}

/// Emits and acks from spawned work: look-ups, writers, other languages.
///
/// Get one in `prepare` by [`TopologyContext::output_handle`](crate::TopologyContext::output_handle).
/// Commands enter the task between its batches; each method waits while the task's
/// queue is full. The task processes every accepted command, also at the end of the input.
///
/// At the end of the input and before a move, the task waits until spawned work has decided about all kept
/// tuples and dropped all [guards](Self::guard), but no longer than the message time-out. An order to exit
/// ends the wait. Then the task closes its output, and all methods return [`OutputClosed`].
#[derive(Clone)]
pub struct OutputHandle {
    port: Arc<dyn TaskPort>,
}

impl fmt::Debug for OutputHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputHandle")
    }
}

impl OutputHandle {
    pub(crate) fn new(port: Arc<dyn TaskPort>) -> Self {
        Self { port }
    }

    /// Emits rows on the default stream, anchored to `tuple`, and acks it.
    ///
    /// # Errors
    /// When the output is closed. The tuple fails.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing is emitted and the tuple fails.
    pub async fn emit_and_ack(
        &self,
        tuple: HeldTuple,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Result<(), OutputClosed> {
        let command = rows.into_iter().fold(OutputCommand::new(), |command, row| command.emit([tuple.id()], row));
        self.submit(command.ack(tuple)).await
    }

    /// Acks a kept tuple, by itself or by its id.
    ///
    /// # Errors
    /// When the output is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the tuple is not acked. A `HeldTuple` fails, a `HeldId`
    /// decides nothing.
    pub async fn ack(&self, tuple: impl Into<HeldRef>) -> Result<(), OutputClosed> {
        self.submit(OutputCommand::new().ack(tuple)).await
    }

    /// Fails a kept tuple, by itself or by its id; the error is listed.
    ///
    /// # Errors
    /// When the output is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, the error is not listed. A `HeldTuple` fails
    /// nevertheless, a `HeldId` decides nothing.
    pub async fn fail(&self, tuple: impl Into<HeldRef>, error: impl Into<Error>) -> Result<(), OutputClosed> {
        self.submit(OutputCommand::new().fail(tuple, error)).await
    }

    /// Emits a row that is anchored to no tuple.
    ///
    /// # Errors
    /// When the output is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing is emitted.
    pub async fn emit_unanchored(&self, values: Vec<Value>) -> Result<(), OutputClosed> {
        self.submit(OutputCommand::new().emit([], values)).await
    }

    /// Submits a command: the general form of the methods above.
    ///
    /// # Errors
    /// When the output is closed.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing is emitted, and each `HeldTuple` in the command
    /// fails.
    pub async fn submit(&self, command: OutputCommand) -> Result<(), OutputClosed> {
        self.port.submit(vec![command]).await
    }

    /// Submits several commands together: the task accepts all of them or none.
    ///
    /// # Errors
    /// When the output is closed.
    ///
    /// # Cancel safety
    /// As [`submit`](Self::submit).
    pub async fn submit_many(&self, commands: impl IntoIterator<Item = OutputCommand>) -> Result<(), OutputClosed> {
        self.port.submit(commands.into_iter().collect()).await
    }

    /// Submits a command and returns, for each row, the tasks that received the row. A row of a shuffle
    /// grouping leaves when a receiver has room, and the answer comes after the last row has left. The list
    /// of a row that could not be emitted is empty.
    ///
    /// # Errors
    /// When the output is closed, or the task ends before all rows have left.
    ///
    /// # Cancel safety
    /// If the future is dropped, the task may process the command nevertheless.
    pub async fn submit_for_tasks(&self, command: OutputCommand) -> Result<Vec<Vec<TaskId>>, OutputClosed> {
        self.port.submit_for_tasks(command).await
    }

    /// Keeps the output of the task open until the guard is dropped. Spawned work that emits without a kept
    /// tuple takes a guard before it begins.
    ///
    /// # Errors
    /// When the output is closed.
    pub fn guard(&self) -> Result<OutputGuard, OutputClosed> {
        self.port.hold_output()?;
        Ok(OutputGuard { port: self.port.clone() })
    }
}

/// Keeps the output of a task open until it is dropped, but no longer than the message time-out after the
/// end of the input. See [`OutputHandle::guard`].
#[must_use = "the task waits only while the guard exists"]
pub struct OutputGuard {
    port: Arc<dyn TaskPort>,
}

impl fmt::Debug for OutputGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputGuard")
    }
}

impl Drop for OutputGuard {
    fn drop(&mut self) {
        self.port.release_output();
    }
}
