//! What a task's components reach the engine by.

use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::engine::{BoxFuture, OutputCommand, TaskPort};
use galerna_topology_api::{Error, OutputClosed, TaskId, Timestamp, Value};
use smol_str::SmolStr;

use crate::output::OutputGate;
use crate::run::RunShared;
use crate::stats::{TaskStats, add};

/// Values of a tuple that was given up are shown up to this many characters.
const SHOWN: usize = 200;

pub(crate) struct Port {
    pub(crate) run: Arc<RunShared>,
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

    fn give_up(&self, values: &[Value], reason: &str) {
        add(&self.stats.gave_up, 1);
        let shown: Vec<_> = values.iter().map(ToString::to_string).collect();
        let mut shown = shown.join(", ");
        if let Some((end, _)) = shown.char_indices().nth(SHOWN) {
            shown.truncate(end);
            shown.push('…');
        }
        let message = format!("gave up a tuple: {reason}: [{shown}]");
        self.report_error(&message.as_str().into());
        self.run.mark_failed("gave_up", format!("`{}` {message}", self.component));
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
