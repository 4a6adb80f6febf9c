//! The credits of one lane towards all tasks, and the memory that all rows of a worker may take.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use galerna_topology_api::{TaskId, TopologyConfig};

use super::Signal;
use crate::credit::{Credit, Progress};

/// The memory of the rows that are under way in a worker, in bytes. While more than the limit is used, a lane
/// sends to a task only when nothing is under way between the two.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicI64,
    limit: i64,
}

impl Budget {
    /// The limit without config.
    #[cfg(test)]
    pub(crate) const DEFAULT: i64 = 64 << 20;

    /// The limit that the config of a topology sets.
    pub(crate) fn of(config: &TopologyConfig) -> i64 {
        i64::try_from(config.worker_buffer()).unwrap_or(i64::MAX)
    }

    pub(crate) fn new(limit: i64) -> Self {
        Self { used: AtomicI64::new(0), limit }
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    fn free(&self, bytes: i64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn is_used_up(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }
}

/// Rows that may be sent before the credit and the budget are looked at again.
const MOST_ROOM: u32 = 256;
/// Rows that may be under way between a lane and a task whatever the budget.
const LEAST_ROOM: u32 = 16;

/// See the module. Nothing exists for a task before the lane sends to it.
#[derive(Debug)]
pub(crate) struct LaneCredits {
    tasks: usize,
    /// By task.
    credits: OnceLock<Box<[OnceLock<Box<Credit>>]>>,
    /// Whether credit has come back that the lane waits for.
    has_returned: AtomicBool,
    signal: Arc<Signal>,
    budget: Arc<Budget>,
}

impl LaneCredits {
    pub(super) fn new(tasks: usize, signal: Arc<Signal>, budget: Arc<Budget>) -> Self {
        Self { tasks, credits: OnceLock::new(), has_returned: AtomicBool::new(false), signal, budget }
    }

    /// The credit towards a task.
    #[inline]
    pub(crate) fn towards(&self, task: TaskId) -> &Credit {
        let credits = self.credits.get_or_init(|| (0..self.tasks).map(|_| OnceLock::new()).collect());
        credits[task as usize].get_or_init(Box::default)
    }

    /// The credit towards a task, if the lane has sent to it.
    fn known(&self, task: TaskId) -> Option<&Credit> {
        self.credits.get()?.get(task as usize)?.get().map(|credit| &**credit)
    }

    /// How much may be under way to a task, if the lane has sent to it.
    pub(crate) fn limit(&self, task: TaskId) -> Option<u32> {
        self.known(task).map(Credit::limit)
    }

    /// The weight of the rows that may be sent to a task now; the last row may exceed it. A part of it at most, so that the
    /// budget is looked at again soon.
    #[inline]
    pub(crate) fn room(&self, task: TaskId) -> u32 {
        let credit = self.towards(task);
        let left = credit.left().clamp(0, MOST_ROOM.into()) as u32;
        if !self.budget.is_used_up() {
            left
        } else if credit.under_way() == 0 {
            left.min(LEAST_ROOM)
        } else {
            0
        }
    }

    /// Whether rows may be sent to a task.
    pub(crate) fn has_room(&self, task: TaskId) -> bool {
        self.room(task) > 0
    }

    /// Takes the credit for rows.
    pub(crate) fn take(&self, task: TaskId, weight: usize, bytes: usize) {
        self.take_all([(task, weight, bytes)]);
    }

    /// Takes the credit for rows to several tasks: for each its weight and its memory.
    pub(crate) fn take_all(&self, rows: impl IntoIterator<Item = (TaskId, usize, usize)>) {
        let mut all = 0;
        for (task, weight, bytes) in rows {
            self.towards(task).take(weight, bytes);
            all += bytes;
        }
        self.budget.take(all);
    }

    /// Has the driver of the lane look again when there may be room for rows to a task. Room must be looked for
    /// once more after this.
    pub(super) fn wait_for(&self, task: TaskId) {
        let credit = self.towards(task);
        // Without budget, any returned credit is worth a look.
        let above = if self.budget.is_used_up() { credit.left() } else { 0 };
        credit.wait_above(above);
    }

    /// Gives back the credit of processed rows. A task that the lane never sent to has none.
    pub(crate) fn give_back(&self, task: TaskId, weight: usize, progress: Progress) {
        self.free(self.give_back_rows(task, weight, progress));
    }

    /// Gives back the credit of processed rows. Returns their memory, which counts as used until it is freed.
    pub(super) fn give_back_rows(&self, task: TaskId, weight: usize, progress: Progress) -> i64 {
        let Some(credit) = self.known(task) else { return 0 };
        let returned = credit.give_back(weight, progress);
        if returned.wakes {
            self.note_returned();
        }
        returned.bytes
    }

    /// Memory of processed rows counts as used no more.
    pub(super) fn free(&self, bytes: i64) {
        if bytes != 0 {
            self.budget.free(bytes);
        }
    }

    /// The task is lost with all that was under way to it.
    pub(crate) fn refill(&self, task: TaskId) {
        if let Some(credit) = self.known(task) {
            self.budget.free(credit.refill());
            self.note_returned();
        }
    }

    /// The lane has ended. What is under way from it counts no more.
    pub(crate) fn retire(&self) {
        for credit in self.credits.get().into_iter().flatten().filter_map(OnceLock::get) {
            self.budget.free(credit.forget_bytes());
        }
    }

    fn note_returned(&self) {
        self.has_returned.store(true, Ordering::SeqCst);
        self.signal.wake();
    }

    /// Whether credit has come back that the lane waits for.
    pub(crate) fn has_returned(&self) -> bool {
        self.has_returned.load(Ordering::SeqCst)
    }

    /// The driver is about to look for room.
    pub(super) fn take_returned(&self) {
        if self.has_returned() {
            self.has_returned.store(false, Ordering::SeqCst);
        }
    }
}
