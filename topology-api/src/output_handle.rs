//! Emitting and acking from work that a bolt has spawned.

use std::fmt;
use std::sync::Arc;

use crate::engine::TaskPort;
use crate::error::Error;
use crate::held::HeldTuple;
use crate::tasks::TaskId;
use crate::value::Value;

/// The task is gone: nobody takes its output any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task has ended and takes no more output")]
pub struct OutputClosed;

/// One row to emit, with the kept tuples that it is anchored to.
#[derive(Debug, Default)]
pub struct OutputRow {
    /// The stream; the default one if none is named.
    pub stream: Option<String>,
    /// The receiving task, on a direct stream.
    pub direct: Option<TaskId>,
    /// The values.
    pub values: Vec<Value>,
}

/// What an [`OutputHandle`] asks of its task: rows anchored to a tuple, then a decision about it.
#[derive(Debug)]
pub struct OutputCommand {
    /// What to emit.
    pub rows: Vec<OutputRow>,
    /// The tuple that the rows are anchored to, and whether it is acked, or why it failed.
    pub decision: Option<(HeldTuple, Result<(), Error>)>,
}

/// Emits and acks from spawned work: look-ups, writers, other languages.
///
/// Get one in `prepare` by [`TopologyContext::output_handle`](crate::TopologyContext::output_handle).
/// What is sent through it enters the task between its batches; each method waits while the task's
/// queue is full.
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
    /// When the task has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it is ready, nothing is emitted and the tuple fails.
    pub async fn emit_and_ack(
        &self,
        tuple: HeldTuple,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Result<(), OutputClosed> {
        let rows = rows.into_iter().map(|values| OutputRow { values, ..OutputRow::default() }).collect();
        self.submit(OutputCommand { rows, decision: Some((tuple, Ok(()))) }).await
    }

    /// Acks a kept tuple.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn ack(&self, tuple: HeldTuple) -> Result<(), OutputClosed> {
        self.submit(OutputCommand { rows: Vec::new(), decision: Some((tuple, Ok(()))) }).await
    }

    /// Fails a kept tuple; the error is listed.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn fail(&self, tuple: HeldTuple, error: impl Into<Error>) -> Result<(), OutputClosed> {
        self.submit(OutputCommand { rows: Vec::new(), decision: Some((tuple, Err(error.into()))) }).await
    }

    /// Emits a row that is anchored to nothing.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn emit_unanchored(&self, values: Vec<Value>) -> Result<(), OutputClosed> {
        let rows = vec![OutputRow { values, ..OutputRow::default() }];
        self.submit(OutputCommand { rows, decision: None }).await
    }

    /// The general form of the others.
    ///
    /// # Errors
    /// When the task has ended.
    pub async fn submit(&self, command: OutputCommand) -> Result<(), OutputClosed> {
        self.port.submit(command).await
    }
}
