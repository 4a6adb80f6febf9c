//! Exact counts of one task, published once a batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::{Histogram, Metrics};

/// Counts and latencies of one task, read from anywhere.
#[derive(Debug, Default)]
pub(crate) struct TaskStats {
    pub(crate) emitted: AtomicU64,
    pub(crate) executed: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) replayed: AtomicU64,
    pub(crate) gave_up: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// One call per batch, in nanoseconds.
    pub(crate) execute_latency: Histogram,
    /// Each completed tree, in nanoseconds.
    pub(crate) complete_latency: Histogram,
    /// What the component counts itself.
    pub(crate) metrics: Metrics,
    pub(crate) activity: Activity,
}

/// Adds to a counter that one task alone writes.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// What a task has counted since it last published.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) emitted: u64,
    pub(crate) executed: u64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// Publishes and starts again from nothing.
    pub(crate) fn publish(&mut self, stats: &TaskStats) {
        add(&stats.emitted, self.emitted);
        add(&stats.executed, self.executed);
        add(&stats.acked, self.acked);
        add(&stats.failed, self.failed);
        *self = Self::default();
    }
}

/// Whether a task runs user code, and since when, for whoever watches that it goes on.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Microseconds since the worker's start, plus 1; 0 when no call runs.
    since: AtomicU64,
    calls: AtomicU64,
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
    }

    /// If a call runs: when the run of calls began, and how many calls came back so far.
    pub(crate) fn running(&self) -> Option<(Duration, u64)> {
        let since = self.since.load(Ordering::Relaxed).checked_sub(1)?;
        Some((Duration::from_micros(since), self.calls.load(Ordering::Relaxed)))
    }
}
