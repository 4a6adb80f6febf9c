//! What a task's components reach the engine by.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::engine::{BoxFuture, DeadLetter, OutputCommand, TaskPort, printable};
use galerna_topology_api::{Error, Failure, OutputClosed, Result, Retrying, TaskId, Timestamp, Value};
use smol_str::SmolStr;

use crate::dead_letters::{self, Origin};
use crate::output::OutputGate;
use crate::run::{Listed, RunShared};
use crate::stats::{TaskStats, add};

/// Values of a tuple that was given up are shown up to this many characters.
const SHOWN: usize = 200;

/// What is said of a tuple that was given up.
pub(crate) fn given_up(values: &[Value], failure: &Failure, tries: u32) -> String {
    let shown: Vec<_> = values.iter().map(ToString::to_string).collect();
    let shown = printable(&shown.join(", "), SHOWN);
    let plural = if tries == 1 { "try" } else { "tries" };
    format!("gave up a tuple after {tries} {plural}: {failure}; values: [{shown}]")
}

pub(crate) struct Port {
    pub(crate) run: Arc<RunShared>,
    pub(crate) topology: SmolStr,
    pub(crate) component: SmolStr,
    pub(crate) task: TaskId,
    pub(crate) stats: Arc<TaskStats>,
    pub(crate) output: Arc<OutputGate>,
}

impl TaskPort for Port {
    fn report_error(&self, error: &Error) {
        self.run.report(&self.component, self.task, &self.stats, &error.to_string());
    }

    fn count_replayed(&self, tuples: u64) {
        add(&self.stats.replayed, tuples);
    }

    fn give_up(&self, values: &[Value], failure: &Failure, tries: u32) {
        add(&self.stats.gave_up, 1);
        add(&self.stats.errors, 1);
        let message = given_up(values, failure, tries);
        let (component, task, cause) = (&*self.component, self.task, Some(failure.to_string()));
        let cause = cause.as_deref();
        self.run.list(&Listed { component, task, message: &message, cause, is_consequence: true });
        self.run.mark_failed("gave_up", &format!("`{component}` {message}"));
    }

    fn write_dead_letter(&self, path: &Path, letter: &DeadLetter<'_>) -> Result<()> {
        let (topology, spout, task, now) = (&*self.topology, &*self.component, self.task, self.now());
        dead_letters::append(path, &Origin { topology, spout, task, now }, letter)
    }

    fn sync_dead_letters(&self, path: &Path) -> Result<()> {
        dead_letters::sync(path)
    }

    fn note_retrying(&self, retrying: Option<Retrying>) {
        self.stats.set_retrying(retrying);
    }

    fn report_source(&self, position: &str, lag: Option<u64>) {
        self.stats.source.set(position, lag);
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
        self.run.clock.now()
    }

    fn now(&self) -> Timestamp {
        self.run.wall_clock.now()
    }
}
