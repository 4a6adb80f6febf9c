//! Exact counts of one task, by stream, published once a batch.

mod activity;
mod report;
mod streams;
mod user;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use galerna_topology_api::{Histogram, Metrics, Retrying, TaskId};

use crate::exchange::Exchange;

pub(crate) use activity::{Activity, Waiting};
pub(crate) use report::{Counted, report};
pub(crate) use streams::{Counts, InStreams, StreamCounts, StreamStats};

/// The position of a source has at most so many characters; the rest is cut off.
const LONGEST_POSITION: usize = 200;

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
    /// The tuples that a reliable spout emits again, if there are any.
    pub(crate) retrying: Mutex<Option<Retrying>>,
    /// Open trees of a spout, tuples that a bolt keeps.
    pub(crate) pending: AtomicU64,
    /// Tuples that have arrived and are not executed yet; the inbox counts them.
    pub(crate) queued: Arc<AtomicU64>,
    /// How much may be under way to the task, by the present limits of all who send to it.
    pub(crate) queue_capacity: QueueCapacity,
    pub(crate) waiting: Waiting,
    pub(crate) latencies: Arc<Latencies>,
    /// What the component counts itself.
    pub(crate) metrics: Metrics,
    pub(crate) activity: Activity,
    pub(crate) source: Source,
}

/// The latencies of the tasks of one component in one lane, in nanoseconds. They share them: nobody asks for those of
/// one task, and thousands of tasks would need much memory.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// One call per batch.
    pub(crate) execute: Histogram,
    /// From the call of `execute` to the ack: each tuple that a bolt kept, and the one call per batch that is timed
    /// if its tuple was acked automatically.
    pub(crate) process: Histogram,
    /// Each completed tree.
    pub(crate) complete: Histogram,
}

/// Picks latencies that several tasks share, each once.
#[derive(Debug, Default)]
pub(crate) struct Once(BTreeSet<*const Latencies>);

impl Once {
    /// The latencies of a task, if no other task has had them.
    pub(crate) fn pick<'a>(&mut self, stats: &'a TaskStats) -> Option<&'a Latencies> {
        self.0.insert(Arc::as_ptr(&stats.latencies)).then_some(&*stats.latencies)
    }
}

/// How much may be under way to a bolt task, by the limits of all who send to it as they are when it is asked.
#[derive(Debug, Default)]
pub(crate) struct QueueCapacity(Option<(Weak<Exchange>, TaskId)>);

impl QueueCapacity {
    pub(crate) fn of(exchange: &Arc<Exchange>, task: TaskId) -> Self {
        Self(Some((Arc::downgrade(exchange), task)))
    }

    fn get(&self) -> u64 {
        let of = |(exchange, task): &(Weak<Exchange>, TaskId)| Some(exchange.upgrade()?.capacity(*task));
        self.0.as_ref().and_then(of).unwrap_or_default()
    }
}

/// The position of a spout in its source, as the spout reports it.
#[derive(Debug, Default)]
pub(crate) struct Source(Mutex<Option<(String, Option<u64>)>>);

impl Source {
    fn lock(&self) -> MutexGuard<'_, Option<(String, Option<u64>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what was said before.
    pub(crate) fn set(&self, position: &str, lag: Option<u64>) {
        let mut source = self.lock();
        let (text, known_lag) = source.get_or_insert_default();
        text.clear();
        text.extend(position.chars().take(LONGEST_POSITION));
        *known_lag = lag;
    }

    /// The position and what is not read yet.
    pub(crate) fn get(&self) -> Option<(String, Option<u64>)> {
        self.lock().clone()
    }
}

impl TaskStats {
    /// Publishes which tuples a reliable spout emits again.
    pub(crate) fn set_retrying(&self, retrying: Option<Retrying>) {
        *self.retrying.lock().unwrap_or_else(PoisonError::into_inner) = retrying;
    }

    /// The tuples that a reliable spout emits again, if there are any.
    pub(crate) fn retrying(&self) -> Option<Retrying> {
        self.retrying.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

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
