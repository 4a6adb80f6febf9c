//! The rows of one stream that wait to be sent, and how they are tied to trees.

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

/// Who receives the rows of a buffer.
#[derive(Debug)]
pub(super) enum Receivers {
    /// One task, by its place among the outbox's peers.
    One(usize),
    /// Tasks that share the rows.
    Shared(Shuffle),
}

/// Rows that have not left yet, in the order in which they leave.
pub(super) struct Buffer {
    /// The rows, behind those that have left already.
    batch: Batch,
    /// How many rows at the front have left.
    left: usize,
    /// What the rows weigh beyond themselves.
    extra: usize,
    /// At how many waiting rows the buffer is to be sent without waiting for more.
    full_at: usize,
    pub(super) receivers: Receivers,
    watched: Watched,
}

/// Rows of a buffer whose receivers somebody asked for: the place of each in the batch, and which row of
/// the command it is.
#[derive(Debug, Default)]
struct Watched(VecDeque<(usize, usize, Arc<RowTasks>)>);

impl Watched {
    /// The rows before `end` go to a task.
    fn leave(&mut self, end: usize, task: TaskId) {
        while self.0.front().is_some_and(|(place, ..)| *place < end)
            && let Some((_, row, asker)) = self.0.pop_front()
        {
            asker.note(row, task);
        }
    }
}

/// The rows will not leave.
impl Drop for Watched {
    fn drop(&mut self) {
        self.0.iter().for_each(|(.., asker)| asker.give_up());
    }
}

impl Buffer {
    pub(super) fn new(batch: Batch, receivers: Receivers) -> Self {
        Self { batch, left: 0, extra: 0, full_at: FULL, receivers, watched: Watched::default() }
    }

    /// How many rows wait.
    #[inline(always)]
    pub(super) fn waiting(&self) -> usize {
        self.batch.rows - self.left
    }

    /// What the waiting rows weigh, in rows.
    pub(super) fn weight(&self) -> usize {
        self.waiting() + self.extra
    }

    /// Whether so many rows wait that the buffer should be sent.
    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.full_at
    }

    /// Notes that the buffer was sent as far as there was room: it is full again after as many more rows.
    pub(super) fn refill(&mut self) {
        self.full_at = self.waiting() + FULL;
    }

    /// Ties the row that is about to be pushed to its trees, and answers the XOR of the new edges.
    #[inline(always)]
    pub(super) fn tie(&mut self, ties: &mut Ties<'_>, edges: &mut Edges) -> u64 {
        ties.tie(&mut self.batch, edges)
    }

    /// Appends a row that was tied: the next `arity` values, which are taken out if nobody needs them
    /// after this.
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

    /// Has `asker` know which task gets the row that is about to be pushed, as its command's `row`.
    pub(super) fn watch(&mut self, asker: Arc<RowTasks>, row: usize) {
        self.watched.0.push_back((self.batch.rows, row, asker));
    }

    /// Counts a row that was tied and whose values follow by [`append`](Self::append).
    #[inline(always)]
    pub(super) fn count_row(&mut self) {
        self.batch.rows += 1;
    }

    /// Moves the values of counted rows here.
    pub(super) fn append(&mut self, values: &mut Vec<Value>, extra: usize, is_final: bool) {
        self.batch.values.append(values);
        self.note(extra, is_final);
    }

    #[inline(always)]
    fn note(&mut self, extra: usize, is_final: bool) {
        self.batch.is_final |= is_final;
        self.extra += extra;
    }

    /// Takes the first rows out, for one task: the batch, and what it weighs.
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

    /// Takes everything, and leaves room for as much.
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

    /// Drops the rows that have left once they are the greater part, so that each row is moved at most
    /// once for it.
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
                if !batch.anchors.is_empty() {
                    batch.anchors.push(Anchor::NONE);
                }
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
        None if !batch.anchors.is_empty() => batch.anchors.push(Anchor::NONE),
        None => {}
    }
    batch.more_anchors.extend(ties.map(|tie| (row as u32, tie)));
}
