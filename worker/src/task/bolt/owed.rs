//! The credit that a bolt gives back while it executes a batch.

use crate::message::{CreditReturn, Delivery};
use galerna_topology_api::engine::Batch;

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
    pub(super) fn pay(&mut self, left: usize) {
        if left < self.rows {
            let rest = self.weight * left / self.rows;
            self.credit.give_back(self.weight - rest);
            (self.weight, self.rows) = (rest, left);
        }
    }

    /// Gives back everything.
    pub(super) fn pay_all(&mut self) {
        if self.weight > 0 {
            self.credit.give_back(std::mem::take(&mut self.weight));
        }
    }
}
