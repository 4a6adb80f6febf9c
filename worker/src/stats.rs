//! Exact counts of one task, by stream, published once a batch.

mod activity;
mod report;
mod streams;
mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galerna_topology_api::{Histogram, Metrics};

pub(crate) use activity::{Activity, Waiting};
pub(crate) use report::{Counted, report};
pub(crate) use streams::{Counts, InStreams, StreamCounts, StreamStats};

/// Counts, gauges and latencies of one task, read from anywhere.
#[derive(Debug, Default)]
pub(crate) struct TaskStats {
    /// The task's own streams, in the order in which they are declared, and behind them those that
    /// it receives: see [`InStreams`].
    pub(crate) streams: Box<[StreamStats]>,
    pub(crate) replayed: AtomicU64,
    pub(crate) gave_up: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// Open trees of a spout, tuples that a bolt keeps.
    pub(crate) pending: AtomicU64,
    /// Tuples that have arrived and are not executed yet; the inbox counts them.
    pub(crate) queued: Arc<AtomicU64>,
    /// How much may be under way to the task, by the present limits of all who send to it.
    pub(crate) queue_capacity: AtomicU64,
    pub(crate) waiting: Waiting,
    /// One call per batch, in nanoseconds.
    pub(crate) execute_latency: Histogram,
    /// From the call of `execute` to the ack, in nanoseconds: each tuple that a bolt kept, and the one
    /// call per batch that is timed if its tuple was acked automatically.
    pub(crate) process_latency: Histogram,
    /// Each completed tree, in nanoseconds.
    pub(crate) complete_latency: Histogram,
    /// What the component counts itself.
    pub(crate) metrics: Metrics,
    pub(crate) activity: Activity,
}

impl TaskStats {
    /// The counts of all streams together.
    pub(crate) fn totals(&self) -> StreamCounts {
        let mut totals = StreamCounts::default();
        self.streams.iter().for_each(|stream| totals += stream.counts());
        totals
    }
}

/// Adds to a counter that one task alone writes.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    if count > 0 {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}
