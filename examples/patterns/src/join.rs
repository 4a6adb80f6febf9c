//! A join by key: holds a tuple until its partner has come, and acks both together.

use std::collections::{BTreeMap, VecDeque};

use galerna::prelude::*;

/// Joins the tuples of two components that have the same key.
///
/// A tuple that waits for its partner is not acked. If this task or its worker dies meanwhile, the
/// spout replays it, so that nothing of a join is lost. What has no partner when the input ends is
/// emitted with null in its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Join {
    /// The field that both sides have.
    key: String,
    left: Side,
    right: Side,
}

/// One side of the join.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    /// The component that it comes from.
    from: String,
    /// The field to take from it.
    field: String,
    /// Those without a partner yet, by key.
    #[serde(skip)]
    waiting: BTreeMap<Value, VecDeque<HeldTuple>>,
}

impl Side {
    /// Takes the oldest waiting tuple of this key.
    fn take(&mut self, key: &Value) -> Option<HeldTuple> {
        let queue = self.waiting.get_mut(key)?;
        let oldest = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(key);
        }
        oldest
    }

    /// The field that this side gives to the join; null if there is no tuple.
    fn value_of(&self, tuple: Option<&HeldTuple>) -> Result<Value> {
        tuple.map_or(Ok(Value::Null), |held| Ok(held.tuple().get(&self.field)?.clone()))
    }
}

impl Join {
    /// Emits a pair, anchored to both of its sides, and acks them.
    fn emit(
        &self,
        key: Value,
        left: Option<HeldTuple>,
        right: Option<HeldTuple>,
        out: &mut ManualEmitter<'_>,
    ) -> BoltResult {
        let row = values![key, self.left.value_of(left.as_ref())?, self.right.value_of(right.as_ref())?];
        let sides = || left.iter().chain(&right);
        out.emit_anchored(sides(), row);
        for side in left.into_iter().chain(right) {
            out.ack(side);
        }
        Ok(())
    }
}

impl ManualBolt for Join {
    fn output(&self) -> Streams {
        Streams::default_fields([self.key.as_str(), &self.left.field, &self.right.field])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let key = tuple.get(&self.key)?.clone();
        let is_left = tuple.source_component() == self.left.from;
        let (mine, other) = if is_left { (&mut self.left, &mut self.right) } else { (&mut self.right, &mut self.left) };
        match other.take(&key) {
            None => {
                mine.waiting.entry(key).or_default().push_back(out.keep(tuple));
                Ok(())
            }
            Some(partner) => {
                let held = out.keep(tuple);
                let (left, right) = if is_left { (held, partner) } else { (partner, held) };
                self.emit(key, Some(left), Some(right), out)
            }
        }
    }

    /// Nothing follows for now: what still waits goes out alone. Without this, a bounded run could
    /// not end, as its last tuples would never be acked.
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        let lefts = std::mem::take(&mut self.left.waiting);
        let rights = std::mem::take(&mut self.right.waiting);
        for (key, held) in
            lefts.into_iter().flat_map(|(key, queue)| queue.into_iter().map(move |held| (key.clone(), held)))
        {
            self.emit(key, Some(held), None, out)?;
        }
        for (key, held) in
            rights.into_iter().flat_map(|(key, queue)| queue.into_iter().map(move |held| (key.clone(), held)))
        {
            self.emit(key, None, Some(held), out)?;
        }
        Ok(())
    }
}
