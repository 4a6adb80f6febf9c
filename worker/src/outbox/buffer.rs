//! The rows for one receiving task on one stream, and how they are tied to trees.

use std::mem;
use std::vec::Drain;

use galerna_topology_api::Value;
use galerna_topology_api::engine::{Anchor, Batch, HeldTable, Root};

use crate::random::Edges;

/// Rows that have not left yet.
pub(super) struct Buffer {
    pub(super) batch: Batch,
    /// What the rows weigh beyond themselves.
    pub(super) extra: usize,
    /// The place of the receiver among the outbox's peers.
    pub(super) peer: usize,
}

impl Buffer {
    pub(super) fn new(batch: Batch, peer: usize) -> Self {
        Self { batch, extra: 0, peer }
    }

    /// Appends a row: the next `arity` values, which are taken out if nobody needs them after this.
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
        self.batch.rows += 1;
        self.batch.is_final |= is_final;
        self.extra += extra;
    }

    /// Takes the rows, leaving room for as many.
    pub(super) fn take(&mut self) -> Batch {
        let mut fresh = Batch::new(self.batch.source.clone(), self.batch.target);
        fresh.values.reserve_exact(self.batch.values.len());
        fresh.anchors.reserve_exact(self.batch.anchors.len());
        self.extra = 0;
        mem::replace(&mut self.batch, fresh)
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
