//! What the component of a harness reaches the test by.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use galerna_topology_api::engine::{BoxFuture, OutputCommand, TaskPort};
use galerna_topology_api::{Error, OutputClosed, Timestamp, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::WallClock;

/// Notes what the component reports, and passes on what its spawned work sends.
pub(super) struct HarnessPort {
    began: Instant,
    notes: Mutex<Notes>,
    /// Not bounded: the queue holds at most one decision for each tuple that the test gave the bolt,
    /// and the rows that the bolt's spawned work emits.
    commands: mpsc::UnboundedSender<OutputCommand>,
}

/// What the component reported.
#[derive(Clone, Default)]
pub(super) struct Notes {
    pub(super) errors: Vec<String>,
    pub(super) given_up: Vec<Vec<Value>>,
    pub(super) replayed: u64,
}

impl HarnessPort {
    /// A port, and the output of spawned work.
    pub(super) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<OutputCommand>) {
        let (commands, output) = mpsc::unbounded_channel();
        (Arc::new(Self { began: Instant::now(), notes: Mutex::default(), commands }), output)
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

    fn give_up(&self, values: &[Value], reason: &str) {
        let mut notes = self.notes();
        notes.given_up.push(values.to_vec());
        notes.errors.push(format!("gave up a tuple: {reason}"));
    }

    fn submit(&self, command: OutputCommand) -> BoxFuture<'_, Result<(), OutputClosed>> {
        Box::pin(std::future::ready(self.commands.send(command).map_err(|_| OutputClosed)))
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
