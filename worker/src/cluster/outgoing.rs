//! The sending end of a link to another worker, over the network.
//!
//! Frames are numbered for each launch of the peer and kept until the peer has confirmed them. A
//! connection that breaks is made anew, for ever, and goes on behind what was confirmed; so a cut
//! loses nothing. Each of the two streams of a link has numbers, frames and a connection of its own.

mod connection;
mod place;
mod queue;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use galerna_protocol::{LinkHello, LinkStream as StreamName, WorkerId};
use galerna_topology_api::{Failure, TaskId};
use tokio::sync::Notify;

use super::link_stream::LinkStream;
use super::steward::Events;
use super::{LINK, LONGEST_FRAME};
use crate::exchange::FencedBatches;
use crate::link::{Frame, Link, Unsent};
use crate::run::RunShared;
use crate::wire;
pub(super) use place::Place;
use queue::{Entry, Queue};

/// One stream of a link.
#[derive(Debug)]
struct Sending {
    queue: Queue,
    /// Whether there is a plan that the connection in use has not told.
    has_news: bool,
}

impl Sending {
    fn new() -> Self {
        Self { queue: Queue::new(), has_news: false }
    }
}

#[derive(Debug)]
struct State {
    /// The launch of the peer that the numbers are for.
    incarnation: Option<u64>,
    data: Sending,
    control: Sending,
    /// Where the peer was last heard of.
    address: Option<String>,
    is_closed: bool,
}

impl State {
    fn stream(&mut self, stream: LinkStream) -> &mut Sending {
        match stream {
            LinkStream::Data => &mut self.data,
            LinkStream::Control => &mut self.control,
        }
    }
}

/// A link to another worker.
#[derive(Debug)]
pub(super) struct Outgoing {
    peer: WorkerId,
    state: Mutex<State>,
    /// Wakes the connection of the data stream.
    wake_data: Notify,
    /// Wakes the connection of the control stream.
    wake_control: Notify,
    fenced_batches: FencedBatches,
    run: Arc<RunShared>,
    /// [`LONGEST_FRAME`], or less in tests.
    longest_frame: usize,
}

impl Link for Outgoing {
    fn send(&self, frame: Frame) -> Option<Unsent> {
        let stream = LinkStream::of(&frame);
        let mut bytes = Vec::with_capacity(wire::usual_size(&frame));
        wire::encode(&frame, &mut bytes);
        if bytes.len() > self.longest_frame {
            return self.refuse(frame, bytes.len());
        }
        let mut state = self.lock();
        if !state.is_closed {
            state.stream(stream).queue.push(Entry { bytes: bytes.into(), tasks: targets_of(&frame) });
            drop(state);
            self.wake(stream).notify_one();
        } else if matches!(frame, Frame::Rows { .. }) {
            self.fenced_batches.add(1);
        }
        None
    }
}

/// The tasks that a frame is for, if it has to reach them wherever they run; each once.
fn targets_of(frame: &Frame) -> Box<[TaskId]> {
    let Frame::Rows { parcel, .. } = frame else { return Box::default() };
    let targets: BTreeSet<TaskId> = parcel.runs.iter().map(|run| run.target).collect();
    targets.into_iter().collect()
}

impl Outgoing {
    /// A link to `peer`. The link counts the batches that it drops in `fenced_batches`; `run` lists the errors.
    pub(super) fn new(peer: WorkerId, fenced_batches: FencedBatches, run: Arc<RunShared>) -> Self {
        let (data, control) = (Sending::new(), Sending::new());
        Self {
            peer,
            state: Mutex::new(State { incarnation: None, data, control, address: None, is_closed: false }),
            wake_data: Notify::new(),
            wake_control: Notify::new(),
            fenced_batches,
            run,
            longest_frame: LONGEST_FRAME,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, stream: LinkStream) -> &Notify {
        match stream {
            LinkStream::Data => &self.wake_data,
            LinkStream::Control => &self.wake_control,
        }
    }

    fn wake_all(&self) {
        LinkStream::ALL.into_iter().for_each(|stream| self.wake(stream).notify_one());
    }

    /// The peer is a new launch: the numbers of both streams begin anew, and everything not confirmed is sent to it.
    pub(super) fn begin_anew(&self, incarnation: u64) {
        let mut state = self.lock();
        state.incarnation = Some(incarnation);
        LinkStream::ALL.into_iter().for_each(|stream| state.stream(stream).queue.begin_anew());
        drop(state);
        // Connections to its predecessor may stand, with nothing to send.
        self.wake_all();
    }

    /// Where the peer says that it is reached.
    pub(super) fn note_address(&self, address: &str) {
        if !address.is_empty() {
            self.lock().address = Some(address.to_owned());
        }
    }

    /// There is a newer plan: each stream tells it before anything that is sent from now on, so that the peer
    /// understands what comes as it was meant.
    pub(super) fn announce_plan(&self) {
        let mut state = self.lock();
        LinkStream::ALL.into_iter().for_each(|stream| state.stream(stream).has_news = true);
        drop(state);
        self.wake_all();
    }

    /// Ends the link and empties its queues. Queued batches for tasks in `left_behind` count as dropped, because
    /// these tasks have no new worker; batches for other tasks were sent to their new workers.
    pub(super) fn close(&self, left_behind: &BTreeSet<TaskId>) {
        let mut state = self.lock();
        state.is_closed = true;
        self.fenced_batches.add(state.data.queue.batches_for(left_behind));
        LinkStream::ALL.into_iter().for_each(|stream| state.stream(stream).queue.clear());
        drop(state);
        self.wake_all();
    }

    /// Everything not confirmed that is for these tasks, still encoded.
    pub(super) fn unconfirmed(&self, tasks: &BTreeSet<TaskId>) -> Vec<Bytes> {
        // Frames that are for a task wherever it runs are all on the data stream.
        self.lock().data.queue.for_tasks(tasks).cloned().collect()
    }

    /// A frame is too long for the peer to take it in. Its rows fail here, because the peer cannot fail them.
    fn refuse(&self, frame: Frame, len: usize) -> Option<Unsent> {
        let longest = self.longest_frame;
        let Frame::Rows { lane, parcel, .. } = frame else {
            let message = format!("a frame of {len} bytes was dropped: links carry frames of up to {longest} bytes");
            self.run.list_error(LINK, 0, &message);
            return None;
        };
        let batch = &parcel.batch;
        let message = format!(
            "{} tuples of {len} bytes in total cannot be sent to {}: links carry batches of up to {longest} bytes",
            batch.rows, self.peer
        );
        let component = batch.source.component.clone();
        self.run.list_error(&component, batch.senders.of(0).task, &message);
        if batch.senders.has_final() {
            // Nothing replays these rows.
            self.run.mark_failed("finish_failed", &format!("`{component}`: {message}"));
        }
        Some(Unsent { lane, parcel, failure: Failure::failed(component, &message) })
    }

    /// Keeps both streams of the link up until it is closed.
    pub(super) async fn run(self: Arc<Self>, hello: impl Fn() -> LinkHello, place: Place, events: Events) {
        let hello_on = |stream: LinkStream| {
            let hello = &hello;
            move || LinkHello { stream: StreamName::from(stream).into(), ..hello() }
        };
        tokio::join!(
            self.keep_up(LinkStream::Data, hello_on(LinkStream::Data), &place, &events),
            self.keep_up(LinkStream::Control, hello_on(LinkStream::Control), &place, &events),
        );
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{LinkAnswer, LinkRefusal, LinkWelcome, WorkerPlan};
    use galerna_topology_api::engine::Sender;

    use super::*;
    use crate::acks::AckKind;
    use crate::cluster::steward::Event;
    use crate::cluster::tests::parts::{self, data};
    use crate::edges::{Mark, Marker};
    use crate::exchange::{Exchange, To};
    use crate::message::Message;
    use crate::parcel::Packet;

    fn link() -> (Outgoing, Arc<Exchange>) {
        let exchange = parts::exchange();
        (Outgoing::new(WorkerId::new("here", 1), exchange.fenced_batches.clone(), parts::run()), exchange)
    }

    fn send_all(link: &Outgoing, frames: impl IntoIterator<Item = Frame>) {
        frames.into_iter().for_each(|frame| assert!(link.send(frame).is_none()));
    }

    fn answer(incarnation: u64, confirmed: u64) -> LinkAnswer {
        LinkAnswer { welcome: Some(LinkWelcome { incarnation, ..LinkWelcome::default() }), confirmed }
    }

    #[tokio::test]
    async fn worker_that_its_peer_has_forgotten_ends_instead_of_knocking_for_ever() {
        for (stream, frame) in
            [(LinkStream::Data, Frame::Released { task: 1, generation: 1 }), (LinkStream::Control, parts::credit())]
        {
            let ((link, _exchange), (events, mut heard)) = (link(), Events::new());
            link.begin_anew(7);
            send_all(&link, (0..3).map(|_| frame.clone()));
            assert!(link.shake_hands(stream, answer(7, 4), &events).await.is_err(), "three were sent");
            assert!(matches!(link.shake_hands(stream, answer(7, 2), &events).await, Ok(7)));
            assert!(heard.try_recv().is_err());
            assert!(link.shake_hands(stream, answer(7, 0), &events).await.is_err());
            assert!(matches!(heard.try_recv(), Ok(Event::Fenced(_))));
        }
    }

    #[tokio::test]
    async fn nothing_that_a_replaced_launch_answers_is_heard() {
        let ((link, _exchange), (events, mut heard)) = (link(), Events::new());
        link.begin_anew(7);
        let mut answer = answer(6, 0);
        if let Some(welcome) = &mut answer.welcome {
            welcome.plan = Some(WorkerPlan { version: 9, ..WorkerPlan::default() });
            welcome.refusal = Some(LinkRefusal { is_fenced: true, message: "not part of it".to_owned() });
        }
        assert!(link.shake_hands(LinkStream::Data, answer, &events).await.is_err());
        assert!(heard.try_recv().is_err());
    }

    #[test]
    fn launch_of_the_peer_that_is_new_gets_both_streams_from_their_start() {
        let (link, _exchange) = link();
        link.begin_anew(7);
        send_all(&link, (0..3).flat_map(|_| [data(2), parts::credit()]));
        let packets = |stream| link.lock().stream(stream).queue.take_packets();
        for stream in LinkStream::ALL {
            let mut state = link.lock();
            let queue = &mut state.stream(stream).queue;
            queue.take_packets();
            queue.confirm(1);
        }
        link.begin_anew(8);
        for stream in LinkStream::ALL {
            let again = packets(stream);
            let shown: Vec<_> = again.iter().map(|packet| (packet.first, packet.frames.len())).collect();
            assert_eq!(shown, [(1, 2)], "{stream:?}");
        }
    }

    #[test]
    fn batches_for_tasks_without_a_place_are_counted_when_the_link_is_closed() {
        let (link, exchange) = link();
        let fenced = &exchange.fenced_batches;
        let mark = Mark { from: Sender { task: 1, launch: 1, is_final: false }, marker: Marker::Open };
        let frames = || [data(2), data(2), data(3), Frame::Mark(mark)];
        send_all(&link, frames());
        link.close(&BTreeSet::from([2]));
        assert_eq!(fenced.count(), 2, "what was for task 3 was sent elsewhere");
        send_all(&link, frames());
        assert_eq!(fenced.count(), 5);
    }

    #[test]
    fn rows_of_a_batch_that_no_link_can_carry_fail_and_the_sender_gets_its_credit_back() {
        let (mut link, exchange) = link();
        link.longest_frame = 1000;
        link.begin_anew(7);
        let link = Arc::new(link);
        let mut acks = parts::arrivals(&exchange, 1);
        exchange.open(2, To::Link(link.clone()), Vec::new());
        let from = exchange.add_lane();
        let (version, ways, _) = exchange.ways();
        let under_way = || from.credits.towards(2).under_way();
        for size in [10, 2000] {
            let Frame::Rows { mut parcel, .. } = parts::row(2, "x".repeat(size), 4) else { panic!("rows") };
            parcel.runs[0].lane = from.dest;
            from.credits.take(2, 1, 100);
            let mut packet = Packet::default();
            packet.push_rows(&mut parcel);
            assert!(exchange.send(ways[2], &mut packet, version));
            assert_eq!(under_way(), 1, "the long one is not");
        }
        let Some(Message::Acks(fail)) = acks.try_next() else { panic!("a fail") };
        assert_eq!((fail.deltas[0].slot, fail.deltas[0].kind), (4, AckKind::Fail));
        let reason = fail.failure(&fail.deltas[0]);
        assert!(reason.is_try() && reason.reason().contains("links carry batches of up to 1000 bytes"), "{reason:?}");
        assert!(acks.try_next().is_none(), "the short one is on its way");
        assert_eq!(link.unconfirmed(&BTreeSet::from([2])).len(), 1);
        let errors = link.run.errors();
        assert_eq!((errors.len(), &*errors[0].component, errors[0].count), (1, "source", 1));
        assert_eq!(exchange.fenced_batches.count(), 0);
    }

    #[test]
    fn other_frames_that_no_link_can_carry_are_counted_as_one_error() {
        let (mut link, _exchange) = link();
        link.longest_frame = 2;
        send_all(&link, (0..3).map(parts::ack));
        assert!(link.lock().control.queue.take_packets().is_empty());
        let errors = link.run.errors();
        assert_eq!((errors.len(), &*errors[0].component, errors[0].count), (1, LINK, 3));
    }

    #[tokio::test]
    async fn newer_plan_is_told_on_each_stream_before_the_frames_behind_it() {
        let (link, _exchange) = link();
        link.begin_anew(7);
        link.announce_plan();
        send_all(&link, [data(2), parts::credit()]);
        for stream in LinkStream::ALL {
            let next = || link.next_packets(stream, 7, &LinkHello::default);
            let told = next();
            assert!(told.len() == 1 && told[0].hello.is_some() && told[0].frames.is_empty(), "{stream:?}: {told:?}");
            assert_eq!(next().iter().map(|packet| packet.frames.len()).sum::<usize>(), 1, "{stream:?}");
            assert!(next().is_empty(), "{stream:?}");
        }
    }
}
