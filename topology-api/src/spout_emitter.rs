//! Emitting from spouts.

use serde::Serialize;

use crate::context::TopologyContext;
use crate::emitter::{EmitError, Row, wait_for_room};
use crate::engine::{RowAnchors, Staging};
use crate::error::Error;
use crate::tasks::TaskId;
use crate::value::append_row;

/// What a spout emits with, and its context.
///
/// Emits never wait: rows are staged and taken up when the call returns. A row that does not fit
/// its stream makes the call fail.
pub struct SpoutEmitter<'a, M> {
    staging: &'a mut Staging,
    ids: &'a mut Vec<M>,
    context: &'a TopologyContext,
    room: usize,
}

impl<'a, M> SpoutEmitter<'a, M> {
    /// `room`: how many rows with an id may be in `ids`.
    pub(crate) fn new(
        staging: &'a mut Staging,
        ids: &'a mut Vec<M>,
        context: &'a TopologyContext,
        room: usize,
    ) -> Self {
        Self { staging, ids, context, room }
    }

    /// How many more tuples with an id this call may emit before the task has as many open tuples as
    /// `topology.max.spout.pending` allows, or the limit that the engine has found by itself. At least 1 when `next`
    /// is called, and `usize::MAX` without tracking.
    ///
    /// The engine does not stop a call that emits more, but it lists an error the first time that a call exceeds
    /// a limit that was set.
    pub fn room_left(&self) -> usize {
        self.room.saturating_sub(self.ids.len())
    }

    /// Emits on the default stream, reliably: `ack` or `fail` will be called with `id`.
    #[inline(always)]
    pub fn emit(&mut self, id: M, row: impl Row) {
        if self.staging.push_default(RowAnchors::Tracked, row) {
            self.ids.push(id);
        }
    }

    /// Emits on a named stream, reliably.
    pub fn emit_to(&mut self, id: M, stream: &str, row: impl Row) {
        self.tracked(id, Some(stream), None, row);
    }

    /// Emits to one task on a direct stream, reliably.
    pub fn emit_direct(&mut self, id: M, task: TaskId, stream: &str, row: impl Row) {
        self.tracked(id, Some(stream), Some(task), row);
    }

    /// Emits a struct as a row of the default stream by serde, reliably.
    ///
    /// # Errors
    /// When the struct's fields are not the stream's.
    pub fn emit_row<T: Serialize + ?Sized>(&mut self, id: M, row: &T) -> Result<(), EmitError> {
        let stream = self.staging.stream_index(None)?;
        let fields = self.staging.streams.iter().as_slice()[stream as usize].fields.clone();
        let mut values = Vec::with_capacity(fields.len());
        append_row(row, &fields, &mut values)?;
        self.emit(id, values);
        Ok(())
    }

    /// Emits on the default stream, without an id: if it is lost, nobody notices.
    #[inline(always)]
    pub fn emit_untracked(&mut self, row: impl Row) {
        self.staging.push_default(RowAnchors::None, row);
    }

    /// Emits on a named stream, without an id.
    pub fn emit_untracked_to(&mut self, stream: &str, row: impl Row) {
        self.staging.push(Some(stream), RowAnchors::None, None, row);
    }

    /// Emits to one task on a direct stream, without an id.
    pub fn emit_untracked_direct(&mut self, task: TaskId, stream: &str, row: impl Row) {
        self.staging.push(Some(stream), RowAnchors::None, Some(task), row);
    }

    /// Waits until what was emitted so far has room downstream. Acks are taken meanwhile.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rows handed over are sent nevertheless.
    pub async fn room(&mut self) {
        wait_for_room(self.staging).await;
    }

    /// Lists an error of this task, without failing anything.
    pub fn report_error(&self, error: impl Into<Error>) {
        self.context.report_error(error);
    }

    /// Facts about the topology and this task.
    pub fn context(&self) -> &'a TopologyContext {
        self.context
    }

    fn tracked(&mut self, id: M, stream: Option<&str>, direct: Option<TaskId>, row: impl Row) {
        if self.staging.push(stream, RowAnchors::Tracked, direct, row) {
            self.ids.push(id);
        }
    }
}
