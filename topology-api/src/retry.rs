//! Book-keeping for reliable spouts: what is open, what waits to be emitted again, what is given up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::context::TopologyContext;
use crate::human::HumanDuration;
use crate::value::Value;

/// How often and when a failed tuple is emitted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// How often at most, beyond the first time.
    pub limit: u32,
    /// How long after the first failure; twice as long after each further one.
    pub backoff: HumanDuration,
}

/// Five times, first after 100 ms.
impl Default for RetryPolicy {
    fn default() -> Self {
        Self { limit: 5, backoff: HumanDuration(Duration::from_millis(100)) }
    }
}

/// The longest wait between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// What became of a failed tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It will be due again.
    WillRetry,
    /// It has failed too often. It was listed, and is forgotten.
    GaveUp,
    /// It was not open.
    Unknown,
}

struct Entry {
    values: Vec<Value>,
    failures: u32,
}

/// The open tuples of a reliable spout, each under its message id, and those that failed.
///
/// Call [`sent`](Self::sent) at the first emit, [`ack`](Self::ack) and [`fail`](Self::fail) from
/// the spout's methods of these names, and at the start of `next` emit what [`due`](Self::due)
/// gives. The input has ended only when [`is_waiting`](Self::is_waiting) is false too.
pub struct RetryBuffer<K> {
    policy: RetryPolicy,
    open: BTreeMap<K, Entry>,
    waiting: BTreeMap<(Duration, K), ()>,
}

impl<K: Ord + Clone> RetryBuffer<K> {
    /// An empty buffer.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { policy, open: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// Remembers a tuple that is emitted for the first time.
    pub fn sent(&mut self, id: K, values: Vec<Value>) {
        self.open.insert(id, Entry { values, failures: 0 });
    }

    /// Forgets a tuple that was processed.
    pub fn ack(&mut self, id: &K) {
        self.open.remove(id);
    }

    /// Has a failed tuple wait for its next try, or gives it up, which is listed and counted.
    pub fn fail(&mut self, id: &K, context: &TopologyContext) -> Failed {
        let Some(entry) = self.open.get_mut(id) else { return Failed::Unknown };
        entry.failures += 1;
        if entry.failures > self.policy.limit {
            let reason = format!("failed {} times", entry.failures);
            context.give_up(&entry.values, &reason);
            self.open.remove(id);
            return Failed::GaveUp;
        }
        let factor = 2u32.saturating_pow(entry.failures - 1);
        let wait = self.policy.backoff.0.saturating_mul(factor).min(LONGEST_BACKOFF.max(self.policy.backoff.0));
        self.waiting.insert((context.elapsed() + wait, id.clone()), ());
        Failed::WillRetry
    }

    /// The next tuple to emit again now, if its wait is over. It is counted as replayed.
    pub fn due(&mut self, context: &TopologyContext) -> Option<(K, Vec<Value>)> {
        loop {
            let ((at, id), ()) = self.waiting.first_key_value()?;
            if *at > context.elapsed() {
                return None;
            }
            let key = (*at, id.clone());
            self.waiting.remove(&key);
            // One that was acked meanwhile is no longer open.
            if let Some(entry) = self.open.get(&key.1) {
                context.count_replayed(1);
                return Some((key.1, entry.values.clone()));
            }
        }
    }

    /// Whether tuples wait for their next try.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How long until the next try, zero if it is due.
    pub fn wait(&self, context: &TopologyContext) -> Option<Duration> {
        self.waiting.first_key_value().map(|((at, _), ())| at.saturating_sub(context.elapsed()))
    }

    /// How many tuples are open, those that wait included.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
