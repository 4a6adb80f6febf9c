//! Credits: how much a task may send to another before that one has worked some of it off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use galerna_topology_api::Value;

use crate::routing::Stray;
use crate::wire::DEEPEST;

/// What a new pair of tasks starts with, in rows.
pub(crate) const FIRST: u32 = 1024;
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
        Self { left: AtomicI64::new(FIRST.into()), size: AtomicI64::new(FIRST.into()), sender: AtomicWaker::new() }
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

    /// Takes what a batch weighs, whatever is left: it was sent before, and is sent again.
    pub(crate) fn take(&self, weight: usize) {
        self.left.fetch_sub(weight as i64, Ordering::AcqRel);
    }

    /// Gives back what a batch weighed, and wakes the sender if it waits.
    pub(crate) fn give_back(&self, weight: usize) {
        let size = self.size.load(Ordering::Relaxed);
        // After a refill, what was under way then may come back all the same: there is never more
        // than the whole.
        let given = |left: i64| Some((left + weight as i64).min(size));
        let before = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, given).unwrap_or_default();
        if before <= 0 && before + weight as i64 > 0 {
            self.sender.wake();
        }
    }

    /// Gives back all: the receiver is lost with what was under way to it.
    pub(crate) fn refill(&self) {
        self.left.store(self.size.load(Ordering::Relaxed), Ordering::Release);
        self.sender.wake();
    }

    /// Has `waker` woken when there is credit again. Look again after calling this.
    pub(crate) fn register(&self, waker: &Waker) {
        self.sender.register(waker);
    }

    /// How much may be under way at most, as it stands.
    pub(crate) fn limit(&self) -> u32 {
        self.size.load(Ordering::Relaxed) as u32
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

/// What values weigh beyond their rows, in rows.
///
/// # Errors
/// When one is nested too deeply to cross a link.
#[inline]
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

fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::List(items) => levels > 0 && items.iter().all(|item| is_shallow(item, levels - 1)),
        Value::Map(entries) => levels > 0 && entries.values().all(|item| is_shallow(item, levels - 1)),
        _ => true,
    }
}
