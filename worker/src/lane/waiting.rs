//! Rows that wait with their sender until their receivers have room, and rows that a shuffle grouping shares among
//! its receivers when they leave.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use galerna_topology_api::engine::{Batch, TupleSource};
use galerna_topology_api::{TaskId, Value};

use crate::credit::{extra_of, heap_of};
use crate::output::RowTasks;
use crate::parcel::{FULL, FULL_BYTES, Parts, Rows, row_bytes};

/// Rows of one stream in the order of their departure.
#[derive(Debug)]
pub(super) struct Buffer {
    /// The waiting rows, behind rows that have already left.
    pub(super) batch: Batch,
    /// The number of rows at the front that have left.
    left: usize,
    /// Whether a row weighs more than one.
    has_extra: bool,
    watched: Watched,
}

/// Rows of a buffer whose receivers a command asked for: place in the batch, number of the row in its
/// command, and the recipient of the answer.
#[derive(Debug, Default)]
struct Watched(VecDeque<(usize, usize, Arc<RowTasks>)>);

impl Watched {
    /// Notes that the rows before `end` leave to a task.
    fn leave(&mut self, end: usize, task: TaskId) {
        while self.0.front().is_some_and(|(place, ..)| *place < end)
            && let Some((_, row, asker)) = self.0.pop_front()
        {
            asker.note(row, task);
        }
    }
}

/// Rows that are still watched will not leave.
impl Drop for Watched {
    fn drop(&mut self) {
        self.0.iter().for_each(|(.., asker)| asker.give_up());
    }
}

impl Buffer {
    pub(super) fn new(source: Arc<TupleSource>) -> Self {
        Self { batch: Batch::new(source), left: 0, has_extra: false, watched: Watched::default() }
    }

    /// The number of waiting rows.
    #[inline(always)]
    pub(super) fn waiting(&self) -> usize {
        self.batch.rows - self.left
    }

    /// How many of the waiting rows leave together: all, or as many as fill a parcel.
    pub(super) fn part(&self) -> usize {
        let waiting = self.waiting();
        let arity = self.batch.source.fields.len();
        if self.has_extra && arity > 0 {
            let mut bytes = 0;
            let rows = self.batch.values[self.left * arity..].chunks(arity);
            let fits = |row: &&[Value]| {
                let has_room = bytes < FULL_BYTES;
                bytes += heap_of(row).unwrap_or_default();
                has_room
            };
            return rows.take(FULL).take_while(fits).count();
        }
        // To take all costs less than to cut some off.
        if waiting < 2 * FULL { waiting } else { FULL }
    }

    /// Notes the heap memory of rows that were pushed.
    #[inline(always)]
    pub(super) fn note(&mut self, heap: usize) {
        self.has_extra |= extra_of(heap) > 0;
    }

    /// Reports the receiving task of the row that is pushed next to `asker`, as row `row` of the command.
    pub(super) fn watch(&mut self, asker: Arc<RowTasks>, row: usize) {
        self.watched.0.push_back((self.batch.rows, row, asker));
    }

    /// The weight of the first `rows` waiting rows beyond one each, and their memory.
    pub(super) fn measure(&self, rows: usize) -> (usize, usize) {
        let arity = self.batch.source.fields.len();
        let plain = rows * row_bytes(arity);
        if !self.has_extra || arity == 0 {
            return (0, plain);
        }
        let values = &self.batch.values[self.left * arity..(self.left + rows) * arity];
        let heaps = values.chunks(arity).map(|row| heap_of(row).unwrap_or_default());
        let (mut extra, mut bytes) = (0, plain);
        for heap in heaps {
            extra += extra_of(heap);
            bytes += heap;
        }
        (extra, bytes)
    }

    /// Moves the first `rows` waiting rows to `to`, for one task; `leaving` sees them before.
    pub(super) fn take(&mut self, rows: usize, target: TaskId, to: &mut Batch, leaving: impl FnOnce(&Rows<'_, '_>)) {
        let (first, end) = (self.left, self.left + rows);
        if !self.watched.0.is_empty() {
            self.watched.leave(end, target);
        }
        let (arity, all) = (self.batch.source.fields.len(), self.batch.rows);
        let Batch { source, senders, values, anchors, more_anchors, .. } = &mut self.batch;
        let parts = Parts { source, senders, anchors, more: more_anchors };
        if rows == all && to.rows == 0 {
            // All rows for a batch of their own: nothing needs to be moved one by one.
            let mut none = Vec::new();
            leaving(&Rows::new(parts, first..end, &mut none.drain(..)));
            mem::swap(to, &mut self.batch);
        } else {
            // The values that leave become null where they lay, so that those behind stay in place.
            let mut taken: Vec<_> = values[first * arity..end * arity].iter_mut().map(mem::take).collect();
            let mut taken = taken.drain(..);
            let rows = Rows::new(parts, first..end, &mut taken);
            leaving(&rows);
            rows.append_to(to);
            self.left = end;
            self.forget_left();
        }
    }

    /// Removes the rows that have left once they are at least half of the batch, so that a row is moved at most
    /// once on average.
    fn forget_left(&mut self) {
        let left = self.left;
        if left == self.batch.rows {
            self.batch.values.clear();
            self.batch.anchors.clear();
            self.batch.more_anchors.clear();
            self.batch.senders.clear();
            self.has_extra = false;
        } else if left >= FULL && left * 2 >= self.batch.rows {
            self.batch.values.drain(..left * self.batch.source.fields.len());
            if !self.batch.anchors.is_empty() {
                self.batch.anchors.drain(..left);
            }
            self.batch.more_anchors.retain_mut(|(row, _)| {
                let waits = *row as usize >= left;
                *row = row.saturating_sub(left as u32);
                waits
            });
            self.batch.senders.forget(left);
            self.watched.0.iter_mut().for_each(|(place, ..)| *place -= left);
        } else {
            return;
        }
        self.batch.rows -= left;
        self.left = 0;
    }

    /// Gives memory back when nothing waits.
    pub(super) fn shrink(&mut self) {
        if self.batch.rows == 0 && self.batch.values.capacity() > 0 {
            self.batch = Batch::new(self.batch.source.clone());
        }
    }
}
