//! The ties of rows to trees.

use galerna_topology_api::engine::{Anchor, Batch, HeldTable, Root};

use crate::random::Edges;

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

/// Ties the row that is pushed next to one tree, or to none.
#[inline(always)]
pub(super) fn anchor(batch: &mut Batch, anchor: Anchor) {
    if anchor.is_none() {
        push_none(batch);
    } else {
        push_first(batch, batch.rows, anchor);
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
