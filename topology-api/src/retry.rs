//! Book-keeping for reliable spouts: open tuples, tuples that wait for the next try, tuples that are given up.

mod policy;

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::Arc;
use std::time::Duration;

use crate::context::TopologyContext;
use crate::error::{Error, Result};
use crate::failure::Failure;
use crate::spout_emitter::SpoutEmitter;
use crate::value::Value;
pub use policy::{Bound, Boundedness, DeadLetters, OnGiveUp, PolicyError, Retries, RetryPolicy};

/// Failed tuples that may wait before [`RetryBuffer::is_full`].
const MOST_WAITING: usize = 10_000;

/// Bytes that failed tuples may hold while they wait, before [`RetryBuffer::is_full`].
const MOST_BYTES: usize = 64 << 20;

/// What became of a failed tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The tuple will be due again, as itself or as a dead letter.
    WillRetry,
    /// The tuple was given up and listed. The source may move past the tuple.
    Passed,
    /// The tuple was given up and listed. The source's position must stay before the tuple.
    Held,
    /// The tuple was not open.
    Unknown,
}

/// Tuples that a spout emits again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retrying {
    /// How many tuples have failed and are neither acked nor given up.
    pub tuples: u64,
    /// Time of the earliest first failure among these tuples, on the engine's clock.
    pub since: Duration,
    /// The latest failure of any tuple.
    pub failure: Failure,
}

/// An open tuple.
struct Entry {
    values: Vec<Value>,
    /// The failures so far; nothing before the first.
    trouble: Option<Box<Trouble>>,
}

impl Entry {
    /// Whether the tuple was given up, and is emitted as a dead letter.
    fn is_letter(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.is_letter)
    }

    fn bytes(&self) -> usize {
        self.values.iter().map(|value| size_of::<Value>() + value.heap_size()).sum()
    }
}

/// The failures of one tuple.
struct Trouble {
    /// Time of the first failure.
    since: Duration,
    /// Time of the first failed try.
    tried_since: Option<Duration>,
    /// Number of failed tries.
    tries: u32,
    /// Whether the tuple was given up, and is now emitted as a dead letter.
    is_letter: bool,
    /// Time of the next try, while the tuple waits.
    due: Option<Duration>,
}

/// The open tuples of a reliable spout, by message id, and the failures of those that failed.
///
/// Call [`sent`](Self::sent) at the first emit, [`ack`](Self::ack) and [`fail`](Self::fail) from
/// the spout's methods of these names. At the start of `next`, call [`emit_due`](Self::emit_due), and emit new
/// tuples only unless the buffer [is full](Self::is_full). The input has ended only when
/// [`is_waiting`](Self::is_waiting) is false too.
pub struct RetryBuffer<K> {
    policy: RetryPolicy,
    input: Boundedness,
    open: BTreeMap<K, Entry>,
    /// Tuples that wait for the next try, by the time of that try.
    waiting: BTreeSet<(Duration, K)>,
    /// Bytes of the tuples that wait.
    waiting_bytes: usize,
    /// Open tuples that have failed, by the time of the first failure.
    failing: BTreeSet<(Duration, K)>,
    /// The latest failure.
    latest: Option<Failure>,
}

impl<K: Ord + Clone> RetryBuffer<K> {
    /// An empty buffer.
    pub fn new(policy: impl Into<RetryPolicy>, input: Boundedness) -> Self {
        Self {
            policy: policy.into(),
            input,
            open: BTreeMap::new(),
            waiting: BTreeSet::new(),
            waiting_bytes: 0,
            failing: BTreeSet::new(),
            latest: None,
        }
    }

    /// For the spout's `open`: checks that the file of dead letters can be written.
    ///
    /// # Errors
    /// When the file can be neither opened nor created; fatal.
    pub fn check_dead_letters(&self, context: &TopologyContext) -> Result<()> {
        match &self.policy.dead_letters {
            Some(DeadLetters::Path(path)) => {
                context.sync_dead_letters(path).map_err(|error| Error::fatal(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Marks the input as ended: it counts as bounded from now on.
    pub fn input_ended(&mut self) {
        self.input = Boundedness::Bounded;
    }

    /// Remembers a tuple that is emitted for the first time.
    pub fn sent(&mut self, id: K, values: Vec<Value>) {
        let entry = Entry { values, trouble: None };
        match self.open.entry(id) {
            btree_map::Entry::Vacant(place) => {
                place.insert(entry);
            }
            btree_map::Entry::Occupied(mut place) => {
                let (id, earlier) = (place.key().clone(), place.insert(entry));
                self.forget(&id, earlier);
            }
        }
    }

    /// Forgets a tuple that was processed.
    pub fn ack(&mut self, id: &K, context: &TopologyContext) {
        let Some(entry) = self.open.remove(id) else { return };
        if entry.trouble.is_some() {
            self.forget(id, entry);
            self.note_retrying(context);
        }
    }

    /// Forgets the failures of a tuple that is no longer open.
    fn forget(&mut self, id: &K, entry: Entry) {
        let bytes = entry.bytes();
        let Some(trouble) = entry.trouble else { return };
        self.failing.remove(&(trouble.since, id.clone()));
        if let Some(due) = trouble.due {
            self.waiting.remove(&(due, id.clone()));
            self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        }
    }

    /// Has a failed tuple wait for its next try, or gives it up, as the policy says. Time-outs and lost workers
    /// never give a tuple up.
    pub fn fail(&mut self, id: &K, failure: &Failure, context: &TopologyContext) -> Failed {
        let Some(entry) = self.open.get_mut(id) else { return Failed::Unknown };
        let now = context.elapsed();
        let trouble = entry.trouble.get_or_insert_with(|| {
            self.failing.insert((now, id.clone()));
            Box::new(Trouble { since: now, tried_since: None, tries: 0, is_letter: false, due: None })
        });
        self.latest = Some(failure.clone());
        let mut outcome = Failed::WillRetry;
        if failure.is_try() {
            trouble.tries = trouble.tries.saturating_add(1);
            let since = *trouble.tried_since.get_or_insert(now);
            let retries = &self.policy.retries;
            if !trouble.is_letter && retries.is_over(self.input, trouble.tries, now.saturating_sub(since)) {
                outcome = give_up(&self.policy, entry, failure, context).unwrap_or_else(|error| {
                    // What keeps the tuple now is the dead letter.
                    let failure = Failure::failed(context.component_id(), &error.to_string());
                    self.latest = Some(Arc::unwrap_or_clone(failure));
                    context.report_error(error);
                    Failed::WillRetry
                });
            }
        }
        match outcome {
            Failed::WillRetry => self.wait(id, failure.is_try(), now),
            _ => {
                if let Some(entry) = self.open.remove(id) {
                    self.forget(id, entry);
                }
            }
        }
        self.note_retrying(context);
        outcome
    }

    fn wait(&mut self, id: &K, is_try: bool, now: Duration) {
        let Some(entry) = self.open.get_mut(id) else { return };
        let bytes = entry.bytes();
        let Some(trouble) = &mut entry.trouble else { return };
        let retries = &self.policy.retries;
        let wait = if is_try { retries.wait(trouble.tries) } else { retries.wait_after_loss() };
        let due = now.saturating_add(wait);
        if let Some(earlier) = trouble.due.replace(due) {
            self.waiting.remove(&(earlier, id.clone()));
        } else {
            self.waiting_bytes += bytes;
        }
        self.waiting.insert((due, id.clone()));
    }

    /// Emits tuples whose wait is over, at most `most` and as many as there is
    /// [room](SpoutEmitter::room_left) for; dead letters on their stream. Returns how many. Counts them as
    /// replayed, dead letters aside.
    pub fn emit_due(&mut self, out: &mut SpoutEmitter<'_, K>, most: usize) -> usize {
        let most = most.min(out.room_left());
        let (mut emitted, mut letters) = (0, 0);
        while emitted < most
            && let Some((id, entry)) = self.take_due(out.context().elapsed())
        {
            let (id, values, is_letter) = (id, entry.values.clone(), entry.is_letter());
            match &self.policy.dead_letters {
                Some(DeadLetters::Stream(stream)) if is_letter => {
                    letters += 1;
                    out.emit_to(id, stream, values);
                }
                _ => out.emit(id, values),
            }
            emitted += 1;
        }
        if emitted > letters {
            out.context().count_replayed((emitted - letters) as u64);
        }
        emitted
    }

    /// The next tuple whose wait is over, for a spout that emits replays in its own way: not for a policy with a
    /// stream of dead letters. Counts it as replayed.
    pub fn due(&mut self, context: &TopologyContext) -> Option<(K, Vec<Value>)> {
        let (id, entry) = self.take_due(context.elapsed())?;
        let values = entry.values.clone();
        context.count_replayed(1);
        Some((id, values))
    }

    fn take_due(&mut self, now: Duration) -> Option<(K, &Entry)> {
        self.waiting.first().filter(|(at, _)| *at <= now)?;
        let (_, id) = self.waiting.pop_first()?;
        let entry = self.open.get_mut(&id)?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(entry.bytes());
        if let Some(trouble) = &mut entry.trouble {
            trouble.due = None;
        }
        Some((id, entry))
    }

    /// Before the spout notes durably that it has moved past tuples: makes sure that their dead letters survive a
    /// loss of power. Does nothing without a file of dead letters.
    ///
    /// # Errors
    /// When the file cannot be synchronized.
    pub fn sync_dead_letters(&self, context: &TopologyContext) -> Result<()> {
        match &self.policy.dead_letters {
            Some(DeadLetters::Path(path)) => context.sync_dead_letters(path),
            _ => Ok(()),
        }
    }

    /// Whether so many failed tuples wait for their next try (10,000, or 64 MiB of values) that the spout should
    /// emit no new ones: what the tuples need may be down.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING || self.waiting_bytes >= MOST_BYTES
    }

    /// Whether tuples wait for their next try.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// How long until the next try, zero if it is due.
    pub fn next_try(&self, context: &TopologyContext) -> Option<Duration> {
        self.waiting.first().map(|(at, _)| at.saturating_sub(context.elapsed()))
    }

    /// How many tuples are open, those that wait included.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Publishes how many tuples are being retried, for how long, and why.
    fn note_retrying(&self, context: &TopologyContext) {
        let (first, tuples) = (self.failing.first(), self.failing.len() as u64);
        let retrying = first.zip(self.latest.as_ref());
        context.note_retrying(retrying.map(|((since, _), failure)| Retrying {
            tuples,
            since: *since,
            failure: failure.clone(),
        }));
    }
}

/// Gives a tuple up: lists it, and writes its dead letter if there is to be one. A tuple whose dead letter cannot be
/// written is not given up.
///
/// # Errors
/// When the dead letter cannot be written.
fn give_up(policy: &RetryPolicy, entry: &mut Entry, failure: &Failure, context: &TopologyContext) -> Result<Failed> {
    let Entry { values, trouble: Some(trouble) } = entry else { return Ok(Failed::WillRetry) };
    let tries = trouble.tries;
    let outcome = match (policy.on_give_up, &policy.dead_letters) {
        (OnGiveUp::Hold, _) => Failed::Held,
        (OnGiveUp::Skip, _) | (OnGiveUp::DeadLetter, None) => Failed::Passed,
        (OnGiveUp::DeadLetter, Some(DeadLetters::Path(path))) => {
            context.write_dead_letter(path, values, failure, tries)?;
            Failed::Passed
        }
        (OnGiveUp::DeadLetter, Some(DeadLetters::Stream(_))) => Failed::WillRetry,
    };
    context.give_up(values, failure, tries);
    if outcome == Failed::WillRetry {
        let component = failure.component().unwrap_or_default();
        values.extend([Value::from(failure.reason()), Value::from(component), Value::Int(tries.into())]);
        trouble.is_letter = true;
        trouble.tries = 0;
    }
    Ok(outcome)
}
