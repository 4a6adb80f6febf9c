//! What bolts tell spouts about their trees, combined per tree and sent in batches.

use std::sync::Arc;

use galerna_topology_api::engine::Root;
use galerna_topology_api::{Failure, TaskId};

use crate::lane::DestId;
use crate::parcel::Acks;

/// What is said about a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AckKind {
    /// Tuples were made and acked: XOR this in.
    Ack = 0,
    /// A tuple failed: `xor` is the place of the reason in [`Acks::failures`].
    Fail = 1,
    /// A bolt holds a tuple of it.
    Held = 2,
    /// Its time starts anew.
    Reset = 3,
    /// A bolt holds a tuple of it no more.
    Released = 4,
}

/// One statement about a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckDelta {
    pub(crate) spout: TaskId,
    /// The incarnation of the ledger that is meant.
    pub(crate) incarnation: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) kind: AckKind,
    pub(crate) xor: u64,
}

impl AckDelta {
    fn new(root: Root, kind: AckKind, xor: u64) -> Self {
        let Root { spout, incarnation, slot, generation } = root;
        Self { spout, incarnation, slot, generation, kind, xor }
    }

    /// Whether both are about trees of the same launch of a spout task.
    pub(crate) fn is_for_launch_of(&self, other: &Self) -> bool {
        self.spout == other.spout && self.incarnation == other.incarnation
    }

    fn is_ack_of(&self, root: Root) -> bool {
        self.slot == root.slot
            && self.generation == root.generation
            && self.spout == root.spout
            && self.incarnation == root.incarnation
            && self.kind == AckKind::Ack
    }
}

/// Statements about trees of one spout task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AckBatch {
    /// The incarnation of the ledger that is meant.
    pub(crate) incarnation: u32,
    pub(crate) deltas: Vec<AckDelta>,
    /// The reasons of the failed trees. Equal ones in a row are kept once.
    pub(crate) failures: Vec<Arc<Failure>>,
}

impl AckBatch {
    /// The reason of a statement that a tree failed.
    pub(crate) fn failure(&self, delta: &AckDelta) -> Arc<Failure> {
        self.failures.get(delta.xor as usize).cloned().unwrap_or_else(|| Arc::new(Failure::Lost))
    }
}

/// How many recent trees are remembered for combining; a power of two.
const RECENT: usize = 256;

/// The latest statements of a lane: where those about a tree stand, so that acks of one tree are combined.
#[derive(Debug)]
pub(crate) struct Recent {
    /// By a hash of the tree: the destination and the place of its latest ack. Made when it is first needed.
    places: Vec<(DestId, u32)>,
}

impl Recent {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// Notes in `acks`, which go to `dest`, that `xor` is to be taken into a tree. Returns whether that is a new
    /// statement.
    #[inline]
    pub(crate) fn ack(&mut self, acks: &mut Acks, dest: DestId, root: Root, xor: u64) -> bool {
        if self.places.is_empty() {
            self.places.resize(RECENT, (DestId::MAX, 0));
        }
        let hash = root.slot.wrapping_add(root.spout.wrapping_mul(0x9e37_79b1));
        let place = &mut self.places[hash as usize % RECENT];
        if place.0 == dest
            && let Some(known) = acks.deltas.get_mut(place.1 as usize)
            && known.is_ack_of(root)
        {
            known.xor ^= xor;
            return false;
        }
        *place = (dest, acks.deltas.len() as u32);
        acks.deltas.push(AckDelta::new(root, AckKind::Ack, xor));
        true
    }
}

impl Acks {
    /// Notes that a tree failed.
    pub(crate) fn fail(&mut self, root: Root, failure: &Arc<Failure>) {
        if self.failures.last() != Some(failure) {
            self.failures.push(failure.clone());
        }
        let xor = self.failures.len() as u64 - 1;
        self.deltas.push(AckDelta::new(root, AckKind::Fail, xor));
    }

    /// Notes another statement about a tree.
    pub(crate) fn say(&mut self, root: Root, kind: AckKind) {
        debug_assert!(kind != AckKind::Fail, "a failure has a reason");
        self.deltas.push(AckDelta::new(root, kind, 0));
    }

    /// Takes over the statements of others.
    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.failures.len() as u64;
        self.failures.extend(other.failures.iter().cloned());
        self.deltas.extend(other.deltas.iter().map(|delta| match delta.kind {
            AckKind::Fail => AckDelta { xor: delta.xor + before, ..*delta },
            _ => *delta,
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(spout: TaskId, slot: u32) -> Root {
        Root { spout, incarnation: 1, slot, generation: 0 }
    }

    #[test]
    fn acks_of_one_tree_are_combined_and_those_of_others_are_not() {
        let (mut recent, mut here, mut there) = (Recent::new(), Acks::default(), Acks::default());
        recent.ack(&mut here, 1, root(1, 7), 0b0011);
        recent.ack(&mut here, 1, root(1, 8), 0b1000);
        recent.ack(&mut there, 2, root(2, 7), 0b0001);
        assert!(!recent.ack(&mut here, 1, root(1, 7), 0b0110));
        assert!(recent.ack(&mut here, 1, Root { incarnation: 2, ..root(1, 7) }, 1), "another launch");
        let xors = |acks: &Acks| acks.deltas.iter().map(|delta| delta.xor).collect::<Vec<_>>();
        assert_eq!((xors(&here), xors(&there)), (vec![0b0101, 0b1000, 1], vec![1]));
        here.deltas.clear();
        assert!(recent.ack(&mut here, 1, root(1, 7), 1), "what has left is not changed any more");
    }

    #[test]
    fn reasons_keep_to_their_trees_when_statements_are_put_together() {
        let failure = |message: &str| Failure::failed("it", message);
        let (mut one, mut other) = (Acks::default(), Acks::default());
        one.fail(root(1, 1), &failure("one"));
        other.say(root(1, 2), AckKind::Held);
        other.fail(root(1, 3), &failure("other"));
        one.append(&other);
        let batch = AckBatch { incarnation: 1, deltas: one.deltas.clone(), failures: one.failures.clone() };
        let reasons: Vec<String> = [0, 2].iter().map(|at| batch.failure(&batch.deltas[*at]).to_string()).collect();
        assert!(reasons[0].contains("one") && reasons[1].contains("other"), "{reasons:?}");
    }
}
