//! Credits: how much a task may send to another before that one has worked some of it off.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use galerna_topology_api::Value;

use crate::routing::Stray;
use crate::wire::DEEPEST;

/// What a new pair of tasks starts with, in rows.
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

/// The credit of one pair of tasks, shared by both sides.
///
/// A batch may be sent while any credit is left, so a batch of any size gets through. The sender takes the
/// weight of the batch; the receiver gives the weight back as it processes the rows.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicI64,
    size: AtomicI64,
    /// The threshold: `give_back` wakes the sender when `left` rises above it.
    wake_above: AtomicI64,
    /// The receiver's time per row in nanoseconds; 0 while unknown.
    pace: AtomicU64,
    /// Whether the receiver ran out of rows since the last call of `take_progress`.
    was_idle: AtomicBool,
    sender: AtomicWaker,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(FIRST.into()),
            size: AtomicI64::new(FIRST.into()),
            wake_above: AtomicI64::new(0),
            pace: AtomicU64::new(0),
            was_idle: AtomicBool::new(false),
            sender: AtomicWaker::new(),
        }
    }
}

impl Credit {
    /// Whether any credit is left, so that a batch may be sent. Only the sender takes credit, so the credit
    /// does not shrink between this call and [`take`](Self::take).
    pub(crate) fn has_any(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }

    /// Takes the weight of a batch.
    pub(crate) fn take(&self, weight: usize) {
        self.left.fetch_sub(weight as i64, Ordering::AcqRel);
    }

    /// Gives back the weight of processed rows, and wakes the sender if its threshold is passed.
    pub(crate) fn give_back(&self, weight: usize, progress: Progress) {
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
        // Sequentially consistent with `register`: either the sender sees the credit given back here, or this
        // call sees the sender's threshold.
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, given).unwrap_or_default();
        let above = self.wake_above.load(Ordering::SeqCst);
        if before <= above && before + weight as i64 > above {
            self.sender.wake();
        }
    }

    /// Gives back all: the receiver is lost with what was under way to it.
    pub(crate) fn refill(&self) {
        // As in `give_back`, the size is read after what is left, because it may grow meanwhile.
        let all = |_| Some(self.size.load(Ordering::Relaxed));
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, all);
        self.sender.wake();
    }

    /// Wakes `waker` when more than `above` is left. The caller must check the credit after this call.
    pub(crate) fn register(&self, waker: &Waker, above: i64) {
        self.wake_above.store(above, Ordering::SeqCst);
        self.sender.register(waker);
    }

    /// The threshold for [`register`](Self::register) at which at most this much is under way, and a
    /// batch may be sent.
    pub(crate) fn above(&self, under_way: u32) -> i64 {
        (self.size.load(Ordering::Relaxed) - i64::from(under_way) - 1).max(0)
    }

    /// Whether more than `above` is left. If not, the next `give_back` beyond `above` wakes the registered sender.
    pub(crate) fn is_above(&self, above: i64) -> bool {
        self.left.load(Ordering::SeqCst) > above
    }

    /// The latest report of the receiver. `is_idle` is true if the receiver ran out of rows since the last
    /// call.
    pub(crate) fn take_progress(&self) -> Progress {
        let pace = Duration::from_nanos(self.pace.load(Ordering::Relaxed));
        let is_idle = self.was_idle.load(Ordering::Relaxed) && self.was_idle.swap(false, Ordering::Relaxed);
        Progress { pace, is_idle }
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

/// What values weigh beyond their rows, in rows.
///
/// # Errors
/// When one is nested too deeply to cross a link.
#[inline(always)]
pub(crate) fn weigh(values: &[Value]) -> Result<usize, Stray> {
    let mut bytes = 0;
    for value in values {
        if let Value::List(_) | Value::Map(_) = value
            && !is_shallow(value, DEEPEST)
        {
            return Err(Stray::TooDeep(DEEPEST));
        }
        bytes += value.heap_size();
    }
    Ok(bytes / BYTES_PER_ROW)
}

/// The weight of values beyond their rows, in rows. [`weigh`] must have accepted the values.
pub(crate) fn bytes_weight(values: &[Value]) -> usize {
    values.iter().map(Value::heap_size).sum::<usize>() / BYTES_PER_ROW
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
    use std::sync::{Arc, Barrier};
    use std::task::Wake;
    use std::thread;

    use super::*;

    /// More than the whole credit is never under way, but nothing may be sent then.
    #[test]
    fn sender_that_wants_more_than_the_credit_is_woken_when_it_may_send() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (credit, woken) = (Credit::default(), Arc::new(Woken(AtomicBool::new(false))));
        credit.take(FIRST as usize);
        credit.register(&woken.clone().into(), credit.above(2 * FIRST));
        credit.give_back(1, Progress::default());
        assert!(credit.has_any() && woken.0.load(Ordering::Relaxed));
    }

    /// The receiver gives back all that was taken while the sender lets the credit grow.
    #[test]
    fn credit_that_grows_while_it_is_given_back_loses_nothing() {
        const ROUNDS: usize = 20_000;
        let credits: Vec<Credit> = (0..ROUNDS).map(|_| Credit::default()).collect();
        credits.iter().for_each(|credit| credit.take(FIRST as usize));
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in credits.chunks(100) {
                    barrier.wait();
                    for credit in round {
                        (0..FIRST / 64).for_each(|_| credit.give_back(64, Progress::default()));
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
