//! Emitting from bolts that take many tuples in one call.

use super::{EmitError, Emitter, ManualEmitter, Row, emitter};
use crate::batch_bolt::TupleBatch;
use crate::context::TopologyContext;
use crate::engine::{NO_ROW, RowAnchors, Staging};
use crate::error::Error;
use crate::held::HeldTuple;

/// The emitter of a [`BatchBolt`](crate::BatchBolt), which also acks, fails and keeps the tuples of the batch.
///
/// The methods name a tuple by its number in the batch, from 0. A number beyond the batch fails the call
/// with [`EmitError::NoSuchTuple`].
pub struct BatchEmitter<'a> {
    manual: ManualEmitter<'a>,
    batch: TupleBatch<'a>,
}

/// Makes the emitter for the call of `batch`.
pub(crate) fn batch_emitter<'a>(
    staging: &'a mut Staging,
    context: &'a TopologyContext,
    batch: TupleBatch<'a>,
) -> BatchEmitter<'a> {
    BatchEmitter { manual: emitter(staging, context, None), batch }
}

impl<'a> BatchEmitter<'a> {
    fn staging(&mut self) -> &mut Staging {
        self.manual.0.staging
    }

    /// The row of a tuple's number. Without such a row, the call fails.
    fn row(&mut self, number: usize) -> Option<usize> {
        let row = self.batch.row(number);
        if row.is_none() {
            let len = self.batch.len();
            let staging = self.staging();
            staging.decisions.miss();
            staging.refuse(EmitError::NoSuchTuple { number, len });
        }
        row
    }

    /// The emitter for one tuple: rows are anchored to the tuple, and withdrawn if the tuple fails.
    ///
    /// ```
    /// # use galerna_topology_api::*;
    /// # struct Double;
    /// # impl BatchBolt for Double {
    /// async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
    ///     for (number, tuple) in batch.iter().enumerate() {
    ///         match tuple.i64("n") {
    ///             Ok(n) => out.of(number).emit(values![2 * n]),
    ///             Err(error) => out.fail(number, error),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn of(&mut self, number: usize) -> Emitter<'_> {
        let anchors = self.row(number).map_or(NO_ROW, |row| RowAnchors::Input(row as u32));
        let Emitter { staging, context, .. } = &mut self.manual.0;
        Emitter { staging, context, anchors }
    }

    /// Acks a tuple. The call is optional: `Ok` acks every tuple that was neither failed nor kept. A failed
    /// tuple stays failed; [`ack_held`](Self::ack_held) acks a kept tuple.
    pub fn ack(&mut self, number: usize) {
        self.row(number);
    }

    /// Fails a tuple and lists the error. Later errors for the same tuple are ignored. Rows that
    /// [`of`](Self::of) emitted for the tuple are withdrawn, unless [`room`](Self::room) has handed them over.
    pub fn fail(&mut self, number: usize, error: impl Into<Error>) {
        if let Some(row) = self.row(number) {
            self.staging().decisions.fail(row, error.into());
        }
    }

    /// Keeps a tuple beyond this call, to ack or fail it later.
    ///
    /// As [`ManualEmitter::keep`]. If the call fails the tuple, by `Err` or [`fail`](Self::fail), the
    /// returned `HeldTuple` decides nothing.
    pub fn keep(&mut self, number: usize) -> HeldTuple {
        let (batch, row) = (self.batch, self.row(number));
        let Staging { held, decisions, .. } = self.staging();
        match row.and_then(|row| decisions.of(row)) {
            Some(decision) => {
                let tuple = held.keep(&batch.get(number), decision.kept);
                decision.kept = Some(tuple.slot());
                tuple
            }
            None => held.nothing(batch.source()),
        }
    }

    /// As [`ManualEmitter::ack`].
    pub fn ack_held(&mut self, tuple: HeldTuple) {
        self.manual.ack(tuple);
    }

    /// As [`ManualEmitter::fail`].
    pub fn fail_held(&mut self, tuple: HeldTuple) {
        self.manual.fail(tuple);
    }

    /// As [`ManualEmitter::emit_anchored`]. To anchor a row to several tuples of the batch, keep them first.
    pub fn emit_anchored<'t>(&mut self, anchors: impl IntoIterator<Item = &'t HeldTuple>, row: impl Row) {
        self.manual.emit_anchored(anchors, row);
    }

    /// As [`ManualEmitter::emit_anchored_to`].
    pub fn emit_anchored_to<'t>(
        &mut self,
        stream: &str,
        anchors: impl IntoIterator<Item = &'t HeldTuple>,
        row: impl Row,
    ) {
        self.manual.emit_anchored_to(stream, anchors, row);
    }

    /// As [`Emitter::emit_unanchored`]. The failure of a single tuple does not withdraw the row; the failure
    /// of the call does.
    pub fn emit_unanchored(&mut self, row: impl Row) {
        self.manual.emit_unanchored(row);
    }

    /// As [`emit_unanchored`](Self::emit_unanchored), on a named stream.
    pub fn emit_unanchored_to(&mut self, stream: &str, row: impl Row) {
        self.manual.emit_unanchored_to(stream, row);
    }

    /// Waits until the rows emitted so far have room downstream.
    ///
    /// As [`Emitter::room`]. Rows of tuples that have already failed are withdrawn first.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rows handed over are sent nevertheless.
    pub async fn room(&mut self) {
        self.manual.room().await;
    }

    /// Restarts the time-outs of the trees that a tuple belongs to.
    pub fn reset_timeout(&mut self, number: usize) {
        if self.row(number).is_some() {
            let tuple = self.batch.get(number);
            self.manual.reset_timeout(&tuple);
        }
    }

    /// As [`ManualEmitter::reset_timeout_of`].
    pub fn reset_timeout_of(&mut self, tuple: &HeldTuple) {
        self.manual.reset_timeout_of(tuple);
    }

    /// Lists an error of this task without failing a tuple.
    pub fn report_error(&self, error: impl Into<Error>) {
        self.manual.report_error(error);
    }

    /// Facts about the topology and this task.
    pub fn context(&self) -> &'a TopologyContext {
        self.manual.context()
    }
}
