//! The credit that a bolt gives back while it executes a batch, with how fast it is.

use std::time::Duration;

use galerna_topology_api::engine::Batch;

use crate::credit::Progress;
use crate::message::{CreditReturn, Delivery};

/// The credit that a batch owes its sender, who learns by it how fast the rows are processed.
pub(super) struct Owed {
    credit: CreditReturn,
    weight: usize,
    /// Rows that are not paid for.
    rows: usize,
}

impl Owed {
    /// The rows of a delivery, and what is owed for them.
    pub(super) fn of(delivery: Delivery) -> (Batch, Self) {
        let Delivery { batch, weight, credit } = delivery;
        let rows = batch.rows;
        (batch, Self { credit, weight, rows })
    }

    /// How much may be under way between sender and receiver.
    pub(super) fn limit(&self) -> u32 {
        self.credit.limit()
    }

    /// Gives back what the rows weigh that have been executed, this many being left.
    pub(super) fn pay(&mut self, left: usize, progress: Progress) {
        if left < self.rows {
            let rest = self.weight * left / self.rows;
            self.credit.give_back(self.weight - rest, progress);
            (self.weight, self.rows) = (rest, left);
        }
    }

    /// Gives back everything.
    pub(super) fn pay_all(&mut self) {
        if self.weight > 0 {
            self.credit.give_back(std::mem::take(&mut self.weight), Progress::default());
        }
    }
}

/// How long a task takes for a tuple, by the latest calls.
#[derive(Debug, Default)]
pub(super) struct Pace {
    time: Duration,
    rows: u32,
}

impl Pace {
    /// Calls for so many tuples are remembered, or for this long.
    const ROWS: u32 = 256;
    const TIME: Duration = Duration::from_millis(16);

    /// Notes how long calls for some tuples took.
    pub(super) fn note(&mut self, rows: usize, time: Duration) {
        self.time += time;
        self.rows = self.rows.saturating_add(rows as u32);
        while self.rows > 1 && (self.rows > Self::ROWS || self.time > Self::TIME) {
            self.time /= 2;
            self.rows /= 2;
        }
    }

    /// The time for a tuple.
    pub(super) fn get(&self) -> Duration {
        self.time / self.rows.max(1)
    }
}
