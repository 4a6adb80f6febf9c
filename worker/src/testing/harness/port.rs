//! The `TaskPort` of a harness: the component's way to the test.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use galerna_topology_api::engine::{BoxFuture, DeadLetter, OutputCommand, TaskPort};
use galerna_topology_api::{Error, Failure, OutputClosed, Result, Retrying, TaskId, Timestamp, Value};
use tokio::time::Instant;

use crate::clock::WallClock;
use crate::dead_letters::{self, Origin};
use crate::output::{OutputGate, Submissions, output_queue};
use crate::port::given_up;

/// Notes reports of the component, and passes output of its spawned work on.
pub(super) struct HarnessPort {
    began: Instant,
    notes: Mutex<Notes>,
    output: Arc<OutputGate>,
}

/// The capacity of the queue for submissions of spawned work, which is full if the test makes no call for long.
const QUEUE: usize = 1 << 16;

/// The reports of the component.
#[derive(Clone, Default)]
pub(super) struct Notes {
    pub(super) errors: Vec<String>,
    pub(super) given_up: Vec<Vec<Value>>,
    pub(super) replayed: u64,
    pub(super) retrying: Option<Retrying>,
    pub(super) source: Option<(String, Option<u64>)>,
}

impl HarnessPort {
    /// A port, and the receiving end for output of spawned work.
    pub(super) fn new() -> (Arc<Self>, Submissions) {
        let (output, submissions) = output_queue(QUEUE);
        (Arc::new(Self { began: Instant::now(), notes: Mutex::default(), output }), submissions)
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TaskPort for HarnessPort {
    fn report_error(&self, error: &Error) {
        self.notes().errors.push(error.to_string());
    }

    fn count_replayed(&self, tuples: u64) {
        self.notes().replayed += tuples;
    }

    fn report_source(&self, position: &str, lag: Option<u64>) {
        self.notes().source = Some((position.to_owned(), lag));
    }

    fn give_up(&self, values: &[Value], failure: &Failure, tries: u32) {
        let mut notes = self.notes();
        notes.given_up.push(values.to_vec());
        notes.errors.push(given_up(values, failure, tries));
    }

    fn write_dead_letter(&self, path: &Path, letter: &DeadLetter<'_>) -> Result<()> {
        dead_letters::append(path, &Origin { topology: "test", spout: "spout", task: 0, now: self.now() }, letter)
    }

    fn sync_dead_letters(&self, path: &Path) -> Result<()> {
        dead_letters::sync(path)
    }

    fn note_retrying(&self, retrying: Option<Retrying>) {
        self.notes().retrying = retrying;
    }

    fn submit(&self, commands: Vec<OutputCommand>) -> BoxFuture<'_, Result<(), OutputClosed>> {
        Box::pin(self.output.submit(commands))
    }

    fn submit_for_tasks(&self, command: OutputCommand) -> BoxFuture<'_, Result<Vec<Vec<TaskId>>, OutputClosed>> {
        Box::pin(self.output.submit_for_tasks(command))
    }

    fn hold_output(&self) -> Result<(), OutputClosed> {
        self.output.hold()
    }

    fn release_output(&self) {
        self.output.release();
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn now(&self) -> Timestamp {
        WallClock::system().now()
    }
}
