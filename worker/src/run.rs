//! What all tasks of a run share: the list of errors, the way to make the run fail, the clocks.

mod errors;
mod kind;

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::printable;
use tokio::sync::mpsc;

use crate::clock::{Clock, WallClock};
use crate::edges::Ending;
use crate::stats::{TaskStats, add};
use crate::summary::{ErrorReport, RunFailure};
pub(crate) use errors::Listed;
use errors::{ErrorList, LONGEST};

/// The shortest turn of a lane on its core, and of a task in its lane, that [`RunShared::busy_latency`] allows for.
const LANE_TURN: Duration = Duration::from_millis(1);
const TASK_TURN: Duration = Duration::from_micros(40);
/// The longest latency that it allows for.
const LONGEST_ROUND: Duration = Duration::from_millis(80);

/// What a run's coordinator hears.
#[derive(Debug)]
pub(crate) enum RunEvent {
    /// A launch of a task has ended in good order, and its future with it.
    Ended(TaskId, u32),
    /// A task's input has ended, and the task has said its last words. It waits for orders.
    Parked(TaskId, Ending),
    /// A parked task has got more input.
    Resumed(TaskId),
    /// The run cannot go on.
    Failed(RunFailure),
}

/// Shared by all tasks of a run.
#[derive(Debug)]
pub(crate) struct RunShared {
    pub(crate) clock: Clock,
    pub(crate) wall_clock: WallClock,
    /// Lets other threads run without sleeping. Tests replace it by a scheduler of their own.
    pub(crate) step_aside: fn(),
    /// The lanes that have a thread.
    lanes: AtomicUsize,
    /// The tasks, wherever they run.
    tasks: AtomicUsize,
    cores: usize,
    errors: Mutex<ErrorList>,
    /// A failure that lets the run come to its end first.
    failure: Mutex<Option<RunFailure>>,
    // Bounded by the number of tasks: each sends a few events in its life.
    events: mpsc::UnboundedSender<RunEvent>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunShared {
    pub(crate) fn new(wall_clock: WallClock, events: mpsc::UnboundedSender<RunEvent>) -> Self {
        let (clock, step_aside) = (Clock::start(), std::thread::yield_now);
        let (lanes, tasks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            clock,
            wall_clock,
            step_aside,
            lanes,
            tasks,
            cores,
            errors: Mutex::default(),
            failure: Mutex::default(),
            events,
        }
    }

    /// Notes that there is one more lane with a thread, or one less.
    pub(crate) fn count_lane(&self, is_new: bool) {
        match is_new {
            true => self.lanes.fetch_add(1, Ordering::Relaxed),
            false => self.lanes.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// Notes that there is one more task, or one less.
    pub(crate) fn count_task(&self, is_new: bool) {
        match is_new {
            true => self.tasks.fetch_add(1, Ordering::Relaxed),
            false => self.tasks.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// The latency that tuples have where all lanes and tasks are busy: each gets a turn on its core before the next one.
    /// With shorter turns, changing from lane to lane and from task to task would take most of the time.
    pub(crate) fn busy_latency(&self) -> Duration {
        let lanes = self.lanes.load(Ordering::Relaxed);
        if lanes == 0 {
            return Duration::ZERO;
        }
        let round = |count: usize, turn: Duration| turn * (count / self.cores) as u32;
        let of_tasks = round(self.tasks.load(Ordering::Relaxed), TASK_TURN);
        round(lanes, LANE_TURN).max(of_tasks).min(LONGEST_ROUND)
    }

    /// Lists and logs an error.
    pub(crate) fn list(&self, error: &Listed<'_>) {
        let Listed { component, task, message, .. } = *error;
        let unix_ms = self.wall_clock.now().as_nanos() / 1_000_000;
        let log = lock(&self.errors).add(error, self.clock.now(), unix_ms);
        if log.unlogged > 0 {
            log_count(component, task, log.unlogged, &printable(message, LONGEST));
        }
        if log.is_logged {
            tracing::warn!(component, task, "{}", printable(message, LONGEST));
        }
    }

    /// Lists and logs an error that holds no values of its own.
    pub(crate) fn list_error(&self, component: &str, task: TaskId, message: &str) {
        self.list(&Listed { component, task, message, cause: None, is_consequence: false });
    }

    /// Counts and lists an error of a task.
    pub(crate) fn report(&self, component: &str, task: TaskId, stats: &TaskStats, message: &str) {
        add(&stats.errors, 1);
        self.list_error(component, task, message);
    }

    /// The listed errors, causes first. Also logs how many errors were left out of the log.
    pub(crate) fn errors(&self) -> Vec<ErrorReport> {
        let (unlogged, reports) = {
            let mut errors = lock(&self.errors);
            (errors.take_unlogged(self.clock.now()), errors.reports())
        };
        // Logging may block, and other tasks must be able to report meanwhile.
        for (error, count) in unlogged {
            log_count(&error.component, error.task, count, &error.message);
        }
        reports
    }

    /// Makes the run fail at its end; the first reason stands.
    pub(crate) fn mark_failed(&self, code: &'static str, message: &str) {
        let message = printable(message, LONGEST);
        lock(&self.failure).get_or_insert(RunFailure { code, message });
    }

    /// Why the run will have failed at its end, if so.
    pub(crate) fn failure(&self) -> Option<RunFailure> {
        lock(&self.failure).clone()
    }

    /// Tells the coordinator. Nobody listens any more once the run is over.
    pub(crate) fn tell(&self, event: RunEvent) {
        let _ = self.events.send(event);
    }
}

fn log_count(component: &str, task: TaskId, count: u64, message: &str) {
    tracing::warn!(component, task, "{count} more errors like this one: {message}");
}
