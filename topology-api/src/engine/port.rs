//! What the engine implements, so that user code and the cells reach it.

use std::ops::Range;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxFuture, Done, Flow, OutputCommand, Staged, Staging};
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::output_handle::OutputClosed;
use crate::retry::Retrying;
use crate::tasks::TaskId;
use crate::value::{Timestamp, Value};

/// A tuple that a reliable spout has given up.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The fields of the tuple.
    pub fields: &'a Fields,
    /// Its values.
    pub values: &'a [Value],
    /// Its last failure.
    pub failure: &'a Failure,
    /// How many tries have failed.
    pub tries: u32,
}

/// What the engine offers every task at any time, from any thread.
pub trait TaskPort: Send + Sync {
    /// Lists an error of this task without failing anything.
    fn report_error(&self, error: &Error);

    /// Counts tuples that a reliable spout emitted again.
    fn count_replayed(&self, tuples: u64);

    /// Lists a tuple that a reliable spout will not try again; the run then fails.
    fn give_up(&self, values: &[Value], failure: &Failure, tries: u32);

    /// Appends a dead letter to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write_dead_letter(&self, path: &Path, letter: &DeadLetter<'_>) -> Result<()>;

    /// Synchronizes a file of dead letters, and creates it if there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or synchronized.
    fn sync_dead_letters(&self, path: &Path) -> Result<()>;

    /// Publishes which tuples a reliable spout is retrying.
    fn note_retrying(&self, retrying: Option<Retrying>);

    /// Notes how far a spout has read its source. Without effect where nobody shows it.
    fn report_source(&self, _position: &str, _lag: Option<u64>) {}

    /// Hands output of spawned work to the task, waiting while its queue is full.
    fn submit(&self, commands: Vec<OutputCommand>) -> BoxFuture<'_, Result<(), OutputClosed>>;

    /// As [`submit`](Self::submit), for one command. Returns the receiving tasks of each row.
    fn submit_for_tasks(&self, command: OutputCommand) -> BoxFuture<'_, Result<Vec<Vec<TaskId>>, OutputClosed>>;

    /// Keeps the output of the task open until a [release](Self::release_output).
    ///
    /// # Errors
    /// When the output is closed.
    fn hold_output(&self) -> Result<(), OutputClosed>;

    /// Releases one [hold](Self::hold_output).
    fn release_output(&self);

    /// Sleeps on the engine's clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// Time since the task's worker started, on the engine's clock.
    fn elapsed(&self) -> Duration;

    /// The wall clock.
    fn now(&self) -> Timestamp;
}

/// What the engine does around the calls of a bolt.
pub trait BoltHost: Send {
    /// Takes up what the calls for these rows of the batch emitted, all of which succeeded and did
    /// nothing but emit, and acks the rows.
    fn settle_run(&mut self, done: &mut Staged, rows: Range<usize>) -> Flow;

    /// Takes up what the call for `row` of the batch (or, without a row, a tick, flush or finish)
    /// staged and decided, and acks or fails its input.
    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow;

    /// Takes up the rows that a call for these rows of the batch staged, and acks, fails or keeps each input
    /// according to [`Staging::decisions`]. After an error all inputs fail.
    fn settle_batch(&mut self, staging: &mut Staging, rows: Range<usize>, outcome: Result<()>) -> Flow;

    /// The call for `row` (the first row, if there are several) is pending: settles the calls before it and
    /// sends waiting rows. Ready when a wait for room is over, and the caller should poll the call again
    /// immediately.
    fn poll_pending(&mut self, done: &mut Done, row: Option<usize>, cx: &mut Context<'_>) -> Poll<()>;

    /// Called before the first call of a batch and after it: the engine times one call a batch. Returns whether
    /// the call was so slow that the cell should settle each call by itself.
    fn time_call(&mut self, is_start: bool) -> bool;
}

/// What the engine did with what a spout emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoutSettled {
    /// Whether the next call may follow at once.
    pub flow: Flow,
    /// Whether tuples are tracked at all; if not, the message ids are acked at once.
    pub is_tracking: bool,
}

/// What the engine does around the calls of a spout.
pub trait SpoutHost: Send {
    /// Takes up what calls emitted, and then what the last one handed over, opening a tree for each
    /// row with a message id; the slots of these trees are appended to `slots` in order.
    fn settle(&mut self, done: &mut Staged, slots: &mut Vec<u32>) -> SpoutSettled;

    /// A call is pending: settles what was emitted before, sends what stands ready, and lets acks
    /// and time-outs go on. Ready when a wait for room is over and the call should be polled again.
    fn poll_pending(&mut self, done: &mut Staged, slots: &mut Vec<u32>, cx: &mut Context<'_>) -> Poll<()>;

    /// Decides about a pending call: whether to drop it, because an order waits for its end. If `may_drop`
    /// is false, the answer is always false, and the host notes that this task holds up the order.
    fn calls_off(&mut self, may_drop: bool) -> bool;

    /// The cell calls this before the first call of a batch and after it: the engine times one call per
    /// batch. Returns whether the call was so slow that the cell should settle each call by itself.
    fn time_call(&mut self, is_start: bool) -> bool;
}
