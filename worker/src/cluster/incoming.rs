//! The receiving end of links from other workers: a service that lets in whom the steward lets in,
//! drops what has arrived before, and hands the rest to the worker's exchange.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream, StreamExt, stream};
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
/// The most packets of a replaced launch that are counted when its connection ends.
const MOST_UNREAD: usize = 64;
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
    /// The first connection of the newest known launch of the peer.
    first_connection: u64,
    /// Why no connection may deliver any more, if so.
    refusal: Option<LinkRefusal>,
    sources: Sources,
}

impl State {
    /// Why a connection may deliver nothing more, if so.
    fn refusal_of(&self, connection: u64) -> Option<LinkRefusal> {
        let newer = || LinkRefusal { is_fenced: false, message: "there is a newer connection".to_owned() };
        self.refusal.clone().or_else(|| (self.connection != connection).then(newer))
    }

    /// Whether a connection belongs to a replaced launch: no other connection delivers its batches again.
    fn is_of_replaced(&self, connection: u64) -> bool {
        connection < self.first_connection || self.refusal.as_ref().is_some_and(|refusal| refusal.is_fenced)
    }
}

impl Inbound {
    pub(super) fn new(peer: WorkerId, exchange: Arc<Exchange>, sources: Sources, back: Arc<dyn Link>) -> Self {
        let state = Mutex::new(State { last: 0, connection: 0, first_connection: 0, refusal: None, sources });
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
        state.first_connection = state.connection;
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
        self.lock().refusal_of(connection)
    }

    /// Counts the batches among `frames`, if the connection belongs to a replaced launch. Returns whether it
    /// does.
    fn count_fenced(&self, connection: u64, frames: &[Bytes]) -> bool {
        let is_of_replaced = self.lock().is_of_replaced(connection);
        if is_of_replaced {
            let batches = frames.iter().filter(|frame| wire::is_batch(frame)).count();
            self.exchange.fenced_batches.add(batches as u64);
        }
        is_of_replaced
    }

    /// Takes in frames, those aside that have arrived before; answers the number of the last one.
    fn take_in(&self, connection: u64, first: u64, frames: &[Bytes], events: &Events) -> Result<u64, LinkRefusal> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(refusal) = state.refusal_of(connection) {
            drop(guard);
            self.count_fenced(connection, frames);
            return Err(refusal);
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
        Ok(Response::new(Box::pin(first.chain(answers))))
    }
}

/// A connection that is being read. It is driven by whoever polls for its answers: the connection
/// itself.
struct Reading<P> {
    packets: P,
    inbound: Arc<Inbound>,
    connection: u64,
    events: Events,
    /// What has come of a frame in pieces.
    piece: BytesMut,
    has_ended: bool,
}

impl<P: Stream<Item = Result<LinkPacket, Status>> + Unpin> Reading<P> {
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
            packet = match self.packets.next().now_or_never() {
                Some(Some(Ok(packet))) if turns < PACKETS_A_TURN => packet,
                Some(Some(Ok(packet))) => {
                    // The turn is over, but what was taken off the stream must not be lost.
                    let confirmed = self.take(packet).await.unwrap_or(confirmed);
                    return Some(Ok(LinkAnswer { welcome: None, confirmed }));
                }
                Some(None | Some(Err(_))) => {
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
            packet = self.packets.next() => packet.and_then(Result::ok).map(Ok),
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
        self.count_unread();
        let welcome = LinkWelcome { refusal: Some(refusal), ..LinkWelcome::default() };
        LinkAnswer { welcome: Some(welcome), confirmed: 0 }
    }

    /// Counts the batches in packets that are ready, if they come from a replaced launch.
    fn count_unread(&mut self) {
        for _ in 0..MOST_UNREAD {
            let Some(Some(Ok(packet))) = self.packets.next().now_or_never() else { return };
            let Ok(frames) = self.whole_frames(packet.frames, packet.is_piece) else { return };
            if !self.inbound.count_fenced(self.connection, &frames.unwrap_or_default()) {
                return;
            }
        }
    }

    /// The frames of a packet, or the frame that the packet completes; `None` while a piece is missing.
    fn whole_frames(&mut self, frames: Vec<Bytes>, is_piece: bool) -> Result<Option<Vec<Bytes>>, LinkRefusal> {
        if !is_piece && self.piece.is_empty() {
            return Ok(Some(frames));
        }
        let size: usize = frames.iter().map(Bytes::len).sum();
        if self.piece.len() + size > LONGEST_FRAME {
            let message = format!("a frame is longer than {LONGEST_FRAME} bytes");
            return Err(LinkRefusal { is_fenced: false, message });
        }
        frames.iter().for_each(|piece| self.piece.extend_from_slice(piece));
        Ok((!is_piece).then(|| vec![self.piece.split().freeze()]))
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
        match self.whole_frames(frames, is_piece)? {
            Some(frames) => self.inbound.take_in(self.connection, first, &frames, &self.events),
            None => Ok(first.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::Fields;
    use galerna_topology_api::engine::{Batch, TupleSource};

    use super::*;
    use crate::link::QueueLink;

    /// The receiving end of a link, a connection, and the exchange that counts fenced batches.
    fn inbound() -> (Arc<Inbound>, u64, Arc<Exchange>) {
        let exchange = Arc::new(Exchange::new([1, 2]));
        let back: Arc<dyn Link> = Arc::new(QueueLink::new().0);
        let source = TupleSource {
            component: "numbers".into(),
            task: 1,
            incarnation: 1,
            stream_index: 0,
            stream: "default".into(),
            fields: Fields::new(["n"]),
        };
        let sources = Sources::from([((1, 0), Arc::new(source))]);
        let inbound = Arc::new(Inbound::new(WorkerId::new("there", 1), exchange.clone(), sources, back));
        inbound.begin_anew();
        let (connection, _) = inbound.connect();
        (inbound, connection, exchange)
    }

    /// A packet of two batches and a credit.
    fn packet(inbound: &Inbound, first: u64) -> LinkPacket {
        let source = inbound.lock().sources[&(1, 0)].clone();
        let data = || Frame::Data { batch: Batch::new(source.clone(), 2), weight: 0, limit: 1024 };
        let credit =
            Frame::Credit { from: 1, launch: 1, to: 2, weight: 1, progress: crate::credit::Progress::default() };
        let frames = [data(), credit, data()].map(|frame| {
            let mut bytes = Vec::new();
            wire::encode(&frame, &mut bytes);
            Bytes::from(bytes)
        });
        LinkPacket { hello: None, first, frames: frames.to_vec(), is_piece: false }
    }

    fn reading<P>(inbound: &Arc<Inbound>, connection: u64, packets: P) -> Reading<P> {
        let (inbound, events) = (inbound.clone(), Events::new().0);
        Reading { packets, inbound, connection, events, piece: BytesMut::new(), has_ended: false }
    }

    #[tokio::test]
    async fn batches_of_a_replaced_launch_that_stand_ready_are_counted() {
        let replaced = |inbound: &Inbound| inbound.begin_anew();
        let left_out =
            |inbound: &Inbound| inbound.close(LinkRefusal { is_fenced: true, message: "not part of it".to_owned() });
        for fence in [&replaced as &dyn Fn(&Inbound), &left_out] {
            let (inbound, connection, exchange) = inbound();
            let mut packets = vec![Ok(packet(&inbound, 1)), Ok(packet(&inbound, 4))];
            let whole = packet(&inbound, 7).frames.swap_remove(0);
            for (piece, is_piece) in [(whole.slice(..2), true), (whole.slice(2..), false)] {
                packets.push(Ok(LinkPacket { hello: None, first: 7, frames: vec![piece], is_piece }));
            }
            let mut reading = reading(&inbound, connection, stream::iter(packets));
            fence(&inbound);
            let answer = reading.next_answer().await.expect("an answer").expect("no error");
            assert!(answer.welcome.is_some_and(|welcome| welcome.refusal.is_some()));
            assert_eq!(exchange.fenced_batches.count(), 5);
        }
    }

    #[test]
    fn batches_that_a_replaced_launch_delivers_are_counted() {
        let (inbound, connection, exchange) = inbound();
        let events = Events::new().0;
        let take = |connection, first| inbound.take_in(connection, first, &packet(&inbound, first).frames, &events);
        assert_eq!(take(connection, 1), Ok(3));
        assert_eq!(exchange.fenced_batches.count(), 0);
        inbound.begin_anew();
        assert!(take(connection, 4).is_err());
        assert_eq!(exchange.fenced_batches.count(), 2);
    }

    #[tokio::test]
    async fn batches_that_a_launch_sends_again_on_a_newer_connection_are_not_counted() {
        let (inbound, connection, exchange) = inbound();
        let packets = stream::iter([Ok(packet(&inbound, 1)), Ok(packet(&inbound, 4))]);
        let mut reading = reading(&inbound, connection, packets);
        let (newer, _) = inbound.connect();
        let answer = reading.next_answer().await.expect("an answer").expect("no error");
        assert!(answer.welcome.is_some_and(|welcome| welcome.refusal.is_some()));
        assert!(inbound.take_in(connection, 1, &packet(&inbound, 1).frames, &reading.events).is_err());
        assert_eq!(inbound.take_in(newer, 1, &packet(&inbound, 1).frames, &reading.events), Ok(3));
        assert_eq!(exchange.fenced_batches.count(), 0);
    }
}
