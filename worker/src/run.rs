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

/// See [`RunShared::busy_latency`].
const TURN: Duration = Duration::from_millis(1);

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
        let (clock, step_aside, lanes) = (Clock::start(), std::thread::yield_now, AtomicUsize::new(0));
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            clock,
            wall_clock,
            step_aside,
            lanes,
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

    /// The latency that tuples have where all lanes are busy: each gets a turn of [`TURN`] on its core before the next
    /// one. With shorter turns, changing from lane to lane would take most of the time.
    pub(crate) fn busy_latency(&self) -> Duration {
        TURN * (self.lanes.load(Ordering::Relaxed) / self.cores) as u32
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
