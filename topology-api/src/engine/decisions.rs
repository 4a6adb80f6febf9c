//! What a call for several rows of a batch decides about each of them.

use std::mem;
use std::ops::Range;

use super::RowAnchors;
use crate::error::Error;

/// What a call decided about one of its rows. A row that was neither kept nor failed is acked when
/// the call succeeds.
#[derive(Debug, Default)]
pub struct Decision {
    /// The slot that the row was kept in.
    pub kept: Option<u32>,
    /// Why the row failed. A row that was kept and failed has failed.
    pub error: Option<Error>,
}

/// The decisions of the running call, row by row. Belongs to the engine, which asks after a panic
/// which rows the call was given.
#[derive(Debug, Default)]
pub struct Decisions {
    /// The number of the first row within its batch.
    first: usize,
    rows: Vec<Decision>,
    /// Whether there are rows whose emits are withdrawn.
    withdraws: bool,
}

/// Stands for a row that the call was not given: the call fails, and what was emitted for the row is
/// withdrawn.
pub(crate) const NO_ROW: RowAnchors = RowAnchors::Input(u32::MAX);

impl Decisions {
    /// A call begins that is given these rows of a batch.
    pub(crate) fn begin(&mut self, rows: Range<usize>) {
        self.first = rows.start;
        self.withdraws = false;
        self.rows.clear();
        self.rows.resize_with(rows.len(), Decision::default);
    }

    /// The decision about a row, by its number within the batch.
    pub fn of(&mut self, row: usize) -> Option<&mut Decision> {
        self.rows.get_mut(row.checked_sub(self.first)?)
    }

    /// Fails a row. The first reason stands.
    pub fn fail(&mut self, row: usize, error: Error) {
        if let Some(decision) = self.of(row) {
            decision.error.get_or_insert(error);
            self.withdraws = true;
        }
    }

    /// The call named a row that it was not given.
    pub(crate) fn miss(&mut self) {
        self.withdraws = true;
    }

    /// The call is over: takes the decisions, one for each row that it was given.
    pub fn take(&mut self) -> Vec<Decision> {
        self.withdraws = false;
        mem::take(&mut self.rows)
    }

    /// Whether some emits are to be withdrawn.
    pub(crate) fn withdraws(&self) -> bool {
        self.withdraws
    }

    /// Whether a row with these anchors is withdrawn: the only input that it was emitted for has failed.
    pub(crate) fn is_withdrawn(&self, anchors: RowAnchors) -> bool {
        let RowAnchors::Input(row) = anchors else { return false };
        let place = (row as usize).checked_sub(self.first);
        place.and_then(|place| self.rows.get(place)).is_none_or(|decision| decision.error.is_some())
    }
}
