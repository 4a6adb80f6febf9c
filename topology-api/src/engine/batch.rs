//! Batches: rows of one stream, from tasks of one component to one task.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::fields::Fields;
use crate::tasks::TaskId;
use crate::tuple::{Tuple, TupleAnchors};
use crate::value::Value;

/// What all rows of a batch have in common: the component and the stream, and the names of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleSource {
    /// The component that emitted them.
    pub component: SmolStr,
    /// The stream's place among the component's declared streams.
    pub stream_index: u16,
    /// The stream's name.
    pub stream: SmolStr,
    /// The names of the row's values.
    pub fields: Fields,
}

/// A launch of a task that emitted rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// The task.
    pub task: TaskId,
    /// Tells the launches of the task apart.
    pub launch: u32,
    /// Whether the rows were emitted by `finish`, or derive from such: nobody replays them.
    pub is_final: bool,
}

/// The senders of the rows of a batch. Consecutive rows of one sender share an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    first: Sender,
    /// The first row of each further sender, ascending.
    more: Vec<(u32, Sender)>,
}

impl Senders {
    /// Notes that the rows from `row` on, up to the next call, are from `sender`. The rows ascend from call to call.
    #[inline]
    pub fn begin(&mut self, row: usize, sender: Sender) {
        if row == 0 {
            self.first = sender;
        } else if self.last() != sender {
            self.more.push((row as u32, sender));
        }
    }

    /// The sender of the last rows.
    #[inline]
    pub fn last(&self) -> Sender {
        self.more.last().map_or(self.first, |(_, sender)| *sender)
    }

    /// The sender of a row.
    #[inline]
    pub fn of(&self, row: usize) -> Sender {
        if self.more.is_empty() { self.first } else { self.find(row).0 }
    }

    /// The end of the run of rows that a row belongs to, in a batch of `rows` rows.
    pub fn end_of_run(&self, row: usize, rows: usize) -> usize {
        if self.more.is_empty() { rows } else { self.find(row).1.min(rows) }
    }

    fn find(&self, row: usize) -> (Sender, usize) {
        let next = self.more.partition_point(|(first, _)| *first as usize <= row);
        let sender = if next == 0 { self.first } else { self.more[next - 1].1 };
        (sender, self.more.get(next).map_or(usize::MAX, |(first, _)| *first as usize))
    }

    /// The runs of rows by sender, each with its end, in a batch of `rows` rows.
    pub fn runs(&self, rows: usize) -> impl Iterator<Item = (usize, Sender)> {
        let ends = self.more.iter().map(|(first, _)| *first as usize).chain([rows]);
        let senders = std::iter::once(self.first).chain(self.more.iter().map(|(_, sender)| *sender));
        ends.zip(senders)
    }

    /// Whether any rows were emitted by `finish`, or derive from such.
    pub fn has_final(&self) -> bool {
        self.first.is_final || self.more.iter().any(|(_, sender)| sender.is_final)
    }

    /// Forgets the first `rows` rows: those behind take their places.
    pub fn forget(&mut self, rows: usize) {
        self.first = self.of(rows);
        self.more.retain_mut(|(row, _)| {
            let stays = *row as usize > rows;
            *row = row.saturating_sub(rows as u32);
            stays
        });
    }

    /// Forgets all senders; the memory stays.
    pub fn clear(&mut self) {
        self.more.clear();
    }
}

/// A spout tuple's tree: the place of its entry in the ledger of a spout task.
///
/// `generation` tells a reused slot from its predecessor, and `incarnation` a restarted spout's
/// ledger from the lost one, so an ack finds its entry (or nothing) without a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Root {
    /// The spout task that the tree belongs to.
    pub spout: TaskId,
    /// The incarnation of the ledger.
    pub incarnation: u32,
    /// The slot in the ledger.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// One tie of a tuple to a tree: the tree and the random number of this edge in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The tree.
    pub root: Root,
    /// This tuple's number in the tree, as in Storm's acker: the XOR of all numbers, each counted
    /// once when the tuple is made and once when it is acked, is zero when the tree is complete.
    pub edge: u64,
}

const NO_ROOT: Root = Root { spout: 0, incarnation: 0, slot: 0, generation: 0 };

impl Anchor {
    /// Stands for "not anchored" in batches where other rows are. Task numbers start at 1.
    pub const NONE: Self = Self { root: NO_ROOT, edge: 0 };

    /// Whether this stands for "not anchored".
    #[inline]
    pub fn is_none(self) -> bool {
        self.root.spout == 0
    }
}

/// Rows of one stream.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What all rows have in common.
    pub source: Arc<TupleSource>,
    /// The tasks that emitted the rows.
    pub senders: Senders,
    /// How many rows there are (a row may have no values).
    pub rows: usize,
    /// All values, row after row.
    pub values: Vec<Value>,
    /// The first anchor of each row ([`Anchor::NONE`] where it has none), or nothing at all when no
    /// row is anchored.
    pub anchors: Vec<Anchor>,
    /// Further anchors of rows that have several, by ascending row.
    pub more_anchors: Vec<(u32, Anchor)>,
}

impl Batch {
    /// An empty batch of rows from `source`.
    pub fn new(source: Arc<TupleSource>) -> Self {
        Self {
            source,
            senders: Senders::default(),
            rows: 0,
            values: Vec::new(),
            anchors: Vec::new(),
            more_anchors: Vec::new(),
        }
    }

    /// Whether a row was emitted by `finish`, or derives from such: nobody replays it.
    pub fn is_final(&self, row: usize) -> bool {
        self.senders.of(row).is_final
    }

    /// The values of one row.
    #[inline]
    pub fn values_of(&self, row: usize) -> &[Value] {
        let arity = self.source.fields.len();
        &self.values[row * arity..(row + 1) * arity]
    }

    /// One row as a tuple.
    #[inline]
    pub fn tuple(&self, row: usize) -> Tuple<'_> {
        let task = self.senders.of(row).task;
        Tuple { source: &self.source, task, values: self.values_of(row), anchors: TupleAnchors::Row(self, row) }
    }

    /// The first anchor of a row, and those beyond it.
    #[inline]
    pub fn anchors_of(&self, row: usize) -> (Option<Anchor>, &[(u32, Anchor)]) {
        let first = self.anchors.get(row).copied().filter(|anchor| !anchor.is_none());
        let more = if self.more_anchors.is_empty() {
            &[][..]
        } else {
            let start = self.more_anchors.partition_point(|(at, _)| (*at as usize) < row);
            let end = self.more_anchors.partition_point(|(at, _)| (*at as usize) <= row);
            &self.more_anchors[start..end]
        };
        (first, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_the_sender_that_was_noted_for_it() {
        let sender = |task| Sender { task, launch: 1, is_final: false };
        let mut senders = Senders::default();
        for (row, task) in [(0, 1), (3, 1), (4, 2), (5, 1)] {
            senders.begin(row, sender(task));
        }
        let of: Vec<TaskId> = (0..7).map(|row| senders.of(row).task).collect();
        assert_eq!(of, [1, 1, 1, 1, 2, 1, 1]);
        assert_eq!(senders.runs(7).collect::<Vec<_>>(), [(4, sender(1)), (5, sender(2)), (7, sender(1))]);
        assert_eq!([0, 3, 4, 5].map(|row| senders.end_of_run(row, 7)), [4, 4, 5, 7]);
        senders.forget(4);
        assert_eq!(senders.runs(3).collect::<Vec<_>>(), [(1, sender(2)), (3, sender(1))]);
        senders.clear();
        senders.begin(0, sender(9));
        assert_eq!((senders.of(5), senders.end_of_run(5, 7)), (sender(9), 7));
    }
}
