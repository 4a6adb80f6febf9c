//! The credit that a bolt gives back while it executes a batch, and the pace that it reports.

use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Batch;

use crate::credit::Progress;
use crate::message::give_back;
use crate::parcel::{Delivery, Due};

/// The credit that the receiver of a batch owes its senders. The receiver reports its progress with it.
pub(super) struct Owed {
    task: TaskId,
    /// What is owed for the rows whose credit is not given back yet, in order.
    dues: Vec<Due>,
    /// The number of these rows.
    rows: usize,
}

impl Owed {
    /// The batch of a delivery to a task, and the credit owed for its rows.
    pub(super) fn of(delivery: Delivery, task: TaskId) -> (Batch, Self) {
        let (batch, mut dues) = delivery.into_parts();
        dues.reverse();
        let rows = batch.rows;
        (batch, Self { task, dues, rows })
    }

    /// Gives back the weight of executed rows; `left` rows are not executed yet.
    pub(super) fn pay(&mut self, left: usize, progress: Progress) {
        let mut executed = self.rows.saturating_sub(left);
        self.rows -= executed;
        while executed > 0
            && let Some(due) = self.dues.last_mut()
        {
            let rows = executed.min(due.rows as usize);
            executed -= rows;
            if rows == due.rows as usize {
                give_back(&due.origin, self.task, due.weight as usize, progress);
                self.dues.pop();
            } else {
                let rest = due.weight as usize * (due.rows as usize - rows) / due.rows as usize;
                give_back(&due.origin, self.task, due.weight as usize - rest, progress);
                (due.rows, due.weight) = (due.rows - rows as u32, rest as u32);
            }
        }
    }

    /// Gives back all that is owed.
    pub(super) fn pay_all(&mut self) {
        self.pay(0, Progress::default());
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
