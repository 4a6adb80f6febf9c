//! Keeping one stream of a link up: connecting, the handshake, sending frames and hearing what has arrived.
//!
//! Each stream has a connection of its own. On one connection the windows of HTTP/2 would keep the streams apart, but
//! not what has left them: acks would wait behind all data in the buffers of the sockets, and behind data that TCP
//! sends again. The receiver gives a stream a window of 8 MiB and its connection one of 16 MiB, so a stream alone
//! never waits for its connection.

use std::collections::VecDeque;
use std::time::Duration;

use galerna_protocol::link_client::LinkClient;
use galerna_protocol::{LinkAnswer, LinkHello, LinkPacket, endpoint};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Outgoing, Place};
use crate::cluster::link_stream::LinkStream;
use crate::cluster::steward::{Event, Events};

/// Packets that are handed to the connection before it has sent them.
const PACKETS_AHEAD: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// How long the peer may take to answer the first packet.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection may be without a sign of life before it is asked for one, and for the answer. Long enough
/// for a peer whose cores are busy: a connection that breaks without need sends again what was not confirmed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

impl Outgoing {
    /// Keeps a stream up until the link is closed.
    pub(super) async fn keep_up(
        &self,
        stream: LinkStream,
        hello: impl Fn() -> LinkHello,
        place: &Place,
        events: &Events,
    ) {
        let mut wait = FIRST_WAIT;
        let mut asks_supervisor = false;
        while !self.lock().is_closed {
            let began = tokio::time::Instant::now();
            let outcome = self.connect_once(stream, &hello, place, asks_supervisor, events).await;
            if self.lock().is_closed {
                return;
            }
            asks_supervisor = !asks_supervisor;
            if began.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            if let Err(error) = outcome {
                tracing::debug!(peer = %self.peer, ?stream, "link: {}", error.message());
            }
            // Jittered, so that many links do not knock at once.
            sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn connect_once(
        &self,
        stream: LinkStream,
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
        self.lock().stream(stream).has_news = false;
        let first = LinkPacket { hello: Some(hello()), ..LinkPacket::default() };
        let _ = packets.send(first).await;
        let opened = timeout(HANDSHAKE_TIMEOUT, async {
            let mut answers = client.open(ReceiverStream::new(receiver)).await?.into_inner();
            let answer = answers.message().await?.ok_or_else(|| Status::unavailable("closed without an answer"))?;
            Ok::<_, Status>((answers, answer))
        });
        let (answers, answer) = opened.await.map_err(|_| Status::deadline_exceeded("no answer to the handshake"))??;
        let bound = self.shake_hands(stream, answer, events).await?;
        self.note_address(&address);
        self.exchange_packets(stream, bound, answers, &packets, hello, events).await
    }

    /// Answers which launch of the peer the connection leads to.
    pub(super) async fn shake_hands(
        &self,
        stream: LinkStream,
        answer: LinkAnswer,
        events: &Events,
    ) -> Result<u64, Status> {
        let welcome = answer.welcome.ok_or_else(|| Status::internal("an answer without a welcome"))?;
        let known = self.lock().incarnation;
        if let Some(known) = known.filter(|known| welcome.incarnation < *known) {
            // What it says is out of date, the plan that it knows included.
            let message = format!("incarnation {} answered, which {known} has replaced", welcome.incarnation);
            return Err(Status::aborted(message));
        }
        // Only a worker that this one is meant to link with tells a plan.
        if let Some(plan) = welcome.plan {
            events.send(Event::Plan(plan));
        }
        if let Some(refusal) = welcome.refusal {
            if refusal.is_fenced {
                events.send(Event::Fenced(refusal.message.clone()));
            }
            return Err(Status::failed_precondition(refusal.message));
        }
        if known != Some(welcome.incarnation) {
            let (done, is_done) = oneshot::channel();
            events.send(Event::PeerSeen { peer: self.peer.clone(), incarnation: welcome.incarnation, done });
            let _ = is_done.await;
        }
        let mut state = self.lock();
        let is_bound = state.incarnation == Some(welcome.incarnation);
        let queue = &mut state.stream(stream).queue;
        if answer.confirmed + 1 < queue.first() && is_bound {
            // This worker was left out of an assignment that it has not heard of, and taken in again.
            let message = format!("{} has forgotten this incarnation", self.peer);
            events.send(Event::Fenced(message.clone()));
            return Err(Status::failed_precondition(message));
        }
        if answer.confirmed >= queue.next() {
            return Err(Status::aborted("the peer takes this worker for an earlier one"));
        }
        if !is_bound {
            return Err(Status::aborted("the peer was launched anew"));
        }
        queue.confirm(answer.confirmed);
        queue.rewind();
        Ok(welcome.incarnation)
    }

    /// Forgets what has arrived at a launch of the peer, if it is still the one that the numbers are for;
    /// answers whether it is.
    fn confirm(&self, stream: LinkStream, launch: u64, number: u64) -> bool {
        let mut state = self.lock();
        let is_bound = state.incarnation == Some(launch);
        if is_bound {
            state.stream(stream).queue.confirm(number);
        }
        is_bound
    }

    /// What to send next: a new plan, or frames. Empty if there is nothing, or if the peer is no longer the launch
    /// that the connection leads to.
    pub(super) fn next_packets(
        &self,
        stream: LinkStream,
        bound: u64,
        hello: &impl Fn() -> LinkHello,
    ) -> Vec<LinkPacket> {
        let mut state = self.lock();
        if state.incarnation != Some(bound) {
            return Vec::new();
        }
        let sending = state.stream(stream);
        if std::mem::take(&mut sending.has_news) {
            drop(state);
            return vec![LinkPacket { hello: Some(hello()), ..LinkPacket::default() }];
        }
        sending.queue.take_packets()
    }

    async fn exchange_packets(
        &self,
        stream: LinkStream,
        bound: u64,
        mut answers: Streaming<LinkAnswer>,
        packets: &mpsc::Sender<LinkPacket>,
        hello: &impl Fn() -> LinkHello,
        events: &Events,
    ) -> Result<(), Status> {
        let mut ready: VecDeque<LinkPacket> = VecDeque::new();
        loop {
            if ready.is_empty() {
                ready.extend(self.next_packets(stream, bound, hello));
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
                    if !self.confirm(stream, bound, answer.confirmed) {
                        return Err(Status::aborted("the peer was launched anew"));
                    }
                }
                permit = packets.reserve(), if !ready.is_empty() => match (permit, ready.pop_front()) {
                    (Ok(permit), Some(packet)) => permit.send(packet),
                    _ => return Ok(()),
                },
                () = self.wake(stream).notified(), if ready.is_empty() => {
                    let state = self.lock();
                    if state.is_closed || state.incarnation != Some(bound) {
                        return Ok(());
                    }
                }
            }
        }
    }
}
