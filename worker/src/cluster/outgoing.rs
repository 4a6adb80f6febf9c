//! The sending end of a link to another worker, over the network.
//!
//! Frames are numbered for each launch of the peer and kept until the peer has confirmed them. A
//! connection that breaks is made anew, for ever, and goes on behind what was confirmed; so a cut
//! loses nothing.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use galerna_protocol::link_client::LinkClient;
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{LinkAnswer, LinkHello, LinkPacket, LocateRequest, WorkerId, connect, endpoint};
use galerna_topology_api::TaskId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::LONGEST_PACKET;
use super::steward::{Event, Events};
use crate::exchange::FencedBatches;
use crate::link::{Frame, Link};
use crate::wire;

/// Bytes of frames that go into one packet, if there are as many.
const FULL_PACKET: usize = 256 * 1024;
/// Packets that are handed to the connection before it has sent them.
const PACKETS_AHEAD: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How long the peer may take to answer the first packet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may be without a sign of life before it is asked for one, and for the answer.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// A frame that the peer has not confirmed.
#[derive(Debug)]
struct Entry {
    bytes: Bytes,
    /// The task that it is for, if it has to reach that task wherever it runs.
    task: Option<TaskId>,
}

#[derive(Debug, Default)]
struct State {
    /// The launch of the peer that the numbers are for.
    incarnation: Option<u64>,
    /// The number of the first frame in the queue.
    first: u64,
    queue: VecDeque<Entry>,
    /// How many of the queue the connection in use has taken.
    taken: usize,
    /// Whether there is a plan that the connection in use has not told.
    has_news: bool,
    /// Where the peer was last heard of.
    address: Option<String>,
    is_closed: bool,
}

/// A link to another worker.
#[derive(Debug)]
pub(super) struct Outgoing {
    peer: WorkerId,
    state: Mutex<State>,
    wake: Notify,
    fenced_batches: FencedBatches,
}

impl Link for Outgoing {
    fn send(&self, frame: Frame) {
        let task = match &frame {
            Frame::Data { batch, .. } => Some(batch.target),
            Frame::Marker { to, .. } => Some(*to),
            _ => None,
        };
        let mut bytes = Vec::with_capacity(wire::usual_size(&frame));
        wire::encode(&frame, &mut bytes);
        let mut state = self.lock();
        if !state.is_closed {
            state.queue.push_back(Entry { bytes: bytes.into(), task });
            drop(state);
            self.wake.notify_one();
        } else if matches!(frame, Frame::Data { .. }) {
            self.fenced_batches.add(1);
        }
    }
}

impl Outgoing {
    /// A link to `peer`. The link counts the batches that it drops in `fenced_batches`.
    pub(super) fn new(peer: WorkerId, fenced_batches: FencedBatches) -> Self {
        let state = State { first: 1, ..State::default() };
        Self { peer, state: Mutex::new(state), wake: Notify::new(), fenced_batches }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer is a new launch: numbers begin anew, and everything not confirmed is sent to it.
    pub(super) fn begin_anew(&self, incarnation: u64) {
        let mut state = self.lock();
        state.incarnation = Some(incarnation);
        state.first = 1;
        state.taken = 0;
        drop(state);
        // A connection to its predecessor may stand, with nothing to send.
        self.wake.notify_one();
    }

    /// Where the peer says that it is reached.
    pub(super) fn note_address(&self, address: &str) {
        if !address.is_empty() {
            self.lock().address = Some(address.to_owned());
        }
    }

    /// There is a newer plan: the peer hears of it before anything that is sent from now on, so that it
    /// understands what comes as it was meant.
    pub(super) fn announce_plan(&self) {
        self.lock().has_news = true;
        self.wake.notify_one();
    }

    /// Ends the link and empties its queue. Queued batches for tasks in `left_behind` count as dropped, because
    /// these tasks have no new worker; batches for other tasks were sent to their new workers.
    pub(super) fn close(&self, left_behind: &BTreeSet<TaskId>) {
        let mut state = self.lock();
        state.is_closed = true;
        let is_lost =
            |entry: &&Entry| entry.task.is_some_and(|task| left_behind.contains(&task)) && wire::is_batch(&entry.bytes);
        self.fenced_batches.add(state.queue.iter().filter(is_lost).count() as u64);
        state.queue.clear();
        drop(state);
        self.wake.notify_one();
    }

    /// Everything not confirmed that is for these tasks, still encoded.
    pub(super) fn unconfirmed(&self, tasks: &BTreeSet<TaskId>) -> Vec<Bytes> {
        let state = self.lock();
        let for_them = |entry: &&Entry| entry.task.is_some_and(|task| tasks.contains(&task));
        state.queue.iter().filter(for_them).map(|entry| entry.bytes.clone()).collect()
    }

    /// Forgets what has arrived at a launch of the peer, if it is still the one that the numbers are for;
    /// answers whether it is.
    fn confirm(&self, launch: u64, number: u64) -> bool {
        let mut state = self.lock();
        if state.incarnation != Some(launch) {
            return false;
        }
        let count = ((number + 1).saturating_sub(state.first) as usize).min(state.queue.len());
        state.queue.drain(..count);
        state.first += count as u64;
        state.taken = state.taken.saturating_sub(count);
        true
    }

    /// What to send next: a new plan, several frames, or a long one in pieces. Nothing if the peer is
    /// no longer the launch that the connection leads to.
    fn next_packets(&self, bound: u64, hello: &impl Fn() -> LinkHello) -> Option<Vec<LinkPacket>> {
        let mut state = self.lock();
        let state = &mut *state;
        if state.incarnation != Some(bound) {
            return None;
        }
        if std::mem::take(&mut state.has_news) {
            return Some(vec![LinkPacket { hello: Some(hello()), ..LinkPacket::default() }]);
        }
        let first = state.first + state.taken as u64;
        let (mut frames, mut size) = (Vec::new(), 0);
        while let Some(entry) = state.queue.get(state.taken) {
            if entry.bytes.len() > LONGEST_PACKET && frames.is_empty() {
                state.taken += 1;
                return Some(pieces(first, &entry.bytes));
            }
            if !frames.is_empty() && size + entry.bytes.len() > FULL_PACKET {
                break;
            }
            size += entry.bytes.len();
            frames.push(entry.bytes.clone());
            state.taken += 1;
        }
        (!frames.is_empty()).then(|| vec![LinkPacket { hello: None, first, frames, is_piece: false }])
    }

    /// Keeps the link up until it is closed.
    pub(super) async fn run(self: Arc<Self>, hello: impl Fn() -> LinkHello, place: Place, events: Events) {
        let mut wait = FIRST_WAIT;
        let mut asks_supervisor = false;
        while !self.lock().is_closed {
            let began = tokio::time::Instant::now();
            let outcome = self.connect_once(&hello, &place, asks_supervisor, &events).await;
            if self.lock().is_closed {
                return;
            }
            asks_supervisor = !asks_supervisor;
            if began.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            if let Err(error) = outcome {
                tracing::debug!(peer = %self.peer, "link: {}", error.message());
            }
            // Jittered, so that many links do not knock at once.
            sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect_once(
        &self,
        hello: &impl Fn() -> LinkHello,
        place: &Place,
        asks_supervisor: bool,
        events: &Events,
    ) -> Result<(), Status> {
        let known = self.lock().address.clone();
        let address = match known.filter(|_| !asks_supervisor) {
            Some(address) => address,
            None if asks_supervisor => place.located().await?,
            None => place.address.clone(),
        };
        let endpoint = endpoint(&address)?
            .connect_timeout(HANDSHAKE_TIMEOUT)
            .http2_keep_alive_interval(SIGN_OF_LIFE)
            .keep_alive_timeout(SIGN_OF_LIFE);
        let channel = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = LinkClient::new(channel);
        let (packets, receiver) = mpsc::channel(PACKETS_AHEAD);
        self.lock().has_news = false;
        let first = LinkPacket { hello: Some(hello()), ..LinkPacket::default() };
        let _ = packets.send(first).await;
        let opened = timeout(HANDSHAKE_TIMEOUT, async {
            let mut answers = client.open(ReceiverStream::new(receiver)).await?.into_inner();
            let answer = answers.message().await?.ok_or_else(|| Status::unavailable("closed without an answer"))?;
            Ok::<_, Status>((answers, answer))
        });
        let (answers, answer) = opened.await.map_err(|_| Status::deadline_exceeded("no answer to the handshake"))??;
        let bound = self.shake_hands(answer, events).await?;
        self.note_address(&address);
        self.exchange_packets(bound, answers, &packets, hello, events).await
    }

    /// Answers which launch of the peer the connection leads to.
    async fn shake_hands(&self, answer: LinkAnswer, events: &Events) -> Result<u64, Status> {
        let welcome = answer.welcome.ok_or_else(|| Status::internal("an answer without a welcome"))?;
        if let Some(plan) = welcome.plan {
            events.send(Event::Plan(plan));
        }
        if let Some(refusal) = welcome.refusal {
            if refusal.is_fenced {
                events.send(Event::Fenced(refusal.message.clone()));
            }
            return Err(Status::failed_precondition(refusal.message));
        }
        let known = self.lock().incarnation;
        if known != Some(welcome.incarnation) {
            let (done, is_done) = oneshot::channel();
            events.send(Event::PeerSeen { peer: self.peer.clone(), incarnation: welcome.incarnation, done });
            let _ = is_done.await;
        }
        let (first, next) = {
            let state = self.lock();
            (state.first, state.first + state.queue.len() as u64)
        };
        if answer.confirmed + 1 < first && self.lock().incarnation == Some(welcome.incarnation) {
            // This worker was left out of an assignment that it has not heard of, and taken in again.
            let message = format!("{} has forgotten this incarnation", self.peer);
            events.send(Event::Fenced(message.clone()));
            return Err(Status::failed_precondition(message));
        }
        if answer.confirmed >= next {
            return Err(Status::aborted("the peer takes this worker for an earlier one"));
        }
        if !self.confirm(welcome.incarnation, answer.confirmed) {
            return Err(Status::aborted("the peer was launched anew"));
        }
        self.lock().taken = 0;
        Ok(welcome.incarnation)
    }

    async fn exchange_packets(
        &self,
        bound: u64,
        mut answers: Streaming<LinkAnswer>,
        packets: &mpsc::Sender<LinkPacket>,
        hello: &impl Fn() -> LinkHello,
        events: &Events,
    ) -> Result<(), Status> {
        let mut ready: VecDeque<LinkPacket> = VecDeque::new();
        loop {
            if ready.is_empty()
                && let Some(next) = self.next_packets(bound, hello)
            {
                ready.extend(next);
            }
            tokio::select! {
                biased;
                answer = answers.message() => {
                    let Some(answer) = answer? else { return Ok(()) };
                    if let Some(refusal) = answer.welcome.and_then(|welcome| welcome.refusal) {
                        if refusal.is_fenced {
                            events.send(Event::Fenced(refusal.message.clone()));
                        }
                        return Err(Status::failed_precondition(refusal.message));
                    }
                    if !self.confirm(bound, answer.confirmed) {
                        return Err(Status::aborted("the peer was launched anew"));
                    }
                }
                permit = packets.reserve(), if !ready.is_empty() => match (permit, ready.pop_front()) {
                    (Ok(permit), Some(packet)) => permit.send(packet),
                    _ => return Ok(()),
                },
                () = self.wake.notified(), if ready.is_empty() => {
                    let state = self.lock();
                    if state.is_closed || state.incarnation != Some(bound) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn pieces(first: u64, bytes: &Bytes) -> Vec<LinkPacket> {
    let count = bytes.len().div_ceil(LONGEST_PACKET);
    let piece = |at: usize| {
        let end = ((at + 1) * LONGEST_PACKET).min(bytes.len());
        let frames = vec![bytes.slice(at * LONGEST_PACKET..end)];
        LinkPacket { hello: None, first, frames, is_piece: at + 1 < count }
    };
    (0..count).map(piece).collect()
}

/// Where a peer is to be found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Its host and its slot's port.
    pub(super) address: String,
    /// Its supervisor's, who knows if it is not there.
    pub(super) supervisor: String,
    pub(super) request: LocateRequest,
}

impl Place {
    async fn located(&self) -> Result<String, Status> {
        let ask = async {
            let mut supervisor = SupervisorClient::new(connect(&self.supervisor).await?);
            Ok::<_, Status>(supervisor.locate(self.request.clone()).await?.into_inner().address)
        };
        match timeout(Duration::from_secs(1), ask).await {
            Ok(Ok(address)) if !address.is_empty() => Ok(address),
            // The address that it should have is the best guess.
            _ => Ok(self.address.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::LinkWelcome;
    use galerna_topology_api::Fields;
    use galerna_topology_api::engine::{Batch, TupleSource};

    use super::*;
    use crate::edges::Marker;

    #[tokio::test]
    async fn worker_that_its_peer_has_forgotten_ends_instead_of_knocking_for_ever() {
        let link = Outgoing::new(WorkerId::new("here", 1), FencedBatches::default());
        let (events, mut heard) = Events::new();
        let answer = |confirmed| LinkAnswer {
            welcome: Some(LinkWelcome { incarnation: 7, ..LinkWelcome::default() }),
            confirmed,
        };
        link.begin_anew(7);
        (0..3).for_each(|_| link.send(Frame::Released { task: 1, generation: 1 }));
        assert!(link.shake_hands(answer(4), &events).await.is_err(), "three were sent");
        assert!(matches!(link.shake_hands(answer(2), &events).await, Ok(7)));
        assert!(heard.try_recv().is_err());
        assert!(link.shake_hands(answer(0), &events).await.is_err());
        assert!(matches!(heard.try_recv(), Ok(Event::Fenced(_))));
    }

    #[test]
    fn batches_for_tasks_without_a_place_are_counted_when_the_link_is_closed() {
        let fenced = FencedBatches::default();
        let link = Outgoing::new(WorkerId::new("here", 1), fenced.clone());
        let source = TupleSource {
            component: "numbers".into(),
            task: 1,
            incarnation: 1,
            stream_index: 0,
            stream: "default".into(),
            fields: Fields::new(["n"]),
        };
        let source = Arc::new(source);
        let data = |to| Frame::Data { batch: Batch::new(source.clone(), to), weight: 0, limit: 1024 };
        let send_all = || {
            [data(2), data(2), data(3), Frame::Marker { from: 1, to: 2, marker: Marker::Open }]
                .into_iter()
                .for_each(|frame| link.send(frame));
        };
        send_all();
        link.close(&BTreeSet::from([2]));
        assert_eq!(fenced.count(), 2, "what was for task 3 was sent elsewhere");
        send_all();
        assert_eq!(fenced.count(), 5);
    }
}
