//! What a task is doing: whether a call of user code runs, and whether it waits for room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// Whether a task runs user code, and since when, for whoever watches that it goes on.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Microseconds since the worker's start, plus 1; 0 when no call runs.
    since: AtomicU64,
    calls: AtomicU64,
    /// The time since which an order waits for the running call, encoded as in `since`.
    holds_up_since: AtomicU64,
}

impl Activity {
    /// A call, or a run of calls, begins.
    pub(crate) fn begin(&self, now: Duration) {
        self.since.store(now.as_micros() as u64 + 1, Ordering::Relaxed);
    }

    /// One of a run of calls came back.
    #[inline]
    pub(crate) fn progress(&self) {
        // Only the task itself writes.
        self.calls.store(self.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// No call runs.
    pub(crate) fn end(&self) {
        self.progress();
        self.since.store(0, Ordering::Relaxed);
        if self.holds_up_since.load(Ordering::Relaxed) > 0 {
            self.holds_up_since.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that an order waits for the end of the running call.
    pub(crate) fn hold_up(&self, now: Duration) {
        if self.holds_up_since.load(Ordering::Relaxed) == 0 {
            self.holds_up_since.store(now.as_micros() as u64 + 1, Ordering::Relaxed);
        }
    }

    /// The time since which an order has waited for the running call.
    pub(crate) fn holds_up_since(&self) -> Option<Duration> {
        self.holds_up_since.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_micros)
    }

    /// If a call runs: when the run of calls began, and how many calls came back so far.
    pub(crate) fn running(&self) -> Option<(Duration, u64)> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        Some((Duration::from_micros(since), self.calls.load(Ordering::Relaxed)))
    }
}

/// How long a task could not go on because it waited for room at those it sends to.
///
/// The task alone writes. The clock is read where a wait begins and ends.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Nanoseconds of all waits that are over.
    total: AtomicU64,
    /// When the present one began, in nanoseconds since the worker's start, plus 1; 0 when there is none.
    since: AtomicU64,
    /// The most that was answered so far.
    told: AtomicU64,
}

impl Waiting {
    /// A wait begins, unless one has begun already.
    pub(crate) fn begin(&self, clock: Clock) {
        if self.since.load(Ordering::Relaxed) == 0 {
            self.since.store(nanos(clock) + 1, Ordering::Relaxed);
        }
    }

    /// The wait is over, if there was one.
    #[inline]
    pub(crate) fn end(&self, clock: Clock) {
        let since = self.since.load(Ordering::Relaxed);
        if since > 0 {
            self.since.store(0, Ordering::Relaxed);
            self.total.fetch_add((nanos(clock) + 1).saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// Nanoseconds so far, with those of a wait that is not over. Never less than it was before.
    pub(crate) fn total(&self, clock: Clock) -> u64 {
        let total = self.total.load(Ordering::Relaxed);
        let since = self.since.load(Ordering::Relaxed);
        let present = if since > 0 { (nanos(clock) + 1).saturating_sub(since) } else { 0 };
        // A wait that ends between the two looks counts once, or only at the next look.
        self.told.fetch_max(total + present, Ordering::Relaxed).max(total + present)
    }
}

fn nanos(clock: Clock) -> u64 {
    clock.now().as_nanos() as u64
}
