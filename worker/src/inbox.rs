//! The queue in front of a task. It knows how many tuples wait in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use galerna_topology_api::Failure;
use galerna_topology_api::engine::{Anchor, Batch, Root};

use crate::acks::{AckBatch, AckDelta};
use crate::lane::Lane;
use crate::message::Message;
use crate::parcel::{Delivery, FULL, Origin, Rows, clear};

/// The memory for values and anchors that an idle task keeps, in entries of each.
const MOST_SPARE: usize = 512;

/// The way into a task of this worker, for its lane. Unbounded in itself: tuples are bounded by credits, acks by
/// open trees, markers by edges.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    task: AtomicWaker,
    queued: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    /// Empty memory for the next rows.
    spare: Option<Delivery>,
    /// Empty memory for the next statements about trees.
    spare_acks: Option<Vec<AckDelta>>,
}

/// What comes out of it, for the task alone.
#[derive(Debug)]
pub(crate) struct Arrivals {
    inbox: Inbox,
    /// The lane that brings what is in the queue.
    lane: Arc<Lane>,
}

impl Inbox {
    /// A new queue.
    pub(crate) fn new() -> Self {
        let (state, task, queued) = (Mutex::default(), AtomicWaker::new(), Arc::default());
        Self(Arc::new(Shared { state, task, queued }))
    }

    /// The end of the queue for the task itself.
    pub(crate) fn arrivals(&self, lane: Arc<Lane>) -> Arrivals {
        Arrivals { inbox: self.clone(), lane }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let was_empty = state.messages.is_empty();
        change(&mut state);
        drop(state);
        if was_empty {
            self.0.task.wake();
        }
    }

    /// Puts a message in. A task that has ended needs none.
    pub(crate) fn send(&self, message: Message) {
        if let Message::Data(delivery) = &message {
            self.count(delivery.batch.rows);
        }
        self.change(|state| state.messages.push_back(message));
    }

    /// Counts rows before they can be taken out, so that the count never falls below zero.
    fn count(&self, rows: usize) {
        self.0.queued.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Puts rows in, into the last batch if they fit.
    pub(crate) fn append(&self, rows: Rows<'_, '_>, weight: u32, origin: Origin) {
        let count = rows.len();
        self.count(count);
        self.change(|state| {
            if let Some(Message::Data(last)) = state.messages.back_mut()
                && Arc::ptr_eq(&last.batch.source, rows.source)
                && last.batch.rows + count <= FULL
            {
                return last.append(rows, weight, origin);
            }
            let mut delivery = state.spare.take().unwrap_or_else(|| Delivery::empty(rows.source.clone()));
            if !Arc::ptr_eq(&delivery.batch.source, rows.source) {
                delivery.batch.source = rows.source.clone();
            }
            delivery.append(rows, weight, origin);
            state.messages.push_back(Message::Data(delivery));
        });
    }

    /// Gives back memory that only a busy task needs.
    pub(crate) fn shrink(&self) {
        let mut state = self.lock();
        (state.spare, state.spare_acks) = (None, None);
        state.messages.shrink_to_fit();
    }

    /// Puts statements about trees of one launch of the spout task in, into the last ones if they fit.
    pub(crate) fn append_acks(&self, deltas: &[AckDelta], failures: &[Arc<Failure>]) {
        let Some(AckDelta { incarnation, .. }) = deltas.first().copied() else { return };
        self.change(|state| {
            if let Some(Message::Acks(last)) = state.messages.back_mut()
                && last.incarnation == incarnation
                && last.failures.is_empty()
                && failures.is_empty()
            {
                last.deltas.extend_from_slice(deltas);
                return;
            }
            let mut of_batch = state.spare_acks.take().unwrap_or_default();
            of_batch.extend_from_slice(deltas);
            let batch = AckBatch { incarnation, deltas: of_batch, failures: failures.to_vec() };
            state.messages.push_back(Message::Acks(batch));
        });
    }
}

impl Arrivals {
    /// The next message, if there is one. Takes in what has come for the lane first if nothing is here.
    pub(crate) fn try_next(&mut self) -> Option<Message> {
        if let Some(message) = self.inbox.lock().messages.pop_front() {
            return Some(message);
        }
        self.lane.take_in().then(|| self.inbox.lock().messages.pop_front()).flatten()
    }

    /// The next message.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Message> {
        if let Some(message) = self.try_next() {
            return Poll::Ready(message);
        }
        self.inbox.0.task.register(cx.waker());
        // What came between is seen here, or wakes the task.
        match self.inbox.lock().messages.pop_front() {
            Some(message) => Poll::Ready(message),
            None => Poll::Pending,
        }
    }

    /// Tuples that were taken out have been executed.
    pub(crate) fn executed(&self, tuples: usize) {
        self.inbox.0.queued.fetch_sub(tuples as u64, Ordering::Relaxed);
    }

    /// Whether no tuple waits and all tuples that were taken out are executed.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbox.0.queued.load(Ordering::Relaxed) == 0
    }

    /// How many tuples wait, those included that were taken out and are not executed yet.
    pub(crate) fn queued(&self) -> Arc<AtomicU64> {
        self.inbox.0.queued.clone()
    }

    /// Keeps the memory of statements about trees for the next ones.
    pub(crate) fn recycle_acks(&self, mut deltas: Vec<AckDelta>) {
        deltas.clear();
        if deltas.capacity() <= MOST_SPARE {
            self.inbox.lock().spare_acks = Some(deltas);
        }
    }

    /// Keeps the memory of an executed batch for the next one.
    pub(crate) fn recycle(&self, mut executed: Delivery) {
        let Delivery { batch, dues } = &mut executed;
        if batch.values.capacity() <= MOST_SPARE && batch.anchors.capacity() <= MOST_SPARE {
            clear(batch);
            dues.clear();
            self.inbox.lock().spare = Some(executed);
        }
    }

    /// The lane that brings what comes.
    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }
}

/// The trees that rows are tied to, to fail them.
pub(crate) fn roots_of(batch: &Batch) -> impl Iterator<Item = Root> {
    let more = batch.more_anchors.iter().map(|(_, anchor)| anchor);
    batch.anchors.iter().chain(more).filter(|anchor: &&Anchor| !anchor.is_none()).map(|anchor| anchor.root)
}
