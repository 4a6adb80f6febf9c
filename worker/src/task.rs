//! The loops that drive tasks: one for spouts, one for bolts, and what they have in common.

mod bolt;
mod bolt_host;
mod hooks;
mod instance;
#[cfg(test)]
mod model;
mod restarts;
mod spout;
mod spout_host;
mod tracker;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::engine::{Done, Staging};
use galerna_topology_api::{TaskId, TopologyContext};
use smol_str::SmolStr;

use crate::inbox::Arrivals;
use crate::outbox::Outbox;
use crate::output::Submissions;
use crate::run::{RunEvent, RunShared};
use crate::runtimes::OwnThread;
use crate::stats::{Counts, InStreams, TaskStats};
use crate::summary::RunFailure;

pub(crate) use bolt::BoltTask;
pub(crate) use hooks::Hooks;
pub(crate) use spout::SpoutTask;

/// What is sent leaves at the latest after this much run time.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1);
/// Calls that take longer than this on average are watched one by one.
const SLOW_CALL: Duration = Duration::from_micros(10);

/// How often a busy thread steps aside before it sleeps.
const MOST_LINGERING: u32 = 30;

/// Fast calls that are settled together.
const CHUNK: usize = 64;

/// Notes how long the timed call of a batch took; whether calls are to be watched one by one.
fn note_call(stats: &TaskStats, took: Duration) -> bool {
    stats.latencies.execute.record(took.as_nanos() as u64);
    took > 10 * SLOW_CALL
}

/// The run cannot go on because of this task.
#[derive(Debug)]
pub(crate) struct Fatal;

/// What every task has.
pub(crate) struct Core {
    pub(crate) component: SmolStr,
    pub(crate) task: TaskId,
    /// Tells this launch of the task from others.
    pub(crate) launch: u32,
    pub(crate) context: TopologyContext,
    pub(crate) staging: Staging,
    /// What calls have emitted that is not settled yet; empty between runs of calls.
    pub(crate) done: Done,
    pub(crate) outbox: Outbox,
    pub(crate) stats: Arc<TaskStats>,
    pub(crate) run: Arc<RunShared>,
    pub(crate) counts: Counts,
    /// Where what comes in is counted.
    pub(crate) in_streams: InStreams,
    pub(crate) hooks: Hooks,
    /// Whether it is the only task on its thread.
    pub(crate) own_thread: OwnThread,
    /// Whether it waits for orders when its input has ended.
    pub(crate) parks: bool,
    /// When everything was last sent.
    pub(crate) last_flush: Duration,
    /// Whether calls are so slow that each is watched.
    pub(crate) is_slow: bool,
}

/// The ways into a task.
pub(crate) struct Inlets {
    pub(crate) inbox: Arrivals,
    pub(crate) submissions: Submissions,
}

impl Core {
    /// Lists an error of this task.
    fn report(&self, message: &str) {
        self.run.report(&self.component, self.task, &self.stats, message);
    }

    /// Ends the run because of this task.
    fn fail_run(&self, code: &'static str, message: &str) -> Fatal {
        if self.parks {
            // A worker of a cluster is launched again, and what it said is gathered.
            self.report(message);
        }
        let message = format!("`{}` (task {}) {message}", self.component, self.task);
        self.run.tell(RunEvent::Failed(RunFailure { code, message }));
        Fatal
    }

    /// The hooks that `open` or `prepare` has added.
    fn adopt_hooks(&mut self) {
        self.hooks = Hooks::new(self.component.clone(), self.context.task_hooks());
    }

    /// How many calls are settled together: slow ones each by itself, and those that a hook hears of.
    fn chunk(&self) -> usize {
        if self.is_slow || !self.hooks.all().is_empty() { 1 } else { CHUNK }
    }

    /// Sends what there is credit for, and notes the time.
    fn flush(&mut self, now: Duration) {
        self.counts.publish(&self.stats);
        self.outbox.flush();
        self.last_flush = now;
    }

    /// Sends everything, waiting for room as long as it takes.
    async fn leave(&mut self) {
        self.counts.publish(&self.stats);
        let (waiting, clock) = (&self.stats.waiting, self.run.clock);
        poll_fn(|cx| {
            let room = self.outbox.poll_room(cx);
            if room.is_pending() {
                waiting.begin(clock);
            }
            room
        })
        .await;
        waiting.end(clock);
        self.last_flush = clock.now();
    }

    /// A run of calls is over, however it ended.
    fn end_calls(&self) {
        self.stats.activity.end(self.run.clock);
        // A call that waited for room may have been given up.
        self.stats.waiting.end(self.run.clock);
    }
}

/// What was counted is published even if the task is ended hard.
impl Drop for Core {
    fn drop(&mut self) {
        self.counts.publish(&self.stats);
        self.stats.waiting.end(self.run.clock);
        self.run.count_task(false);
    }
}
