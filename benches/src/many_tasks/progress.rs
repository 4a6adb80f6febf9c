//! How far the tasks are: each task counts in a cache line of its own, and the harness adds up.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Options;
use crate::measure::{Moment, ensure_same_sums};
use crate::shapes::Shared;

/// Poll interval of the harness while tuples are under way.
const POLL: Duration = Duration::from_millis(10);
/// Time without a change after which tuples count as lost. Longer than the message time-out of 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counts of a task, written by the task alone. The alignment is that of two cache lines, because
/// processors fetch pairs of lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally {
    /// Tuples that a source emitted or a target executed, and the wrapping sum of the numbers.
    tuples: AtomicU64,
    sum: AtomicI64,
    /// Acked and failed tuples of a source.
    acked: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    #[inline]
    pub(super) fn count(&self, number: i64) {
        increase(&self.tuples);
        self.sum.store(self.sum.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
    }

    pub(super) fn count_ack(&self) {
        increase(&self.acked);
    }

    pub(super) fn count_failure(&self) {
        increase(&self.failed);
    }
}

/// Adds 1 to the counter of a single writer, without the cost of an atomic addition.
#[inline]
fn increase(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// What the tasks and the harness share.
#[derive(Debug)]
pub(super) struct Progress {
    /// The clock, the latencies and the end of the load. The counts in `shared` stay 0.
    pub(super) shared: Shared,
    acked: bool,
    /// Tuples to emit in all.
    tuples: Option<u64>,
    pub(super) sources: Box<[Tally]>,
    pub(super) targets: Box<[Tally]>,
    /// Tasks whose `open` or `prepare` is still to come.
    closed: AtomicU32,
    /// Nanoseconds on the clock of `shared` when the last task was opened.
    pub(super) all_open_at: AtomicI64,
    pub(super) is_open: watch::Sender<bool>,
    /// Sources without tuples left to emit.
    done: AtomicU32,
}

impl Progress {
    pub(super) fn new(options: &Options, acked: bool, began: Instant) -> Self {
        let tallies = |tasks: u32| (0..tasks).map(|_| Tally::default()).collect();
        Self {
            shared: Shared::new(began),
            acked,
            tuples: options.tuples,
            sources: tallies(options.from),
            targets: tallies(options.to),
            closed: AtomicU32::new(options.from + options.to),
            all_open_at: AtomicI64::new(0),
            is_open: watch::Sender::new(false),
            done: AtomicU32::new(0),
        }
    }

    /// Tuples to emit by the source task `index`: an equal share, or no limit.
    pub(super) fn quota(&self, index: usize) -> u64 {
        let sources = self.sources.len() as u64;
        self.tuples.map_or(u64::MAX, |tuples| tuples / sources + u64::from((index as u64) < tuples % sources))
    }

    /// Counts a task as open.
    pub(super) fn count_open(&self) {
        if self.closed.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_open_at.store(self.shared.now(), Ordering::Relaxed);
            self.is_open.send_replace(true);
        }
    }

    /// Counts a source as done, after its last tuple.
    pub(super) fn count_done(&self) {
        // Release, so that the harness sees the last count of the source.
        self.done.fetch_add(1, Ordering::Release);
    }

    /// Waits until all tasks are open.
    pub(super) async fn all_open(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open).await;
    }

    pub(super) fn moment(&self) -> Moment {
        let total = |tallies: &[Tally]| total(tallies, |tally| &tally.tuples);
        Moment::new(total(&self.sources), total(&self.targets))
    }

    /// Waits until the sources are done, and every tuple has arrived and, if tracked, was acked or failed.
    ///
    /// # Errors
    /// When nothing changes for a minute.
    pub(super) async fn processed(&self) -> Result<()> {
        let (mut last, mut changed) = (Counts::default(), Instant::now());
        loop {
            let is_done = self.done.load(Ordering::Acquire) == self.sources.len() as u32;
            let counts = Counts::of(self);
            let Counts { emitted, arrived, settled } = counts;
            if is_done && arrived == emitted && (!self.acked || settled == emitted) {
                return Ok(());
            }
            if counts != last {
                (last, changed) = (counts, Instant::now());
            }
            let found = format!("{emitted} tuples were emitted, {arrived} arrived, {settled} were acked or failed");
            ensure!(changed.elapsed() < PATIENCE, "no progress in {PATIENCE:?}: {found}");
            sleep(POLL).await;
        }
    }

    /// Compares the emitted tuples with the arrived ones.
    ///
    /// # Errors
    /// When counts or sums differ, or a tuple failed.
    pub(super) fn ensure_complete(&self) -> Result<()> {
        let Counts { emitted, arrived, .. } = Counts::of(self);
        ensure!(emitted == arrived, "{emitted} tuples were emitted, {arrived} arrived");
        let sum = |tallies: &[Tally]| {
            tallies.iter().fold(0, |sum: i64, tally| sum.wrapping_add(tally.sum.load(Ordering::Relaxed)))
        };
        ensure_same_sums(sum(&self.sources), sum(&self.targets))?;
        let failed = total(&self.sources, |tally| &tally.failed);
        ensure!(failed == 0, "{failed} of {emitted} tuples failed");
        Ok(())
    }
}

/// Tuples of all tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    emitted: u64,
    arrived: u64,
    settled: u64,
}

impl Counts {
    fn of(progress: &Progress) -> Self {
        let Progress { sources, targets, .. } = progress;
        Self {
            emitted: total(sources, |tally| &tally.tuples),
            arrived: total(targets, |tally| &tally.tuples),
            settled: total(sources, |tally| &tally.acked) + total(sources, |tally| &tally.failed),
        }
    }
}

fn total(tallies: &[Tally], counter: fn(&Tally) -> &AtomicU64) -> u64 {
    tallies.iter().map(|tally| counter(tally).load(Ordering::Relaxed)).sum()
}
