//! Tuples that a bolt keeps beyond the call that received them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::engine::{Anchor, Root, TupleSource};
use crate::output_handle::HeldRef;
use crate::tasks::TaskId;
use crate::tuple::{Tuple, TupleAnchors};
use crate::value::Value;

/// A kept tuple: its values, and a token to ack or fail it.
///
/// The token cannot be cloned. Ack or fail the tuple through the emitter or an
/// [`OutputHandle`](crate::OutputHandle); dropping the tuple fails its trees immediately. An `OutputHandle`
/// also acks or fails a tuple by its [`id`](Self::id).
pub struct HeldTuple {
    source: Arc<TupleSource>,
    task: TaskId,
    values: Box<[Value]>,
    token: Token,
}

impl HeldTuple {
    /// The tuple, to read its fields.
    pub fn tuple(&self) -> Tuple<'_> {
        let anchors = TupleAnchors::Held(&self.source);
        Tuple { source: &self.source, task: self.task, values: &self.values, anchors }
    }

    /// The values, in the order of the fields.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The id of this tuple. Spawned work anchors rows to the id, and acks or fails the tuple by the id,
    /// while the bolt keeps the tuple itself.
    pub fn id(&self) -> HeldId {
        self.token.id.clone()
    }

    pub(crate) fn slot(&self) -> u32 {
        self.token.id.slot
    }
}

impl std::fmt::Debug for HeldTuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.tuple().fmt(f)
    }
}

/// The id of a [`HeldTuple`]. Unlike the tuple, an id can be cloned, and dropping an id decides nothing.
///
/// An id is valid until the tuple is acked or failed.
#[derive(Clone)]
pub struct HeldId {
    slot: u32,
    generation: u32,
    /// Identifies the table, and so the instance of the bolt.
    dropped: Arc<Dropped>,
}

impl std::fmt::Debug for HeldId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldId({}, {})", self.slot, self.generation)
    }
}

/// Why an id finds no held tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotHeld {
    /// The tuple was acked or failed.
    Decided,
    /// The instance that kept the tuple is lost, and the tuple failed with it.
    Lost,
}

/// The right to decide about one entry of a [`HeldTable`], once.
struct Token {
    id: HeldId,
    is_spent: bool,
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.is_spent {
            self.id.dropped.push(self.id.slot, self.id.generation);
        }
    }
}

/// Tokens that were dropped without a decision, from any thread, and who to wake about it.
#[derive(Debug, Default)]
struct Dropped {
    is_any: AtomicBool,
    tokens: Mutex<DroppedTokens>,
}

#[derive(Debug, Default)]
struct DroppedTokens {
    /// Slots and their generations.
    slots: Vec<(u32, u32)>,
    waker: Option<Waker>,
}

impl Dropped {
    fn lock(&self) -> MutexGuard<'_, DroppedTokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, slot: u32, generation: u32) {
        let waker = {
            let mut tokens = self.lock();
            tokens.slots.push((slot, generation));
            self.is_any.store(true, Ordering::Release);
            tokens.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What the engine remembers of one kept tuple.
#[derive(Debug)]
pub struct HeldEntry {
    /// Its ties to trees.
    pub anchors: Vec<Anchor>,
    /// The XOR of the edges of what was emitted anchored to this tuple: the same for all its trees.
    pub emitted: u64,
    /// Whether its rows are nobody's to replay.
    pub is_final: bool,
    /// The task that emitted it, and the place of its stream among that one's.
    pub source: (TaskId, u16),
    /// When the call that it came in began, as the engine counts time, once the engine has noted it.
    /// A copy of a tuple that was kept before came in no call.
    pub called: Option<Duration>,
    /// How many tokens are out for it.
    tokens: u32,
}

/// The tuples that one task holds. Belongs to the engine and outlives the user's instance.
#[derive(Debug, Default)]
pub struct HeldTable {
    slots: Vec<(u32, Option<HeldEntry>)>,
    free: Vec<u32>,
    dropped: Arc<Dropped>,
}

impl HeldTable {
    /// How many tuples are held.
    #[inline]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing is held.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry in a slot.
    pub fn entry(&mut self, slot: u32) -> Option<&mut HeldEntry> {
        self.slots.get_mut(slot as usize).and_then(|(_, entry)| entry.as_mut())
    }

    /// Removes an entry, because it was decided; its slot is used again under a new generation.
    pub fn remove(&mut self, slot: u32) -> Option<HeldEntry> {
        let (generation, entry) = self.slots.get_mut(slot as usize)?;
        let entry = entry.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        Some(entry)
    }

    /// Removes all entries, because the instance that held the tuples is lost. Its tokens and ids find no
    /// entry from now on.
    pub fn clear(&mut self) -> Vec<HeldEntry> {
        self.dropped = Arc::default();
        (0..self.slots.len() as u32).filter_map(|slot| self.remove(slot)).collect()
    }

    /// Whether tokens were dropped without a decision. No lock.
    #[inline]
    pub fn has_dropped(&self) -> bool {
        self.dropped.is_any.load(Ordering::Acquire)
    }

    /// Has `waker` woken at the next drop of a token without a decision. Answers whether there was
    /// one already.
    pub fn watch_dropped(&self, waker: &Waker) -> bool {
        self.dropped.lock().waker = Some(waker.clone());
        self.has_dropped()
    }

    /// The slots whose tokens were dropped without a decision: these tuples fail.
    pub fn take_dropped(&self) -> Vec<u32> {
        let mut tokens = self.dropped.lock();
        self.dropped.is_any.store(false, Ordering::Release);
        let valid = |(slot, generation): &(u32, u32)| {
            self.slots.get(*slot as usize).is_some_and(|(current, entry)| current == generation && entry.is_some())
        };
        tokens.slots.drain(..).filter(valid).map(|(slot, _)| slot).collect()
    }

    /// Spends a token that the user decided with; its slot, unless the instance that kept the tuple
    /// is gone, or the tuple is decided already.
    pub fn spend(&mut self, mut tuple: HeldTuple) -> Option<u32> {
        tuple.token.is_spent = true;
        self.slot_of(&tuple)
    }

    /// Takes a decision about a held tuple. Returns the slot if the decision settles the tuple: an ack by
    /// one of several tokens does not settle it yet.
    pub fn decide(&mut self, held: HeldRef, is_acked: bool) -> Option<u32> {
        match held {
            HeldRef::Id(id) => self.find(&id).ok(),
            HeldRef::Tuple(tuple) => {
                let slot = self.spend(tuple)?;
                (!is_acked || self.count_ack(slot)).then_some(slot)
            }
        }
    }

    /// Counts an ack by one of a tuple's tokens; whether that was the last one.
    pub fn count_ack(&mut self, slot: u32) -> bool {
        self.entry(slot).is_some_and(|entry| {
            entry.tokens = entry.tokens.saturating_sub(1);
            entry.tokens == 0
        })
    }

    /// The entries in these slots as a table of their own, which the slots point into from now on;
    /// and for each of its slots, the slot here.
    pub(crate) fn excerpt(&self, slots: &mut [u32]) -> (Self, Vec<u32>) {
        let (mut excerpt, mut origins) = (Self::default(), Vec::new());
        let mut places = BTreeMap::new();
        for slot in slots {
            let place = *places.entry(*slot).or_insert_with(|| {
                let entry = self.slots.get(*slot as usize).and_then(|(_, entry)| entry.as_ref());
                let copy = entry.map(|entry| HeldEntry { anchors: entry.anchors.clone(), emitted: 0, ..*entry });
                excerpt.slots.push((0, copy));
                origins.push(*slot);
                origins.len() as u32 - 1
            });
            *slot = place;
        }
        (excerpt, origins)
    }

    /// The slot of a kept tuple, unless the instance that kept it is gone.
    pub fn slot_of(&self, tuple: &HeldTuple) -> Option<u32> {
        self.find(&tuple.token.id).ok()
    }

    /// The slot of a held tuple.
    ///
    /// # Errors
    /// When the tuple is no longer held.
    pub fn find(&self, id: &HeldId) -> Result<u32, NotHeld> {
        if !Arc::ptr_eq(&id.dropped, &self.dropped) {
            return Err(NotHeld::Lost);
        }
        match self.slots.get(id.slot as usize) {
            Some((generation, Some(_))) if *generation == id.generation => Ok(id.slot),
            _ => Err(NotHeld::Decided),
        }
    }

    /// The trees that a kept tuple belongs to.
    pub fn roots<'a>(&'a self, tuple: &HeldTuple) -> impl Iterator<Item = Root> + use<'a> {
        let entry = self.slot_of(tuple).and_then(|slot| self.slots[slot as usize].1.as_ref());
        entry.into_iter().flat_map(|entry| entry.anchors.iter().map(|anchor| anchor.root))
    }

    /// Keeps a tuple, in the slot `kept` if this input was kept before.
    pub(crate) fn keep(&mut self, tuple: &Tuple<'_>, kept: Option<u32>) -> HeldTuple {
        let slot = match kept {
            Some(slot) => slot,
            None => self.insert(tuple),
        };
        let generation = self.slots[slot as usize].0;
        if let Some(entry) = self.entry(slot) {
            entry.tokens += 1;
        }
        HeldTuple {
            source: tuple.shared_source().clone(),
            task: tuple.task,
            values: tuple.values.into(),
            token: Token { id: HeldId { slot, generation, dropped: self.dropped.clone() }, is_spent: false },
        }
    }

    /// A placeholder for a tuple outside the batch, whose call fails: null values and a spent token.
    pub(crate) fn nothing(&self, source: &TupleSource) -> HeldTuple {
        HeldTuple {
            source: Arc::new(source.clone()),
            task: 0,
            values: source.fields.iter().map(|_| Value::Null).collect(),
            token: Token {
                id: HeldId { slot: u32::MAX, generation: 0, dropped: self.dropped.clone() },
                is_spent: true,
            },
        }
    }

    fn insert(&mut self, tuple: &Tuple<'_>) -> u32 {
        let anchors: Vec<_> = tuple.anchors().collect();
        let is_final = matches!(tuple.anchors, TupleAnchors::Row(batch, row) if batch.is_final(row));
        let source = (tuple.task, tuple.source.stream_index);
        let entry = HeldEntry { anchors, emitted: 0, is_final, source, called: None, tokens: 0 };
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize].1 = Some(entry);
                slot
            }
            None => {
                self.slots.push((0, Some(entry)));
                self.slots.len() as u32 - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Batch;

    #[test]
    fn kept_tuples_share_the_source_of_their_batch() {
        let source = Arc::new(TupleSource {
            component: "numbers".into(),
            stream_index: 0,
            stream: "default".into(),
            fields: ["n"].into(),
        });
        let mut batch = Batch::new(source.clone());
        batch.values = vec![Value::from(7), Value::from(8)];
        batch.rows = 2;
        let mut table = HeldTable::default();
        let held: Vec<HeldTuple> = (0..2).map(|row| table.keep(&batch.tuple(row), None)).collect();
        assert!(held.iter().all(|held| Arc::ptr_eq(&held.source, &source)));
        assert_eq!(Arc::strong_count(&source), 4, "the test, the batch and two kept tuples");

        drop(batch);
        // A kept tuple that is kept again shares the source as well.
        let again = table.keep(&held[1].tuple(), Some(held[1].slot()));
        assert!(Arc::ptr_eq(&again.source, &source));
        assert_eq!((again.tuple().i64("n"), again.tuple().source_component()), (Ok(8), "numbers"));
        drop((held, again));
        assert_eq!(Arc::strong_count(&source), 1);
    }
}
