//! Credits: how much a task may send to another before that one has worked some of it off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use galerna_topology_api::Value;

/// What a new pair of tasks starts with, in rows.
const FIRST: i64 = 1024;
/// What a pair grows to at most.
const MOST: i64 = 16 * 1024;
/// Bytes outside the rows that weigh as much as a row.
const BYTES_PER_ROW: usize = 512;

/// The credit of one pair of tasks, shared by both sides.
///
/// A batch may be sent while any credit is left, so that one of any size gets through; what it
/// weighs is taken off then, and given back when the receiver is done with it.
#[derive(Debug)]
pub(crate) struct Credit {
    left: AtomicI64,
    size: AtomicI64,
    sender: AtomicWaker,
}

impl Default for Credit {
    fn default() -> Self {
        Self { left: AtomicI64::new(FIRST), size: AtomicI64::new(FIRST), sender: AtomicWaker::new() }
    }
}

impl Credit {
    /// Takes what a batch weighs, if any credit is left.
    pub(crate) fn try_take(&self, weight: usize) -> bool {
        // Only the sender takes, so that nobody can take between the look and the deed.
        if self.left.load(Ordering::Acquire) <= 0 {
            return false;
        }
        self.left.fetch_sub(weight as i64, Ordering::AcqRel);
        true
    }

    /// Gives back what a batch weighed, and wakes the sender if it waits.
    pub(crate) fn give_back(&self, weight: usize) {
        let before = self.left.fetch_add(weight as i64, Ordering::AcqRel);
        if before <= 0 && before + weight as i64 > 0 {
            self.sender.wake();
        }
    }

    /// Has `waker` woken when there is credit again. Look again after calling this.
    pub(crate) fn register(&self, waker: &Waker) {
        self.sender.register(waker);
    }

    /// Doubles the credit: the receiver works fast, and longer runs make both sides wake less.
    pub(crate) fn grow(&self) {
        let size = self.size.load(Ordering::Relaxed);
        if size < MOST {
            self.size.store(size * 2, Ordering::Relaxed);
            self.left.fetch_add(size, Ordering::AcqRel);
        }
    }
}

/// What the values of a row weigh beyond the row itself, in rows.
#[inline]
pub(crate) fn extra_weight(values: &[Value]) -> usize {
    let mut bytes = 0;
    for value in values {
        bytes += value.heap_size();
    }
    bytes / BYTES_PER_ROW
}
