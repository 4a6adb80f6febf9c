//! How the tasks of one worker reach all tasks of the topology, wherever those run, and what comes
//! in over links.
//!
//! There is a [`Door`] for each task. Whoever sends to a task sends through its door, which knows
//! the way: into the inbox of a task of this worker, over a link, or into a queue while the task
//! moves. So a task can move without those who send to it noticing.

mod door;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_topology_api::engine::Batch;
use galerna_topology_api::{Failure, TaskId};

use crate::acks::AckOutbox;
use crate::credit::{Credit, Progress};
use crate::link::{Frame, Link};
use crate::message::{CreditReturn, Delivery, Message};
pub(crate) use door::{Door, Way};

type Credits = BTreeMap<(TaskId, TaskId), (u32, Arc<Credit>)>;

/// The number of batches that this worker has dropped because they came from a replaced launch of a worker,
/// or were for a task that no longer runs at their destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct FencedBatches(Arc<AtomicU64>);

impl FencedBatches {
    pub(crate) fn add(&self, batches: u64) {
        self.0.fetch_add(batches, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All doors of one worker, and the credits of its tasks.
#[derive(Debug)]
pub(crate) struct Exchange {
    doors: BTreeMap<TaskId, Arc<Door>>,
    /// By the tasks that send and receive, with the launch of the sender.
    credits: Mutex<Credits>,
    /// Grows when a task comes or goes.
    locality: AtomicU64,
    pub(crate) fenced_batches: FencedBatches,
}

impl Exchange {
    /// Doors to these tasks, all held until they are opened.
    pub(crate) fn new(tasks: impl IntoIterator<Item = TaskId>) -> Self {
        let doors = tasks.into_iter().map(|task| (task, Arc::new(Door::new(task)))).collect();
        let (credits, locality) = (Mutex::default(), AtomicU64::new(0));
        Self { doors, credits, locality, fenced_batches: FencedBatches::default() }
    }

    /// The way into a task of this topology.
    pub(crate) fn door(&self, task: TaskId) -> Option<&Arc<Door>> {
        self.doors.get(&task)
    }

    /// Whether a task runs in this worker.
    pub(crate) fn is_local(&self, task: TaskId) -> bool {
        self.door(task).is_some_and(|door| door.is_local())
    }

    /// Grows whenever a task comes to this worker or leaves it.
    pub(crate) fn locality(&self) -> u64 {
        self.locality.load(Ordering::Relaxed)
    }

    /// Opens a task's door to another way. `again` is what was sent the way before and may not have
    /// arrived.
    pub(crate) fn open(&self, task: TaskId, way: Way, again: Vec<Frame>) {
        let Some(door) = self.door(task) else { return };
        let again = again.into_iter().filter_map(|frame| self.message_again(frame)).collect();
        door.open(way, again);
        self.locality.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes whether a task belongs to this worker, so that what comes for it waits until it is here.
    pub(crate) fn expect(&self, task: TaskId, is_expected: bool) {
        let Some(door) = self.door(task) else { return };
        door.expect(is_expected).into_iter().for_each(|message| self.refuse(message));
    }

    /// Tells all tasks again what is known of the edges from this worker's tasks.
    pub(crate) fn tell_marks(&self) {
        self.doors.values().for_each(|door| door.tell_marks());
    }

    /// A task has left this worker: what it said of its edges is no longer this worker's to tell.
    pub(crate) fn forget_marks_of(&self, task: TaskId) {
        for door in self.doors.values() {
            door.forget_marks_of(task);
        }
    }

    /// A task of this worker is told to end: what comes over links from now on is not for it.
    pub(crate) fn detach(&self, task: TaskId) {
        let Some(door) = self.door(task) else { return };
        door.detach();
        self.locality.fetch_add(1, Ordering::Relaxed);
    }

    /// Tuples came for a task that is not here, from a worker that knew no better: they fail, and
    /// their sender gets its credit back.
    fn refuse(&self, message: Message) {
        let Message::Data(Delivery { batch, weight, credit }) = message else { return };
        self.fenced_batches.add(1);
        credit.give_back(weight, Progress::default());
        let (mut fails, lost) = (AckOutbox::default(), Arc::new(Failure::Lost));
        let more = batch.more_anchors.iter().map(|(_, anchor)| anchor);
        for anchor in batch.anchors.iter().chain(more).filter(|anchor| !anchor.is_none()) {
            fails.fail(anchor.root, &lost);
        }
        for batch in fails.drain() {
            if let Some(spout) = self.door(batch.spout) {
                spout.send(Message::Acks(batch));
            }
        }
    }

    /// A frame that one of this worker's tasks has sent, as the message that it was made of.
    fn message_again(&self, frame: Frame) -> Option<Message> {
        Some(match frame {
            Frame::Data { batch, weight, .. } => {
                // What an earlier launch has sent counts against no credit any more.
                let credit = self.credit_of(&batch).unwrap_or_default();
                credit.take(weight);
                Message::Data(Delivery { batch, weight, credit: CreditReturn::Local(credit) })
            }
            Frame::Marker { from, marker, .. } => Message::Marker { from, marker },
            Frame::Acks(batch) => Message::Acks(batch),
            Frame::Credit { .. } | Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => return None,
        })
    }

    /// A frame that was sent before is sent again to a launch that has not heard of it.
    pub(crate) fn take_again(&self, frame: &Frame) {
        if let Frame::Data { batch, weight, .. } = frame
            && let Some(credit) = self.credit_of(batch)
        {
            credit.take(*weight);
        }
    }

    fn credits(&self) -> MutexGuard<'_, Credits> {
        self.credits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credit that a batch counts against.
    fn credit_of(&self, batch: &Batch) -> Option<Arc<Credit>> {
        let credits = self.credits();
        let (launch, credit) = credits.get(&(batch.source.task, batch.target))?;
        (*launch == batch.source.incarnation).then(|| credit.clone())
    }

    /// A full credit for what a launch of the task `from` sends to `to`.
    pub(crate) fn new_credit(&self, from: TaskId, launch: u32, to: TaskId) -> Arc<Credit> {
        let credit = Arc::new(Credit::default());
        self.credits().insert((from, to), (launch, credit.clone()));
        credit
    }

    /// Gives back all credit towards tasks that are lost: nobody else will.
    pub(crate) fn refill(&self, is_lost: impl Fn(TaskId) -> bool) {
        for ((_, to), (_, credit)) in self.credits().iter() {
            if is_lost(*to) {
                credit.refill();
            }
        }
    }

    /// Takes in a frame that has come over a link; what goes back takes the link `back`.
    pub(crate) fn deliver(&self, frame: Frame, back: &Arc<dyn Link>) {
        let (to, message) = match frame {
            Frame::Data { batch, weight, limit } => {
                let to = batch.target;
                let (from, launch) = (batch.source.task, batch.source.incarnation);
                let credit = CreditReturn::Link { link: back.clone(), from, launch, to, limit };
                (to, Message::Data(Delivery { batch, weight, credit }))
            }
            Frame::Marker { from, to, marker } => (to, Message::Marker { from, marker }),
            Frame::Acks(batch) => (batch.spout, Message::Acks(batch)),
            Frame::Credit { from, launch, to, weight, progress } => {
                if let Some((of, credit)) = self.credits().get(&(from, to))
                    && *of == launch
                {
                    credit.give_back(weight, progress);
                }
                return;
            }
            // They concern the worker as a whole.
            Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => return,
        };
        if let Some(refused) = self.door(to).and_then(|door| door.deliver(message)) {
            self.refuse(refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::Fields;
    use galerna_topology_api::engine::{Anchor, Root, TupleSource};
    use tokio::sync::mpsc;

    use super::*;
    use crate::acks::{AckBatch, AckDelta, AckKind};
    use crate::inbox::{Arrivals, queue};
    use crate::link::QueueLink;

    #[test]
    fn what_an_earlier_launch_sent_is_sent_again_without_credit() {
        let (from, to) = (1, 3);
        let exchange = Exchange::new([from, to]);
        let credit = exchange.new_credit(from, 2, to);
        let source = TupleSource {
            component: "numbers".into(),
            task: from,
            incarnation: 1,
            stream_index: 0,
            stream: "default".into(),
            fields: Fields::new(["n"]),
        };
        let frame = Frame::Data { batch: Batch::new(Arc::new(source), to), weight: 1 << 20, limit: 1024 };
        exchange.take_again(&frame);
        let (inbox, mut received) = queue();
        exchange.open(to, Way::Local(inbox), vec![frame]);
        assert!(matches!(received.try_next(), Some(Message::Data(_))));
        assert!(credit.has_any(), "nobody would give back what the earlier launch has taken");
    }

    #[test]
    fn acks_for_a_spout_that_has_moved_follow_it() {
        let (spout, bolt) = (1, 3);
        let exchange = Exchange::new([spout, bolt]);
        let (link, mut received) = QueueLink::new();
        exchange.open(spout, Way::Link(Arc::new(link)), Vec::new());
        let back: Arc<dyn Link> = Arc::new(QueueLink::new().0);
        let delta = AckDelta { slot: 4, generation: 2, kind: AckKind::Ack, xor: 5 };
        let batch = AckBatch { spout, incarnation: 7, deltas: vec![delta], failures: Vec::new() };
        exchange.deliver(Frame::Acks(batch), &back);
        assert!(matches!(received.try_recv(), Ok(Frame::Acks(batch)) if batch.incarnation == 7));
    }

    #[test]
    fn tuples_for_a_task_that_is_gone_fail_and_give_their_credit_back() {
        let (spout, bolt) = (1, 3);
        let exchange = Exchange::new([spout, bolt]);
        let (inbox, mut acks) = queue();
        exchange.open(spout, Way::Local(inbox), Vec::new());
        let (link, mut back) = QueueLink::new();
        let back_link: Arc<dyn Link> = Arc::new(link);
        let source = TupleSource {
            component: "numbers".into(),
            task: spout,
            incarnation: 7,
            stream_index: 0,
            stream: "default".into(),
            fields: Fields::new(["n"]),
        };
        let root = Root { spout, incarnation: 7, slot: 4, generation: 2 };
        let data = || {
            let mut batch = Batch::new(Arc::new(source.clone()), bolt);
            batch.rows = 1;
            batch.values.push(5.into());
            batch.anchors.push(Anchor { root, edge: 9 });
            Frame::Data { batch, weight: 6, limit: 1024 }
        };
        let is_refused = |back: &mut mpsc::UnboundedReceiver<Frame>, acks: &mut Arrivals| {
            let credit = back.try_recv();
            let fail = acks.try_next();
            assert_eq!(credit.is_ok(), fail.is_some());
            if let Ok(credit) = credit {
                assert!(matches!(credit, Frame::Credit { from: 1, launch: 7, to: 3, weight: 6, .. }), "{credit:?}");
            }
            if let Some(fail) = &fail {
                let Message::Acks(fail) = fail else { panic!("{fail:?}") };
                assert_eq!((fail.incarnation, fail.deltas[0].slot, fail.deltas[0].kind), (7, 4, AckKind::Fail));
            }
            fail.is_some()
        };
        exchange.deliver(data(), &back_link);
        assert!(!is_refused(&mut back, &mut acks), "it may still come");
        assert_eq!(exchange.fenced_batches.count(), 0);
        exchange.expect(bolt, false);
        assert!(is_refused(&mut back, &mut acks));
        exchange.deliver(data(), &back_link);
        assert!(is_refused(&mut back, &mut acks));
        assert_eq!(exchange.fenced_batches.count(), 2);
        // Only batches are counted.
        exchange.deliver(Frame::Marker { from: spout, to: bolt, marker: crate::edges::Marker::Open }, &back_link);
        assert_eq!(exchange.fenced_batches.count(), 2);
    }
}
