//! The decisions of a call about each row of its batch.

use std::mem;
use std::ops::Range;

use super::RowAnchors;
use crate::error::Error;

/// The decision of a call about one row. If the call succeeds, a row that was neither kept nor failed is
/// acked.
#[derive(Debug, Default)]
pub struct Decision {
    /// The slot of the kept row.
    pub kept: Option<u32>,
    /// The reason why the row failed. A row that was both kept and failed counts as failed.
    pub error: Option<Error>,
}

/// The decisions of the running call, row by row. The engine owns them, because it needs the rows of the
/// call after a panic.
#[derive(Debug, Default)]
pub struct Decisions {
    /// The number of the first row within its batch.
    first: usize,
    rows: Vec<Decision>,
    /// Whether emits of some row are to be withdrawn.
    withdraws: bool,
}

/// The anchor of rows that were emitted for a row outside the batch. The call fails, and the emitted rows
/// are withdrawn.
pub(crate) const NO_ROW: RowAnchors = RowAnchors::Input(u32::MAX);

impl Decisions {
    /// Begins a call for these rows of a batch.
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

    /// Fails a row. Later errors for the same row are ignored.
    pub fn fail(&mut self, row: usize, error: Error) {
        if let Some(decision) = self.of(row) {
            decision.error.get_or_insert(error);
            self.withdraws = true;
        }
    }

    /// Notes that the call named a row outside its batch.
    pub(crate) fn miss(&mut self) {
        self.withdraws = true;
    }

    /// Ends the call and takes its decisions, one for each row.
    pub fn take(&mut self) -> Vec<Decision> {
        self.withdraws = false;
        mem::take(&mut self.rows)
    }

    /// Whether emits of some row are to be withdrawn.
    pub(crate) fn withdraws(&self) -> bool {
        self.withdraws
    }

    /// Whether an emitted row with these anchors is withdrawn, because its only input has failed.
    pub(crate) fn is_withdrawn(&self, anchors: RowAnchors) -> bool {
        let RowAnchors::Input(row) = anchors else { return false };
        let place = (row as usize).checked_sub(self.first);
        place.and_then(|place| self.rows.get(place)).is_none_or(|decision| decision.error.is_some())
    }
}
