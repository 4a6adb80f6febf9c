//! Credits: how much a lane may send to a task before the task has worked some of it off.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::Value;

use crate::routing::Stray;
use crate::wire::DEEPEST;

/// What a new pair of lane and task starts with, in rows.
pub(crate) const FIRST: u32 = 1024;
/// What a pair grows to at most.
pub(crate) const MOST: u32 = 16 * 1024;
/// Bytes outside the rows that weigh as much as a row.
const BYTES_PER_ROW: usize = 512;

/// The report of a receiver with returned credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The receiver's time per row; zero if unknown.
    pub(crate) pace: Duration,
    /// Whether the receiver has no more rows to process.
    pub(crate) is_idle: bool,
}

/// The credit of one lane towards one task, shared by both sides.
///
/// Rows may be sent while any credit is left, so a row of any size gets through. The sender takes the weight of
/// the rows; the receiver gives the weight back as it processes them.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicI64,
    size: AtomicI64,
    /// The threshold: `give_back` tells the sender when `left` rises above it.
    wake_above: AtomicI64,
    /// The receiver's time per row in nanoseconds; 0 while unknown.
    pace: AtomicU64,
    /// Whether the receiver ran out of rows since the last call of `take_progress`.
    was_idle: AtomicBool,
    /// The memory of the rows under way, about.
    bytes: AtomicI64,
}

/// Nobody waits for credit.
const NEVER: i64 = i64::MAX;

impl Default for Credit {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(FIRST.into()),
            size: AtomicI64::new(FIRST.into()),
            wake_above: AtomicI64::new(NEVER),
            pace: AtomicU64::new(0),
            was_idle: AtomicBool::new(false),
            bytes: AtomicI64::new(0),
        }
    }
}

/// The effect of returned credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    /// Whether the sender waits for this.
    pub(crate) wakes: bool,
    /// The memory that is free again.
    pub(crate) bytes: i64,
}

impl Credit {
    /// The credit that is left. Only the sender takes credit, so it does not shrink before the next
    /// [`take`](Self::take).
    #[inline]
    pub(crate) fn left(&self) -> i64 {
        self.left.load(Ordering::SeqCst)
    }

    /// Takes the weight of rows, and notes their memory.
    pub(crate) fn take(&self, weight: usize, bytes: usize) {
        self.bytes.fetch_add(bytes as i64, Ordering::Relaxed);
        self.left.fetch_sub(weight as i64, Ordering::AcqRel);
    }

    /// Gives back the weight of processed rows.
    pub(crate) fn give_back(&self, weight: usize, progress: Progress) -> Returned {
        if !progress.pace.is_zero() {
            self.pace.store(progress.pace.as_nanos() as u64, Ordering::Relaxed);
        }
        if progress.is_idle {
            self.was_idle.store(true, Ordering::Relaxed);
        }
        // After a refill, what was under way then may come back all the same: there is never more
        // than the whole. The size is read after what is left, and `grow` changes it before: a size
        // that is out of date belongs to a `left` that is, and then the update tries again.
        let given = |left: i64| Some((left + weight as i64).min(self.size.load(Ordering::Relaxed)));
        // Sequentially consistent with `wait_above`: either the sender sees the credit given back here, or this
        // call sees the sender's threshold.
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, given).unwrap_or_default();
        let above = self.wake_above.load(Ordering::SeqCst);
        // Also where more than that was left before: the sender may have come to wait for more since.
        let wakes = above != NEVER && before + weight as i64 > above;
        if wakes {
            // The sender says anew what it waits for, or has done so already.
            let _ = self.wake_above.compare_exchange(above, NEVER, Ordering::SeqCst, Ordering::SeqCst);
        }
        Returned { wakes, bytes: self.free(self.size.load(Ordering::Relaxed) - before, weight as i64) }
    }

    /// The share of the memory that `weight` of `under_way` rows have had. The share of the last rows is the rest,
    /// so that no error adds up.
    fn free(&self, under_way: i64, weight: i64) -> i64 {
        if weight >= under_way {
            return self.bytes.swap(0, Ordering::Relaxed);
        }
        let share = self.bytes.load(Ordering::Relaxed).max(0) / under_way.max(1) * weight;
        self.bytes.fetch_sub(share, Ordering::Relaxed);
        share
    }

    /// Gives back all: the receiver is lost with what was under way to it. Returns the memory that is free again.
    pub(crate) fn refill(&self) -> i64 {
        // As in `give_back`, the size is read after what is left, because it may grow meanwhile.
        let all = |_| Some(self.size.load(Ordering::Relaxed));
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, all);
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// The memory of the rows under way, which counts no more.
    pub(crate) fn forget_bytes(&self) -> i64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// The sender waits until more than `above` is left, or less if it waits for less already. The sender must check the
    /// credit after this call, and say anew what it waits for whenever it is woken.
    pub(crate) fn wait_above(&self, above: i64) {
        self.wake_above.fetch_min(above, Ordering::SeqCst);
    }

    /// The threshold for [`wait_above`](Self::wait_above) at which at most this much is under way, and rows may
    /// be sent.
    pub(crate) fn above(&self, under_way: u32) -> i64 {
        (self.size.load(Ordering::Relaxed) - i64::from(under_way) - 1).max(0)
    }

    /// The latest report of the receiver. `is_idle` is true if the receiver ran out of rows since the last
    /// call.
    pub(crate) fn take_progress(&self) -> Progress {
        let pace = Duration::from_nanos(self.pace.load(Ordering::Relaxed));
        let is_idle = self.was_idle.load(Ordering::Relaxed) && self.was_idle.swap(false, Ordering::Relaxed);
        Progress { pace, is_idle }
    }

    /// Whether the receiver processes as many rows as may be under way in less than this time.
    pub(crate) fn is_short(&self, time: Duration) -> bool {
        let pace = self.pace.load(Ordering::Relaxed);
        pace > 0 && pace.saturating_mul(u64::from(self.limit())) < time.as_nanos() as u64
    }

    /// The weight of the rows that were sent and are not processed yet.
    pub(crate) fn under_way(&self) -> u32 {
        let left = self.left.load(Ordering::SeqCst);
        (self.size.load(Ordering::Relaxed) - left).clamp(0, u32::MAX.into()) as u32
    }

    /// How much may be under way at most, as it stands.
    pub(crate) fn limit(&self) -> u32 {
        self.size.load(Ordering::Relaxed) as u32
    }

    /// Doubles the credit: the receiver works fast, and longer runs make both sides wake less.
    pub(crate) fn grow(&self) {
        let size = self.size.load(Ordering::Relaxed);
        if size < MOST.into() {
            self.size.store(size * 2, Ordering::Relaxed);
            self.left.fetch_add(size, Ordering::AcqRel);
        }
    }
}

/// The heap memory of a row's values, in bytes.
///
/// # Errors
/// When a value is nested too deeply to cross a link.
#[inline(always)]
pub(crate) fn heap_of(values: &[Value]) -> Result<usize, Stray> {
    let mut bytes = 0;
    for value in values {
        if let Value::List(_) | Value::Map(_) = value
            && !is_shallow(value, DEEPEST)
        {
            return Err(Stray::TooDeep(DEEPEST));
        }
        bytes += value.heap_size();
    }
    Ok(bytes)
}

/// The weight of a row beyond one, for its heap memory.
#[inline(always)]
pub(crate) fn extra_of(heap: usize) -> usize {
    heap / BYTES_PER_ROW
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::List(items) => levels > 0 && items.iter().all(|item| is_shallow(item, levels - 1)),
        Value::Map(entries) => levels > 0 && entries.values().all(|item| is_shallow(item, levels - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    /// More than the whole credit is never under way, but nothing may be sent then.
    #[test]
    fn sender_that_wants_more_than_the_credit_is_woken_when_it_may_send() {
        let credit = Credit::default();
        credit.take(FIRST as usize, 0);
        credit.wait_above(credit.above(2 * FIRST));
        assert!(credit.give_back(1, Progress::default()).wakes && credit.left() > 0);
    }

    #[test]
    fn memory_of_rows_comes_back_with_their_credit() {
        let credit = Credit::default();
        credit.take(10, 1_000);
        credit.take(20, 500);
        let freed = [15, 10, 5].map(|weight| credit.give_back(weight, Progress::default()).bytes);
        assert_eq!(freed.iter().sum::<i64>(), 1_500, "{freed:?}");
        assert!(freed.iter().all(|bytes| *bytes > 100), "{freed:?}");
    }

    /// The receiver gives back all that was taken while the sender lets the credit grow.
    #[test]
    fn credit_that_grows_while_it_is_given_back_loses_nothing() {
        const ROUNDS: usize = 20_000;
        let credits: Vec<Credit> = (0..ROUNDS).map(|_| Credit::default()).collect();
        credits.iter().for_each(|credit| credit.take(FIRST as usize, 0));
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in credits.chunks(100) {
                    barrier.wait();
                    for credit in round {
                        (0..FIRST / 64).for_each(|_| {
                            credit.give_back(64, Progress::default());
                        });
                    }
                }
            });
            for round in credits.chunks(100) {
                barrier.wait();
                for credit in round {
                    (0..4).for_each(|_| credit.grow());
                }
            }
        });
        let lost: Vec<u32> = credits.iter().map(Credit::under_way).filter(|rows| *rows > 0).collect();
        assert_eq!(lost, [0; 0]);
        assert!(credits.iter().all(|credit| credit.limit() == MOST));
    }
}
