//! The credit that a bolt gives back while it executes a batch, and the pace that it reports.

use std::time::Duration;

use galerna_topology_api::TaskId;

use crate::credit::Progress;
use crate::lane::Lane;
use crate::parcel::Due;

/// The credit that a task owes the senders of a batch. The task reports its progress with it.
pub(super) struct Owed {
    task: TaskId,
    /// What is owed for the rows of the batch, in order.
    dues: Vec<Due>,
    /// The first of them that is not paid.
    next: usize,
    /// The number of rows whose credit is not given back yet.
    rows: usize,
}

impl Owed {
    /// What a task owes for all `rows` of a batch.
    pub(super) fn of(dues: Vec<Due>, rows: usize, task: TaskId) -> Self {
        Self { task, dues, next: 0, rows }
    }

    /// Gives back the weight of executed rows; `left` rows are not executed yet.
    pub(super) fn pay(&mut self, left: usize, progress: Progress, lane: &Lane) {
        let mut executed = self.rows.saturating_sub(left);
        if executed == 0 {
            return;
        }
        self.rows -= executed;
        let mut repayment = lane.repay(self.task, progress);
        while executed > 0
            && let Some(due) = self.dues.get_mut(self.next)
        {
            let rows = executed.min(due.rows as usize);
            executed -= rows;
            if rows == due.rows as usize {
                repayment.give_back(&due.origin, due.weight as usize);
                self.next += 1;
            } else {
                let rest = due.weight as usize * (due.rows as usize - rows) / due.rows as usize;
                repayment.give_back(&due.origin, due.weight as usize - rest);
                (due.rows, due.weight) = (due.rows - rows as u32, rest as u32);
            }
        }
    }

    /// Gives back all that is owed. Returns the memory.
    pub(super) fn pay_all(mut self, lane: &Lane) -> Vec<Due> {
        self.pay(0, Progress::default(), lane);
        self.dues
    }
}

/// The time per tuple of a task, measured over its latest calls.
#[derive(Debug, Default)]
pub(super) struct Pace {
    time: Duration,
    rows: u32,
}

impl Pace {
    /// The most tuples to remember, and the longest time.
    const ROWS: u32 = 256;
    const TIME: Duration = Duration::from_millis(16);

    /// Notes that calls for `rows` tuples took `time`.
    pub(super) fn note(&mut self, rows: usize, time: Duration) {
        self.time += time;
        self.rows = self.rows.saturating_add(rows as u32);
        while self.rows > 1 && (self.rows > Self::ROWS || self.time > Self::TIME) {
            self.time /= 2;
            self.rows /= 2;
        }
    }

    /// The time per tuple.
    pub(super) fn get(&self) -> Duration {
        self.time / self.rows.max(1)
    }
}
