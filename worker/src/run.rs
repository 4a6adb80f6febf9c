//! What all tasks of a run share: the list of errors, the way to make the run fail, the clocks.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use galerna_topology_api::TaskId;
use tokio::sync::mpsc;

use crate::clock::{Clock, WallClock};
use crate::edges::Ending;
use crate::stats::{TaskStats, add};
use crate::summary::{ErrorReport, RunFailure};

/// How many distinct errors are kept.
const MOST_ERRORS: usize = 100;

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
    errors: Mutex<VecDeque<ErrorReport>>,
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
        Self { clock, wall_clock, step_aside, errors: Mutex::default(), failure: Mutex::default(), events }
    }

    /// Lists an error; equal ones of a component are counted, the oldest give way.
    pub(crate) fn list_error(&self, component: &str, task: TaskId, message: &str) {
        tracing::warn!(component, task, "{message}");
        let now = self.wall_clock.now().as_nanos() / 1_000_000;
        let mut errors = lock(&self.errors);
        let known = errors.iter_mut().find(|error| error.component == component && error.message == message);
        if let Some(known) = known {
            known.count += 1;
            known.task = task;
            known.last_unix_ms = now;
            return;
        }
        if errors.len() == MOST_ERRORS {
            errors.pop_front();
        }
        errors.push_back(ErrorReport {
            component: component.to_owned(),
            task,
            message: message.to_owned(),
            count: 1,
            last_unix_ms: now,
        });
    }

    /// Counts and lists an error of a task.
    pub(crate) fn report(&self, component: &str, task: TaskId, stats: &TaskStats, message: &str) {
        add(&stats.errors, 1);
        self.list_error(component, task, message);
    }

    /// The listed errors, oldest first.
    pub(crate) fn errors(&self) -> Vec<ErrorReport> {
        lock(&self.errors).iter().cloned().collect()
    }

    /// Makes the run fail at its end; the first reason stands.
    pub(crate) fn mark_failed(&self, code: &'static str, message: String) {
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
