//! The acker of one spout task: which of its trees are open, and what becomes of them.
//!
//! The algorithm is Storm's: each tuple of a tree has a random number; the XOR over all numbers,
//! each taken once when the tuple is made and once when it is acked, is zero when all are acked.
//! A tree is a slot in an array here, and acks name the slot, so there is nothing to look up. Pure:
//! time comes in as an argument.

use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Root;

use crate::acks::{AckDelta, AckKind};

/// Rows leave at the latest this long after their departure was noted; time-outs allow for it.
const DEPARTURE_SLACK: Duration = Duration::from_millis(1);

/// A ledger without open trees keeps memory for this many.
const MOST_IDLE: usize = 64;

/// The departure of a tree whose first tuples have not all left.
const NOT_YET: u64 = u64::MAX;

/// One tree, or a free slot.
#[derive(Clone, Copy, Debug)]
struct Entry {
    xor: u64,
    /// When its last first tuple left, in nanoseconds since the worker's start, or [`NOT_YET`].
    departed: u64,
    /// From when on its time-out counts: its departure, unless that was reset.
    counts_from: u64,
    /// While no bolt holds a tuple of the tree: the departure plus all time in which bolts held tuples. While
    /// a bolt holds one: the time since the departure in which no bolt did.
    active: u64,
    generation: u32,
    /// The number of its first tuples that have not left yet.
    waiting: u32,
    /// How many of its tuples bolts hold.
    held: u32,
    /// The place of the stream that its first tuple was emitted on.
    stream: u16,
    is_open: bool,
}

impl Entry {
    const FREE: Self = Self {
        xor: 0,
        departed: NOT_YET,
        counts_from: 0,
        active: 0,
        generation: 0,
        waiting: 0,
        held: 0,
        stream: 0,
        is_open: false,
    };
}

/// Trees of one stream that are decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) acked: u64,
    pub(crate) failed: u64,
}

impl Decided {
    #[inline(always)]
    fn note(&mut self, is_acked: bool) {
        self.acked += u64::from(is_acked);
        self.failed += u64::from(!is_acked);
    }
}

/// Whole nanoseconds; 64 bits of them are centuries.
fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// The effect of a statement about a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// No effect on the spout, or the tree is no longer open.
    Nothing,
    /// A bolt holds a tuple of the tree; no bolt did before.
    Held,
    /// No bolt holds a tuple of the tree any more.
    Released,
    /// The tree is decided.
    Settled(Closed, Taken),
}

/// A tree that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) slot: u32,
    /// Whether the tree was acked; otherwise it failed.
    pub(crate) is_acked: bool,
}

/// The times of a decided tree, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The departure since the worker's start, if the tree has departed.
    pub(crate) departed: Option<u64>,
    /// The time since the departure in which no bolt held a tuple of the tree.
    pub(crate) active: u64,
    /// Whether a bolt held a tuple of the tree at the end.
    pub(crate) was_held: bool,
}

/// The open trees of one spout task.
///
/// A slot whose tree is decided is used again only when it was [released](Self::release): until then
/// the spout's message id still stands under it.
#[derive(Debug)]
pub(crate) struct Ledger {
    spout: TaskId,
    incarnation: u32,
    timeout: Option<Duration>,
    entries: Vec<Entry>,
    /// The generation of the first tree of a new slot.
    first_generation: u32,
    free: Vec<u32>,
    open: usize,
    held: usize,
    /// How many trees of each stream were decided since this was last taken.
    decided: Vec<Decided>,
}

impl Ledger {
    pub(crate) fn new(spout: TaskId, incarnation: u32, timeout: Option<Duration>) -> Self {
        Self {
            spout,
            incarnation,
            timeout,
            entries: Vec::new(),
            first_generation: 0,
            free: Vec::new(),
            open: 0,
            held: 0,
            decided: Vec::new(),
        }
    }

    /// How many trees are open.
    pub(crate) fn open_trees(&self) -> usize {
        self.open
    }

    /// How many of the open trees have a tuple that a bolt holds.
    pub(crate) fn held_trees(&self) -> usize {
        self.held
    }

    /// Opens a tree for a tuple of a stream. Its first edges follow by [`start`](Self::start).
    #[inline(always)]
    pub(crate) fn open(&mut self, stream: u16) -> Root {
        self.open_started(stream, 0, 0)
    }

    /// Opens a tree for a tuple of a stream, whose first edges have this XOR and lead to `rows` receivers, at least
    /// one.
    #[inline(always)]
    pub(crate) fn open_started(&mut self, stream: u16, edges: u64, rows: u32) -> Root {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(Entry { generation: self.first_generation, ..Entry::FREE });
                self.entries.len() as u32 - 1
            }
        };
        let entry = &mut self.entries[slot as usize];
        let generation = entry.generation;
        *entry = Entry { xor: edges, waiting: rows, generation, stream, is_open: true, ..Entry::FREE };
        self.open += 1;
        Root { spout: self.spout, incarnation: self.incarnation, slot, generation }
    }

    /// Enters the XOR of a new tree's first edges, which lead to `rows` receivers. A tree without edges is
    /// complete immediately.
    #[inline(always)]
    pub(crate) fn start(&mut self, slot: u32, edges: u64, rows: u32) -> Option<Closed> {
        let entry = &mut self.entries[slot as usize];
        entry.xor ^= edges;
        entry.waiting = rows;
        (entry.xor == 0).then(|| self.close(slot, true))
    }

    /// Fails a tree that was just opened: its tuple could not be sent.
    pub(crate) fn fail(&mut self, slot: u32) -> Closed {
        self.close(slot, false)
    }

    /// Gives back the memory for many trees, if none is open and no slot is waited for. Returns whether it did: slots
    /// begin anew then, with generations that no earlier tree had.
    pub(crate) fn shrink(&mut self) -> bool {
        if self.entries.len() <= MOST_IDLE || self.free.len() < self.entries.len() {
            return false;
        }
        let newest = |newest: u32, entry: &Entry| {
            // Generations may wrap: the one that comes after the others is the newest.
            if entry.generation.wrapping_sub(newest) < 1 << 31 { entry.generation } else { newest }
        };
        self.first_generation = self.entries.iter().fold(self.first_generation, newest).wrapping_add(1);
        (self.entries, self.free) = (Vec::new(), Vec::new());
        true
    }

    /// Takes how many trees of each stream were decided since the last call.
    pub(crate) fn take_decided(&mut self) -> impl Iterator<Item = Decided> {
        self.decided.iter_mut().map(std::mem::take)
    }

    /// Has slots used again: their trees are decided, and the spout was told.
    pub(crate) fn release(&mut self, slots: &[u32]) {
        self.free.extend_from_slice(slots);
    }

    /// Notes that first tuples of trees have left; `trees` names a tree once per tuple, or the root of
    /// [`Anchor::NONE`](galerna_topology_api::engine::Anchor::NONE) for a tuple of no tree. The time of a tree
    /// begins when its last first tuple leaves; `now` is the time just before.
    pub(crate) fn depart(&mut self, trees: &[Root], now: Duration) {
        let now = nanos(now);
        for root in trees {
            let Some(entry) = self.entries.get_mut(root.slot as usize) else { continue };
            let is_ours = root.spout == self.spout && root.incarnation == self.incarnation;
            if entry.generation != root.generation || !is_ours {
                continue;
            }
            entry.waiting = entry.waiting.saturating_sub(1);
            if entry.waiting == 0 {
                entry.departed = now;
                entry.counts_from = now;
                entry.active = if entry.held > 0 { 0 } else { now };
            }
        }
    }

    /// Applies a statement of bolts about a tree. Statements about a tree that is no longer open are ignored.
    #[inline]
    pub(crate) fn apply(&mut self, delta: &AckDelta, now: Duration) -> Applied {
        let Some(entry) = self.entries.get_mut(delta.slot as usize) else { return Applied::Nothing };
        if entry.generation != delta.generation || !entry.is_open {
            return Applied::Nothing;
        }
        let was_held = entry.held > 0;
        match delta.kind {
            AckKind::Ack => {
                entry.xor ^= delta.xor;
                if entry.xor == 0 { self.settle(delta.slot, true, now) } else { Applied::Nothing }
            }
            AckKind::Fail => self.settle(delta.slot, false, now),
            AckKind::Held => {
                entry.held += 1;
                if entry.held > 1 {
                    return Applied::Nothing;
                }
                entry.active = nanos(now).saturating_sub(entry.active);
                self.held += 1;
                Applied::Held
            }
            AckKind::Released => {
                entry.held = entry.held.saturating_sub(1);
                if entry.held > 0 || !was_held {
                    return Applied::Nothing;
                }
                entry.active = nanos(now).saturating_sub(entry.active);
                self.held -= 1;
                Applied::Released
            }
            AckKind::Reset => {
                entry.counts_from = nanos(now);
                Applied::Nothing
            }
        }
    }

    #[inline(always)]
    fn settle(&mut self, slot: u32, is_acked: bool, now: Duration) -> Applied {
        let Entry { departed, active, held, .. } = self.entries[slot as usize];
        let was_held = held > 0;
        let active = if was_held { active } else { nanos(now).saturating_sub(active) };
        let taken = Taken { departed: (departed != NOT_YET).then_some(departed), active, was_held };
        Applied::Settled(self.close(slot, is_acked), taken)
    }

    /// When the time of a tree is over that departed at this time.
    pub(crate) fn deadline(&self, departed: Duration) -> Duration {
        departed + self.timeout.unwrap_or(Duration::MAX / 2) + DEPARTURE_SLACK
    }

    /// Fails all trees whose time is over, and answers when to look again: never before a tree's
    /// time-out, and at most a sixteenth of it later.
    pub(crate) fn expire(&mut self, now: Duration, settled: &mut impl Extend<Closed>) -> Option<Duration> {
        let timeout = self.timeout?;
        let mut earliest: Option<Duration> = None;
        if self.open > 0 {
            for slot in 0..self.entries.len() {
                let entry = &self.entries[slot];
                // The time of a tree that waits for room has not begun.
                if !entry.is_open || entry.departed == NOT_YET {
                    continue;
                }
                let deadline = Duration::from_nanos(entry.counts_from) + timeout + DEPARTURE_SLACK;
                if deadline <= now {
                    settled.extend([self.close(slot as u32, false)]);
                } else {
                    earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
                }
            }
        }
        let least = now + (timeout / 16).max(Duration::from_millis(1));
        Some(earliest.unwrap_or(now + timeout).max(least))
    }

    /// Fails all open trees: the spout that emitted them is gone.
    pub(crate) fn fail_all(&mut self, settled: &mut impl Extend<Closed>) {
        for slot in 0..self.entries.len() {
            if self.entries[slot].is_open {
                settled.extend([self.close(slot as u32, false)]);
            }
        }
    }

    fn close(&mut self, slot: u32, is_acked: bool) -> Closed {
        let entry = &mut self.entries[slot as usize];
        self.held -= usize::from(entry.held > 0);
        entry.is_open = false;
        entry.generation = entry.generation.wrapping_add(1);
        let stream = usize::from(entry.stream);
        self.open -= 1;
        match self.decided.get_mut(stream) {
            Some(decided) => decided.note(is_acked),
            None => self.note_first(stream, is_acked),
        }
        Closed { slot, is_acked }
    }

    /// The first tree of a stream that is decided.
    #[cold]
    fn note_first(&mut self, stream: usize, is_acked: bool) {
        self.decided.resize(stream + 1, Decided::default());
        self.decided[stream].note(is_acked);
    }
}

#[cfg(test)]
mod tests;
