//! Waiting rows of one stream, and their ties to trees.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::vec::Drain;

use galerna_topology_api::engine::{Anchor, Batch, HeldTable, Root};
use galerna_topology_api::{TaskId, Value};

use super::FULL;
use super::shuffle::Shuffle;
use crate::credit::bytes_weight;
use crate::output::RowTasks;
use crate::random::Edges;

/// The receivers of a buffer's rows.
#[derive(Debug)]
pub(super) enum Receivers {
    /// One task, by its place among the outbox's peers.
    One(usize),
    /// Tasks that share the rows.
    Shared(Shuffle),
}

/// Rows that have not left yet, in the order of departure.
pub(super) struct Buffer {
    /// The waiting rows, behind rows that have already left.
    batch: Batch,
    /// The number of rows at the front that have left.
    left: usize,
    /// What the rows weigh beyond themselves.
    extra: usize,
    /// The number of waiting rows at which the buffer is sent without waiting for more.
    full_at: usize,
    pub(super) receivers: Receivers,
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
    pub(super) fn new(batch: Batch, receivers: Receivers) -> Self {
        Self { batch, left: 0, extra: 0, full_at: FULL, receivers, watched: Watched::default() }
    }

    /// The number of waiting rows.
    #[inline(always)]
    pub(super) fn waiting(&self) -> usize {
        self.batch.rows - self.left
    }

    /// The weight of the waiting rows, in rows.
    pub(super) fn weight(&self) -> usize {
        self.waiting() + self.extra
    }

    /// Whether enough rows wait to send the buffer.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.full_at
    }

    /// Notes that the buffer was sent as far as there was room. It is full again after [`FULL`] more rows.
    pub(super) fn refill(&mut self) {
        self.full_at = self.waiting() + FULL;
    }

    /// Ties the row that is pushed next to its trees, and returns the XOR of the new edges.
    #[inline(always)]
    pub(super) fn tie(&mut self, ties: &mut Ties<'_>, edges: &mut Edges) -> u64 {
        ties.tie(&mut self.batch, edges)
    }

    /// Ties the row that is pushed next to one tree, or to none.
    #[inline(always)]
    pub(super) fn anchor(&mut self, anchor: Anchor) {
        if !anchor.is_none() {
            let row = self.batch.rows;
            push_first(&mut self.batch, row, anchor);
        } else {
            push_none(&mut self.batch);
        }
    }

    /// Appends a tied row: the next `arity` values. `takes` moves them out, because no other buffer needs them.
    #[inline]
    pub(super) fn push(
        &mut self,
        values: &mut Drain<'_, Value>,
        arity: usize,
        takes: bool,
        extra: usize,
        is_final: bool,
    ) {
        if takes {
            self.batch.values.extend(values.take(arity));
        } else {
            self.batch.values.extend_from_slice(&values.as_slice()[..arity]);
        }
        self.count_row();
        self.note(extra, is_final);
    }

    /// Reports the receiving task of the row that is pushed next to `asker`, as row `row` of the command.
    pub(super) fn watch(&mut self, asker: Arc<RowTasks>, row: usize) {
        self.watched.0.push_back((self.batch.rows, row, asker));
    }

    /// Counts a tied row whose values follow by [`append`](Self::append).
    #[inline(always)]
    pub(super) fn count_row(&mut self) {
        self.batch.rows += 1;
    }

    /// Appends the values of counted rows.
    #[inline(always)]
    pub(super) fn append(&mut self, values: &mut Vec<Value>, extra: usize, is_final: bool) {
        self.batch.values.append(values);
        self.note(extra, is_final);
    }

    #[inline(always)]
    fn note(&mut self, extra: usize, is_final: bool) {
        self.batch.is_final |= is_final;
        self.extra += extra;
    }

    /// Takes the first `rows` waiting rows as a batch for one task. Returns the batch and its weight.
    pub(super) fn take(&mut self, rows: usize, target: TaskId) -> (Batch, usize) {
        if !self.watched.0.is_empty() {
            self.watched.leave(self.left + rows, target);
        }
        if rows == self.batch.rows {
            return self.take_all(target);
        }
        let (first, end) = (self.left, self.left + rows);
        let arity = self.batch.source.fields.len();
        let mut batch = Batch::new(self.batch.source.clone(), target);
        batch.rows = rows;
        batch.is_final = self.batch.is_final;
        batch.values = self.batch.values[first * arity..end * arity].iter_mut().map(mem::take).collect();
        if !self.batch.anchors.is_empty() {
            batch.anchors = self.batch.anchors[first..end].to_vec();
        }
        let place_of = |row: usize| self.batch.more_anchors.partition_point(|(at, _)| (*at as usize) < row);
        let more = &self.batch.more_anchors[place_of(first)..place_of(end)];
        batch.more_anchors = more.iter().map(|(row, anchor)| (row - first as u32, *anchor)).collect();
        let extra = if self.extra > 0 { bytes_weight(&batch.values).min(self.extra) } else { 0 };
        self.extra -= extra;
        self.left = end;
        self.forget_left();
        (batch, rows + extra)
    }

    /// Takes all rows, and reserves memory for as many.
    fn take_all(&mut self, target: TaskId) -> (Batch, usize) {
        let mut fresh = Batch::new(self.batch.source.clone(), target);
        fresh.values.reserve_exact(self.batch.values.len());
        fresh.anchors.reserve_exact(self.batch.anchors.len());
        let weight = self.weight();
        self.extra = 0;
        let mut batch = mem::replace(&mut self.batch, fresh);
        batch.target = target;
        (batch, weight)
    }

    /// Removes the rows that have left once they are at least half of the batch, so that a row is moved at most
    /// once on average.
    fn forget_left(&mut self) {
        let left = self.left;
        if left == self.batch.rows {
            self.batch.values.clear();
            self.batch.anchors.clear();
            self.batch.more_anchors.clear();
            self.batch.is_final = false;
            self.extra = 0;
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
            self.watched.0.iter_mut().for_each(|(place, ..)| *place -= left);
        } else {
            return;
        }
        self.batch.rows -= left;
        self.left = 0;
    }
}

/// What a row is tied to.
pub(super) enum Ties<'a> {
    /// Nothing.
    None,
    /// The trees of the input.
    Input {
        /// Its first tree; there is one.
        first: Anchor,
        /// The others.
        more: &'a [(u32, Anchor)],
    },
    /// The trees of held tuples, by their slots.
    Held(&'a mut HeldTable, &'a [u32]),
    /// A tree of its own.
    Own(Root),
}

impl<'a> Ties<'a> {
    #[inline]
    pub(super) fn of_input(batch: &'a Batch, row: usize) -> Self {
        match batch.anchors_of(row) {
            (Some(first), more) => Self::Input { first, more },
            (None, _) => Self::None,
        }
    }

    /// Ties the row that is about to be pushed to its trees by a new edge, and answers the edge.
    /// All trees of one input get the same number for one row: they are counted apart.
    #[inline(always)]
    pub(super) fn tie(&mut self, batch: &mut Batch, edges: &mut Edges) -> u64 {
        let row = batch.rows;
        match self {
            Self::None => {
                push_none(batch);
                0
            }
            Self::Own(root) => {
                let edge = edges.next();
                push_first(batch, row, Anchor { root: *root, edge });
                edge
            }
            Self::Input { first, more } => {
                let edge = edges.next();
                push_first(batch, row, Anchor { root: first.root, edge });
                batch
                    .more_anchors
                    .extend(more.iter().map(|(_, anchor)| (row as u32, Anchor { root: anchor.root, edge })));
                edge
            }
            Self::Held(held, slots) => {
                tie_to_held(batch, row, held, slots, edges);
                0
            }
        }
    }
}

#[inline(always)]
fn push_first(batch: &mut Batch, row: usize, anchor: Anchor) {
    if batch.anchors.len() < row {
        batch.anchors.resize(row, Anchor::NONE);
    }
    batch.anchors.push(anchor);
}

/// Ties the row that is pushed next to no tree. Batches without any tie keep no anchors.
#[inline(always)]
fn push_none(batch: &mut Batch) {
    if !batch.anchors.is_empty() {
        batch.anchors.push(Anchor::NONE);
    }
}

/// Each held tuple gets an edge of its own; where several are of one tree, the row's number in that
/// tree is the XOR of theirs, as in Storm.
fn tie_to_held(batch: &mut Batch, row: usize, held: &mut HeldTable, slots: &[u32], edges: &mut Edges) {
    let mut ties: Vec<Anchor> = Vec::new();
    for slot in slots {
        let Some(entry) = held.entry(*slot) else { continue };
        let edge = edges.next();
        entry.emitted ^= edge;
        for anchor in &entry.anchors {
            match ties.iter_mut().find(|tie| tie.root == anchor.root) {
                Some(tie) => tie.edge ^= edge,
                None => ties.push(Anchor { root: anchor.root, edge }),
            }
        }
    }
    let mut ties = ties.into_iter();
    match ties.next() {
        Some(first) => push_first(batch, row, first),
        None => push_none(batch),
    }
    batch.more_anchors.extend(ties.map(|tie| (row as u32, tie)));
}
