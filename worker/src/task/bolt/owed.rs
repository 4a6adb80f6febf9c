//! The credit that a bolt gives back while it executes a batch, and the pace that it reports.

use std::time::Duration;

use galerna_topology_api::engine::Batch;

use crate::credit::Progress;
use crate::message::{CreditReturn, Delivery};

/// The credit that the receiver of a batch owes the sender. The receiver reports its progress with it.
pub(super) struct Owed {
    credit: CreditReturn,
    weight: usize,
    /// The rows whose credit is not given back yet.
    rows: usize,
}

impl Owed {
    /// The batch of a delivery, and the credit owed for its rows.
    pub(super) fn of(delivery: Delivery) -> (Batch, Self) {
        let Delivery { batch, weight, credit } = delivery;
        let rows = batch.rows;
        (batch, Self { credit, weight, rows })
    }

    /// The credit limit of sender and receiver.
    pub(super) fn limit(&self) -> u32 {
        self.credit.limit()
    }

    /// Gives back the weight of executed rows; `left` rows are not executed yet.
    pub(super) fn pay(&mut self, left: usize, progress: Progress) {
        if left < self.rows {
            let rest = self.weight * left / self.rows;
            self.credit.give_back(self.weight - rest, progress);
            (self.weight, self.rows) = (rest, left);
        }
    }

    /// Gives back all that is owed.
    pub(super) fn pay_all(&mut self) {
        if self.weight > 0 {
            self.credit.give_back(std::mem::take(&mut self.weight), Progress::default());
        }
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
