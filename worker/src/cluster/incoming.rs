//! The receiving end of links from other workers: a service that lets in whom the steward lets in,
//! drops what has arrived before, and hands the rest to the worker's exchange.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream, stream};
use galerna_protocol::link_server;
use galerna_protocol::{LinkAnswer, LinkPacket, LinkRefusal, LinkWelcome, WorkerId};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::steward::{Event, Events};
use crate::exchange::Exchange;
use crate::link::{Frame, Link, Sources};
use crate::wire;

/// How long a peer may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Packets that stand ready are taken in together before they are confirmed, at most.
const PACKETS_A_TURN: usize = 16;
/// The longest frame that is put together of pieces.
const LONGEST_FRAME: usize = 1 << 30;

/// What has come from a peer.
#[derive(Debug)]
pub(super) struct Inbound {
    peer: WorkerId,
    state: Mutex<State>,
    /// Wakes a connection that waits for packets when it is void.
    changed: Notify,
    exchange: Arc<Exchange>,
    /// The link in the other direction.
    back: Arc<dyn Link>,
}

#[derive(Debug)]
struct State {
    /// The number of the last frame that has arrived.
    last: u64,
    /// Counts connections: only the newest may deliver.
    connection: u64,
    /// Why no connection may deliver any more, if so.
    refusal: Option<LinkRefusal>,
    sources: Sources,
}

impl Inbound {
    pub(super) fn new(peer: WorkerId, exchange: Arc<Exchange>, sources: Sources, back: Arc<dyn Link>) -> Self {
        let state = Mutex::new(State { last: 0, connection: 0, refusal: None, sources });
        Self { peer, state, changed: Notify::new(), exchange, back }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer is a new launch: nothing has come from it, and its predecessor's connection is void.
    pub(super) fn begin_anew(&self) {
        let mut state = self.lock();
        state.last = 0;
        state.connection += 1;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Nothing more is taken in.
    pub(super) fn close(&self, refusal: LinkRefusal) {
        let mut state = self.lock();
        state.connection += 1;
        state.refusal = Some(refusal);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Lets a new connection deliver, in place of any other: its number and what has arrived so far. It
    /// is for the launch of the peer that was seen last, so nobody but the steward may call this.
    pub(super) fn connect(&self) -> (u64, u64) {
        let mut state = self.lock();
        state.connection += 1;
        let connected = (state.connection, state.last);
        drop(state);
        self.changed.notify_waiters();
        connected
    }

    /// Why a connection may deliver nothing more, if so.
    fn refusal_of(&self, connection: u64) -> Option<LinkRefusal> {
        let state = self.lock();
        let newer = || LinkRefusal { is_fenced: false, message: "there is a newer connection".to_owned() };
        state.refusal.clone().or_else(|| (state.connection != connection).then(newer))
    }

    /// Takes in frames, those aside that have arrived before; answers the number of the last one.
    fn take_in(&self, connection: u64, first: u64, frames: &[Bytes], events: &Events) -> Result<u64, LinkRefusal> {
        if let Some(refusal) = self.refusal_of(connection) {
            return Err(refusal);
        }
        let mut state = self.lock();
        let state = &mut *state;
        if state.connection != connection {
            return Err(LinkRefusal { is_fenced: false, message: "there is a newer connection".to_owned() });
        }
        let refuse = |message: String| {
            tracing::error!(peer = %self.peer, "{message}");
            LinkRefusal { is_fenced: false, message }
        };
        for (number, bytes) in (first..).zip(frames) {
            if number <= state.last {
                continue;
            }
            if number != state.last + 1 {
                return Err(refuse(format!("frame {number} follows frame {}", state.last)));
            }
            let frame = wire::decode(bytes, &mut state.sources)
                .map_err(|error| refuse(format!("frame {number} cannot be read: {error}")))?;
            match frame {
                Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => {
                    events.send(Event::Notice { from: self.peer.clone(), frame });
                }
                frame => self.exchange.deliver(frame, &self.back),
            }
            state.last = number;
        }
        Ok(state.last)
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) inbound: Arc<Inbound>,
    /// Its number.
    pub(super) connection: u64,
    /// The number of the last frame that has arrived.
    pub(super) last: u64,
    pub(super) welcome: LinkWelcome,
}

/// Accepts links.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) events: Events,
}

type Answers = Pin<Box<dyn Stream<Item = Result<LinkAnswer, Status>> + Send>>;

#[tonic::async_trait]
impl link_server::Link for Incoming {
    type OpenStream = Answers;

    async fn open(&self, request: Request<Streaming<LinkPacket>>) -> Result<Response<Answers>, Status> {
        let mut packets = request.into_inner();
        let first = timeout(HELLO_TIMEOUT, packets.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("expected a hello first"))??;
        let hello =
            first.and_then(|packet| packet.hello).ok_or_else(|| Status::invalid_argument("expected a hello"))?;
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Hello { hello: Box::new(hello), reply });
        let accepted = answer.await.map_err(|_| Status::unavailable("the worker is about to end"))?;
        let Accepted { inbound, connection, last, welcome } = match accepted {
            Ok(accepted) => accepted,
            Err(welcome) => {
                let answer = LinkAnswer { welcome: Some(welcome), confirmed: 0 };
                return Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))));
            }
        };
        let first = stream::iter([Ok(LinkAnswer { welcome: Some(welcome), confirmed: last })]);
        let reading = Reading {
            packets,
            inbound,
            connection,
            events: self.events.clone(),
            piece: BytesMut::new(),
            has_ended: false,
        };
        let answers = stream::unfold(reading, |mut reading| async move {
            let answer = reading.next_answer().await?;
            Some((answer, reading))
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::chain(first, answers))))
    }
}

/// A connection that is being read. It is driven by whoever polls for its answers: the connection
/// itself.
struct Reading {
    packets: Streaming<LinkPacket>,
    inbound: Arc<Inbound>,
    connection: u64,
    events: Events,
    /// What has come of a frame in pieces.
    piece: BytesMut,
    has_ended: bool,
}

impl Reading {
    /// Takes in what stands ready, or comes next, and confirms it.
    async fn next_answer(&mut self) -> Option<Result<LinkAnswer, Status>> {
        if self.has_ended {
            return None;
        }
        let mut packet = match self.next_packet().await? {
            Ok(packet) => packet,
            Err(refusal) => return Some(Ok(self.refused(refusal))),
        };
        let mut turns = 0;
        loop {
            let confirmed = match self.take(packet).await {
                Ok(confirmed) => confirmed,
                Err(refusal) => return Some(Ok(self.refused(refusal))),
            };
            turns += 1;
            packet = match self.packets.message().now_or_never() {
                Some(Ok(Some(packet))) if turns < PACKETS_A_TURN => packet,
                Some(Ok(Some(packet))) => {
                    // The turn is over, but what was taken off the stream must not be lost.
                    let confirmed = self.take(packet).await.unwrap_or(confirmed);
                    return Some(Ok(LinkAnswer { welcome: None, confirmed }));
                }
                Some(Ok(None) | Err(_)) => {
                    self.has_ended = true;
                    return Some(Ok(LinkAnswer { welcome: None, confirmed }));
                }
                None => return Some(Ok(LinkAnswer { welcome: None, confirmed })),
            };
        }
    }

    /// The next packet, unless the connection becomes void first.
    async fn next_packet(&mut self) -> Option<Result<LinkPacket, LinkRefusal>> {
        let mut changed = pin!(self.inbound.changed.notified());
        // First register, then look: what changes in between wakes.
        changed.as_mut().enable();
        if let Some(refusal) = self.inbound.refusal_of(self.connection) {
            return Some(Err(refusal));
        }
        tokio::select! {
            biased;
            () = changed => self.inbound.refusal_of(self.connection).map(Err),
            packet = self.packets.message() => packet.ok().flatten().map(Ok),
        }
    }

    /// The last answer of a connection that may deliver nothing more.
    fn refused(&mut self, refusal: LinkRefusal) -> LinkAnswer {
        if refusal.is_fenced {
            tracing::warn!(peer = %self.inbound.peer, "link refused: {}", refusal.message);
        } else {
            tracing::debug!(peer = %self.inbound.peer, "link closed: {}", refusal.message);
        }
        self.has_ended = true;
        let welcome = LinkWelcome { refusal: Some(refusal), ..LinkWelcome::default() };
        LinkAnswer { welcome: Some(welcome), confirmed: 0 }
    }

    async fn take(&mut self, packet: LinkPacket) -> Result<u64, LinkRefusal> {
        let LinkPacket { hello, first, frames, is_piece } = packet;
        if let Some(plan) = hello.and_then(|hello| hello.plan) {
            // What follows was sent by this plan: it is followed here first.
            let (done, is_done) = oneshot::channel();
            self.events.send(Event::Told { plan, done });
            let _ = is_done.await;
            return self.inbound.take_in(self.connection, first, &[], &self.events);
        }
        if is_piece || !self.piece.is_empty() {
            let size: usize = frames.iter().map(Bytes::len).sum();
            if self.piece.len() + size > LONGEST_FRAME {
                let message = format!("a frame is longer than {LONGEST_FRAME} bytes");
                return Err(LinkRefusal { is_fenced: false, message });
            }
            frames.iter().for_each(|piece| self.piece.extend_from_slice(piece));
            if is_piece {
                return Ok(first.saturating_sub(1));
            }
            let whole = self.piece.split().freeze();
            return self.inbound.take_in(self.connection, first, &[whole], &self.events);
        }
        self.inbound.take_in(self.connection, first, &frames, &self.events)
    }
}
