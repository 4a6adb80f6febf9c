//! Batches: rows of one stream from one task to one task.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::fields::Fields;
use crate::tasks::TaskId;
use crate::tuple::{Tuple, TupleAnchors};
use crate::value::Value;

/// What all rows of a batch have in common: where they come from and how they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TupleSource {
    /// The component that emitted them.
    pub component: SmolStr,
    /// Its task.
    pub task: TaskId,
    /// The launch of the worker that the task ran in.
    pub incarnation: u32,
    /// The stream's place among the component's declared streams.
    pub stream_index: u16,
    /// The stream's name.
    pub stream: SmolStr,
    /// The names of the row's values.
    pub fields: Fields,
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

/// Rows of one stream, from one task to one task.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What all rows have in common.
    pub source: Arc<TupleSource>,
    /// The task that receives them.
    pub target: TaskId,
    /// How many rows there are (a row may have no values).
    pub rows: usize,
    /// All values, row after row.
    pub values: Vec<Value>,
    /// The first anchor of each row ([`Anchor::NONE`] where it has none), or nothing at all when no
    /// row is anchored.
    pub anchors: Vec<Anchor>,
    /// Further anchors of rows that have several, by ascending row.
    pub more_anchors: Vec<(u32, Anchor)>,
    /// Whether the rows were emitted by `finish`, or derive from such: nobody replays them.
    pub is_final: bool,
}

impl Batch {
    /// An empty batch from `source` to `target`.
    pub fn new(source: Arc<TupleSource>, target: TaskId) -> Self {
        Self {
            source,
            target,
            rows: 0,
            values: Vec::new(),
            anchors: Vec::new(),
            more_anchors: Vec::new(),
            is_final: false,
        }
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
        Tuple { source: &self.source, values: self.values_of(row), anchors: TupleAnchors::Row(self, row) }
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
