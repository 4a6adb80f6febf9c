//! What crosses from the tasks of one lane to the tasks of another: rows, statements about trees, markers.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::vec::Drain;

use galerna_topology_api::engine::{Anchor, Batch, Sender, Senders, TupleSource};
use galerna_topology_api::{Failure, TaskId, Value};

use crate::acks::AckDelta;
use crate::edges::Mark;
use crate::inbox::Inbox;
use crate::lane::DestId;
use crate::link::Link;
use crate::message::Control;

/// A parcel with this many rows is sent immediately.
pub(crate) const FULL: usize = 1024;
/// A parcel with this many bytes is sent immediately.
pub(crate) const FULL_BYTES: usize = 1 << 20;

/// Consecutive rows of a parcel for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The row behind the last row of the run.
    pub(crate) end: u32,
    pub(crate) target: TaskId,
    /// The weight of the rows beyond one for each row.
    pub(crate) extra: u32,
    /// The lane of this worker that sent them, if one did.
    pub(crate) lane: DestId,
}

/// Rows of one stream, each for a task that receives it.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) batch: Batch,
    /// The receiving tasks, run by run; the runs cover all rows.
    pub(crate) runs: Vec<Run>,
    /// The memory of the rows, about.
    pub(crate) bytes: usize,
}

/// The memory of a row of `arity` values besides the heap memory of its values.
pub(crate) fn row_bytes(arity: usize) -> usize {
    arity * size_of::<Value>() + size_of::<Anchor>() + size_of::<Run>()
}

impl Parcel {
    pub(crate) fn new(source: Arc<TupleSource>) -> Self {
        Self { batch: Batch::new(source), runs: Vec::new(), bytes: 0 }
    }

    /// Whether the parcel is to be sent without waiting for more rows.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.batch.rows >= FULL || self.bytes >= FULL_BYTES
    }

    /// Notes that the rows up to the last one are from a lane, for a task. `extra` is their weight beyond one for
    /// each row.
    #[inline(always)]
    pub(crate) fn note(&mut self, lane: DestId, target: TaskId, extra: usize, bytes: usize) {
        let end = self.batch.rows as u32;
        match self.runs.last_mut() {
            Some(run) if run.target == target && run.lane == lane => {
                run.end = end;
                run.extra += extra as u32;
            }
            _ => self.runs.push(Run { end, target, extra: extra as u32, lane }),
        }
        self.bytes += bytes;
    }

    /// Appends the rows of another parcel of the same stream, which keeps its memory.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let (at, rows) = (self.batch.rows, other.batch.rows);
        {
            let Batch { source, senders, values, anchors, more_anchors, .. } = &mut other.batch;
            let parts = Parts { source, senders, anchors, more: more_anchors };
            Rows::new(parts, 0..rows, &mut values.drain(..)).append_to(&mut self.batch);
        }
        self.runs.extend(other.runs.iter().map(|run| Run { end: run.end + at as u32, ..*run }));
        self.bytes += other.bytes;
        other.clear();
    }

    /// Gives back memory for more than a few rows: there are many parcels.
    fn shrink(&mut self) {
        if self.runs.capacity() > MOST_SPARE || self.batch.values.capacity() > 4 * MOST_SPARE {
            *self = Self::new(self.batch.source.clone());
        }
    }

    /// Removes all rows, and keeps the memory.
    fn clear(&mut self) {
        clear(&mut self.batch);
        self.runs.clear();
        self.bytes = 0;
    }

    /// The rows of each receiving task as a parcel of its own, in order.
    pub(crate) fn split(mut self) -> Vec<(TaskId, Self)> {
        if let [run] = self.runs[..] {
            return vec![(run.target, self)];
        }
        let (bytes, all) = (self.bytes, self.batch.rows.max(1));
        let mut parts: Vec<(TaskId, Self)> = Vec::new();
        self.scatter(|rows, run| {
            let at = parts.iter().position(|(task, _)| *task == run.target).unwrap_or_else(|| {
                parts.push((run.target, Self::new(rows.source.clone())));
                parts.len() - 1
            });
            let (part, share) = (&mut parts[at].1, bytes * rows.len() / all);
            rows.append_to(&mut part.batch);
            part.note(run.lane, run.target, run.extra as usize, share);
        });
        parts
    }

    /// Takes the rows out by receiving task: calls `each` with each run, in order. The memory stays.
    pub(crate) fn scatter(&mut self, mut each: impl FnMut(Rows<'_, '_>, &Run)) {
        let Batch { source, senders, values, anchors, more_anchors, .. } = &mut self.batch;
        let parts = Parts { source, senders, anchors, more: more_anchors };
        let mut values = values.drain(..);
        let mut first = 0;
        for run in &self.runs {
            let end = run.end as usize;
            each(Rows::new(parts, first..end, &mut values), run);
            first = end;
        }
        drop(values);
        self.clear();
    }
}

/// Removes all rows of a batch, and keeps the memory.
pub(crate) fn clear(batch: &mut Batch) {
    batch.values.clear();
    batch.anchors.clear();
    batch.more_anchors.clear();
    batch.senders.clear();
    batch.rows = 0;
}

/// The further anchors of the rows from `first` to `end`.
fn more_of(more: &[(u32, Anchor)], first: usize, end: usize) -> &[(u32, Anchor)] {
    if more.is_empty() {
        return more;
    }
    let place_of = |row: usize| more.partition_point(|(at, _)| (*at as usize) < row);
    &more[place_of(first)..place_of(end)]
}

/// The parts of a batch without its values.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub(crate) source: &'a Arc<TupleSource>,
    pub(crate) senders: &'a Senders,
    pub(crate) anchors: &'a [Anchor],
    pub(crate) more: &'a [(u32, Anchor)],
}

/// Rows that leave a batch for another one.
pub(crate) struct Rows<'a, 'v> {
    pub(crate) source: &'a Arc<TupleSource>,
    senders: &'a Senders,
    /// The place of the first row in the batch that it leaves, and that behind the last.
    first: usize,
    end: usize,
    /// The values of the rows come first; those of later rows may follow.
    values: &'a mut Drain<'v, Value>,
    anchors: &'a [Anchor],
    more_anchors: &'a [(u32, Anchor)],
}

impl<'a, 'v> Rows<'a, 'v> {
    /// These rows of a batch. `values` yields the values from the first of them on.
    pub(crate) fn new(parts: Parts<'a>, rows: Range<usize>, values: &'a mut Drain<'v, Value>) -> Self {
        let Parts { source, senders, anchors, more } = parts;
        let anchors = if anchors.is_empty() { anchors } else { &anchors[rows.clone()] };
        let more_anchors = more_of(more, rows.start, rows.end);
        Self { source, senders, first: rows.start, end: rows.end, values, anchors, more_anchors }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.end - self.first
    }

    /// The senders of the rows, run by run, each with its number of rows.
    pub(crate) fn by_sender(&self, mut each: impl FnMut(Sender, Range<usize>)) {
        let mut row = self.first;
        while row < self.end {
            let end = self.senders.end_of_run(row, self.end);
            each(self.senders.of(row), row..end);
            row = end;
        }
    }

    /// The anchor of a row, by its place in the batch that it leaves.
    pub(crate) fn anchor(&self, row: usize) -> Anchor {
        self.anchors.get(row - self.first).copied().unwrap_or(Anchor::NONE)
    }

    /// Appends the rows to a batch of the same stream.
    pub(crate) fn append_to(self, batch: &mut Batch) {
        let at = batch.rows;
        let first = self.first;
        self.by_sender(|sender, rows| batch.senders.begin(at + rows.start - first, sender));
        let rows = self.len();
        batch.values.extend(self.values.take(rows * self.source.fields.len()));
        if !self.anchors.is_empty() {
            if batch.anchors.len() < at {
                batch.anchors.resize(at, Anchor::NONE);
            }
            batch.anchors.extend_from_slice(self.anchors);
        } else if !batch.anchors.is_empty() {
            batch.anchors.resize(at + rows, Anchor::NONE);
        }
        let more = self.more_anchors.iter().map(|(row, anchor)| ((*row as usize - first + at) as u32, *anchor));
        batch.more_anchors.extend(more);
        batch.rows += rows;
    }
}

/// An entry of a packet.
#[derive(Debug)]
pub(crate) enum Item {
    /// Tuples for bolts, of lanes of this worker: their runs say which.
    Rows(Box<Parcel>),
    /// Tuples for bolts, all from the same origin.
    RowsFrom(Box<Parcel>, Origin),
    /// A statement of a task about its edges to all tasks of the lane, behind its tuples.
    Mark(Mark),
    /// An order to a task of the lane, behind all that came for the task before.
    Control(TaskId, Control),
    /// The source tasks of these edges were launched again: their earlier markers are void.
    Reopen(Arc<[TaskId]>),
    /// The lane has a new task.
    Admit(TaskId, Inbox),
    /// By the assignment of this generation, a task moves to another worker (`true`), or stays.
    Leaving(TaskId, u64, bool),
    /// The lane gets nothing more for a task.
    Dismiss(TaskId),
}

/// Who sent rows, and gets the credit back.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A lane of this worker, if it is one: rows of an earlier launch are from no lane.
    Lane(DestId),
    /// A lane at the other end of a link.
    Link {
        /// The way back.
        link: Arc<dyn Link>,
        /// The lane.
        lane: u32,
        /// The launch of the worker.
        launch: u32,
    },
}

impl Origin {
    /// Whether both are the same lane of the same launch.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Lane(one), Self::Lane(other)) => one == other,
            (Self::Link { link: a, lane: b, launch: c }, Self::Link { link, lane, launch }) => {
                b == lane && c == launch && Arc::ptr_eq(a, link)
            }
            _ => false,
        }
    }
}

/// Statements about trees of several spout tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acks {
    pub(crate) deltas: Vec<AckDelta>,
    /// The reasons of the failed trees.
    pub(crate) failures: Vec<Arc<Failure>>,
}

impl Acks {
    /// The statements for each spout task.
    pub(crate) fn by_spout(&self) -> Vec<(TaskId, Self)> {
        let mut parts: Vec<(TaskId, Self)> = Vec::new();
        for delta in &self.deltas {
            let at = parts.iter().position(|(spout, _)| *spout == delta.spout).unwrap_or_else(|| {
                // The places of the reasons stay right.
                parts.push((delta.spout, Self { deltas: Vec::new(), failures: self.failures.clone() }));
                parts.len() - 1
            });
            parts[at].1.deltas.push(*delta);
        }
        parts
    }
}

/// A parcel with fewer rows than this is appended to what waits for the receiver already; one with more is handed
/// over as it is.
const SHORT: usize = 128;
/// The rows that an empty parcel of a sender has memory for, at most.
const MOST_SPARE: usize = 16;
/// The rows and the statements that a receiver keeps memory for, at most.
const MOST_SPARE_IN: usize = 512;

/// What is on its way to a destination.
#[derive(Debug, Default)]
pub(crate) struct Packet {
    /// In the order in which they were sent.
    pub(crate) items: Vec<Item>,
    pub(crate) acks: Acks,
    /// Empty memory for rows.
    spare: Option<Box<Parcel>>,
}

impl Packet {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.acks.deltas.is_empty()
    }

    /// Puts rows in. Memory for a few rows stays with the sender.
    pub(crate) fn push_rows(&mut self, parcel: &mut Parcel) {
        let source = &parcel.batch.source;
        if parcel.batch.rows >= SHORT {
            let empty = Parcel::new(source.clone());
            self.items.push(Item::Rows(Box::new(mem::replace(parcel, empty))));
            return;
        }
        match self.items.last_mut() {
            Some(Item::Rows(last)) if Arc::ptr_eq(&last.batch.source, source) && last.batch.rows < FULL => {
                last.append(parcel);
            }
            _ => {
                let mut first = self.spare.take().unwrap_or_else(|| Box::new(Parcel::new(source.clone())));
                if !Arc::ptr_eq(&first.batch.source, source) {
                    first.batch.source = source.clone();
                }
                first.append(parcel);
                self.items.push(Item::Rows(first));
            }
        }
        parcel.shrink();
    }

    /// Puts the contents of another packet in.
    pub(crate) fn append(&mut self, other: &mut Self) {
        for item in other.items.drain(..) {
            match item {
                Item::Rows(mut parcel) => self.push_rows(&mut parcel),
                item => self.items.push(item),
            }
        }
        self.push_acks(&mut other.acks);
    }

    /// Puts statements about trees in. Memory for a few of them stays with the sender.
    pub(crate) fn push_acks(&mut self, acks: &mut Acks) {
        if acks.deltas.is_empty() {
            return;
        }
        if self.acks.deltas.is_empty() && acks.deltas.len() >= SHORT {
            mem::swap(&mut self.acks, acks);
            return;
        }
        self.acks.append(acks);
        acks.failures.clear();
        if acks.deltas.capacity() > 2 * MOST_SPARE { acks.deltas = Vec::new() } else { acks.deltas.clear() }
    }

    /// Keeps the memory of a parcel whose rows were taken out.
    pub(crate) fn recycle(&mut self, parcel: Box<Parcel>) {
        if parcel.runs.capacity() <= MOST_SPARE_IN && parcel.batch.values.capacity() <= 4 * MOST_SPARE_IN {
            self.spare = Some(parcel);
        }
    }

    /// Gives back memory that only many items need.
    pub(crate) fn shrink(&mut self) {
        if self.items.capacity() > MOST_SPARE {
            self.items = Vec::new();
        }
        if self.acks.deltas.capacity() > MOST_SPARE_IN {
            self.acks.deltas = Vec::new();
        }
    }
}

/// Rows for a task, with the credit that is owed for them.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: Batch,
    /// The credit that is owed for the rows, in order.
    pub(crate) dues: Vec<Due>,
}

/// Credit for consecutive rows of a delivery.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) rows: u32,
    pub(crate) weight: u32,
    pub(crate) origin: Origin,
}

impl Delivery {
    /// The rows of a whole batch.
    pub(crate) fn whole(batch: Batch, weight: u32, origin: Origin) -> Self {
        let due = Due { rows: batch.rows as u32, weight, origin };
        Self { batch, dues: vec![due] }
    }

    /// Without rows, for rows of a stream.
    pub(crate) fn empty(source: Arc<TupleSource>) -> Self {
        Self { batch: Batch::new(source), dues: Vec::new() }
    }

    /// Appends rows of the same stream, from `origin`.
    pub(crate) fn append(&mut self, rows: Rows<'_, '_>, weight: u32, origin: Origin) {
        let count = rows.len() as u32;
        rows.append_to(&mut self.batch);
        match self.dues.last_mut() {
            Some(last) if last.origin.is(&origin) => {
                last.rows += count;
                last.weight += weight;
            }
            _ => self.dues.push(Due { rows: count, weight, origin }),
        }
    }
}
