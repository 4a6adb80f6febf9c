//! What bolts tell spouts about their trees, combined per tree and sent in batches.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use galerna_topology_api::engine::Root;
use galerna_topology_api::{Failure, TaskId};

/// What is said about a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AckKind {
    /// Tuples were made and acked: XOR this in.
    Ack = 0,
    /// A tuple failed: `xor` is the place of the reason in [`AckBatch::failures`].
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
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) kind: AckKind,
    pub(crate) xor: u64,
}

/// Statements about trees of one spout task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AckBatch {
    pub(crate) spout: TaskId,
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
const RECENT: usize = 64;

/// The statements for one spout task that have not left yet.
#[derive(Debug)]
struct Pending {
    batch: AckBatch,
    /// For a tree's slot modulo the size: the place of its latest ack in the batch.
    recent: [u32; RECENT],
    /// The place in `pending` of another launch of the same spout task.
    sibling: Option<usize>,
}

impl Pending {
    #[inline]
    fn is_for(&self, root: Root) -> bool {
        self.batch.spout == root.spout && self.batch.incarnation == root.incarnation
    }
}

/// The statements of one task that have not left yet.
#[derive(Debug, Default)]
pub(crate) struct AckOutbox {
    pending: Vec<Pending>,
    /// For each spout task, the place of one of its launches; `sibling` leads to the next launch. The map
    /// is never iterated.
    places: HashMap<TaskId, usize, FixedState>,
    /// The place of the spout that was spoken to last.
    last: usize,
    count: usize,
}

impl AckOutbox {
    /// How many statements wait to leave.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Notes that `xor` is to be taken into a tree.
    #[inline]
    pub(crate) fn ack(&mut self, root: Root, xor: u64) {
        let pending = self.pending_for(root);
        let deltas = &mut pending.batch.deltas;
        let recent = &mut pending.recent[root.slot as usize % RECENT];
        if let Some(known) = deltas.get_mut(*recent as usize)
            && known.slot == root.slot
            && known.generation == root.generation
            && known.kind == AckKind::Ack
        {
            known.xor ^= xor;
            return;
        }
        *recent = deltas.len() as u32;
        deltas.push(AckDelta { slot: root.slot, generation: root.generation, kind: AckKind::Ack, xor });
        self.count += 1;
    }

    /// Notes that a tree failed.
    pub(crate) fn fail(&mut self, root: Root, failure: &Arc<Failure>) {
        let AckBatch { deltas, failures, .. } = &mut self.pending_for(root).batch;
        if failures.last() != Some(failure) {
            failures.push(failure.clone());
        }
        let xor = failures.len() as u64 - 1;
        deltas.push(AckDelta { slot: root.slot, generation: root.generation, kind: AckKind::Fail, xor });
        self.count += 1;
    }

    /// Notes another statement about a tree.
    pub(crate) fn say(&mut self, root: Root, kind: AckKind) {
        debug_assert!(kind != AckKind::Fail, "a failure has a reason");
        let delta = AckDelta { slot: root.slot, generation: root.generation, kind, xor: 0 };
        self.pending_for(root).batch.deltas.push(delta);
        self.count += 1;
    }

    #[inline]
    fn pending_for(&mut self, root: Root) -> &mut Pending {
        if !self.pending.get(self.last).is_some_and(|pending| pending.is_for(root)) {
            self.last = self.place_for(root);
        }
        &mut self.pending[self.last]
    }

    /// The place of the launch of a root. A new launch takes the place of an earlier launch of the same
    /// spout task that has no pending statements, so the outbox does not grow with the number of launches.
    fn place_for(&mut self, root: Root) -> usize {
        let first = self.places.get(&root.spout).copied();
        let (mut next, mut unused) = (first, None);
        while let Some(place) = next {
            let pending = &self.pending[place];
            if pending.is_for(root) {
                return place;
            }
            if pending.batch.deltas.is_empty() {
                unused = Some(place);
            }
            next = pending.sibling;
        }
        if let Some(place) = unused {
            self.pending[place].batch.incarnation = root.incarnation;
            return place;
        }
        let (spout, incarnation) = (root.spout, root.incarnation);
        let batch = AckBatch { spout, incarnation, deltas: Vec::new(), failures: Vec::new() };
        self.pending.push(Pending { batch, recent: [0; RECENT], sibling: first });
        let place = self.pending.len() - 1;
        self.places.insert(root.spout, place);
        place
    }

    /// Takes everything out, a batch per spout task.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = AckBatch> {
        self.count = 0;
        self.pending.iter_mut().filter(|pending| !pending.batch.deltas.is_empty()).map(|pending| {
            let capacity = pending.batch.deltas.len();
            let deltas = std::mem::replace(&mut pending.batch.deltas, Vec::with_capacity(capacity));
            let failures = std::mem::take(&mut pending.batch.failures);
            AckBatch { spout: pending.batch.spout, incarnation: pending.batch.incarnation, deltas, failures }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(spout: TaskId, slot: u32) -> Root {
        Root { spout, incarnation: 1, slot, generation: 0 }
    }

    #[test]
    fn acks_of_one_tree_are_combined_and_each_spout_gets_its_own() {
        let mut outbox = AckOutbox::default();
        outbox.ack(root(1, 7), 0b0011);
        outbox.ack(root(1, 8), 0b1000);
        outbox.ack(root(2, 7), 0b0001);
        outbox.ack(root(1, 7), 0b0110);
        assert_eq!(outbox.len(), 3);
        let batches: Vec<_> = outbox.drain().collect();
        assert_eq!(batches.len(), 2);
        assert_eq!(batches[0].deltas.iter().map(|delta| delta.xor).collect::<Vec<_>>(), [0b0101, 0b1000]);
        assert_eq!(batches[1].deltas.iter().map(|delta| delta.xor).collect::<Vec<_>>(), [0b0001]);
        assert_eq!(outbox.drain().count(), 0);
    }
    #[test]
    fn spout_task_that_is_relaunched_does_not_grow_the_outbox() {
        let mut outbox = AckOutbox::default();
        for incarnation in 0..10_000 {
            outbox.ack(Root { incarnation, ..root(1, 7) }, 1);
            let batches: Vec<_> = outbox.drain().collect();
            assert_eq!(batches.len(), 1);
            assert_eq!((batches[0].incarnation, batches[0].deltas.len()), (incarnation, 1));
        }
        assert_eq!((outbox.pending.len(), outbox.places.len()), (1, 1));
    }

    #[test]
    fn launches_of_one_spout_task_that_are_spoken_of_together_stay_apart() {
        let mut outbox = AckOutbox::default();
        let of = |incarnation| Root { incarnation, ..root(1, 7) };
        for _ in 0..3 {
            for incarnation in [1, 2, 3, 2, 1] {
                outbox.ack(of(incarnation), 1 << incarnation);
                outbox.ack(root(2, 7), 1);
            }
            outbox.say(of(1), AckKind::Reset);
            let mut batches: Vec<_> = outbox.drain().filter(|batch| batch.spout == 1).collect();
            batches.sort_by_key(|batch| batch.incarnation);
            let summary = batches.iter().map(|batch| (batch.incarnation, batch.deltas.len(), batch.deltas[0].xor));
            assert_eq!(summary.collect::<Vec<_>>(), [(1, 2, 0), (2, 1, 0), (3, 1, 1 << 3)]);
        }
        assert_eq!(outbox.pending.len(), 4);
    }
}
