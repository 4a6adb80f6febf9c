//! The receiving end of links from other workers: a service that lets in whom the steward lets in,
//! drops what has arrived before, and hands the rest to the worker's exchange.

mod inbound;
mod pieces;

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use galerna_protocol::link_server;
use galerna_protocol::{LinkAnswer, LinkPacket, LinkRefusal, LinkWelcome};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use super::LONGEST_FRAME;
use super::steward::{Event, Events};
pub(super) use inbound::{Connection, Inbound};
use pieces::{Pieces, Whole};

/// How long a peer may take to say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(3);
/// Packets that stand ready are taken in together before they are confirmed, at most.
const PACKETS_A_TURN: usize = 16;
/// The most packets of a replaced launch that are counted when its connection ends.
const MOST_UNREAD: usize = 64;

/// A connection that was let in.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) connection: Connection,
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
        let Accepted { connection, last, welcome } = match accepted {
            Ok(accepted) => accepted,
            Err(welcome) => {
                let answer = LinkAnswer { welcome: Some(welcome), confirmed: 0 };
                return Ok(Response::new(Box::pin(stream::iter([Ok(answer)]))));
            }
        };
        let first = stream::iter([Ok(LinkAnswer { welcome: Some(welcome), confirmed: last })]);
        let reading = Reading::new(packets, connection, self.events.clone());
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
    connection: Connection,
    events: Events,
    pieces: Pieces,
    has_ended: bool,
}

impl<P: Stream<Item = Result<LinkPacket, Status>> + Unpin> Reading<P> {
    fn new(packets: P, connection: Connection, events: Events) -> Self {
        Self { packets, connection, events, pieces: Pieces::new(LONGEST_FRAME), has_ended: false }
    }

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
        loop {
            let mut changed = pin!(self.connection.inbound.changed.notified());
            // First register, then look: what changes in between wakes.
            changed.as_mut().enable();
            if let Some(refusal) = self.connection.refusal() {
                return Some(Err(refusal));
            }
            tokio::select! {
                biased;
                // Perhaps the other stream has changed: look again.
                () = changed => {}
                packet = self.packets.next() => return packet.and_then(Result::ok).map(Ok),
            }
        }
    }

    /// The last answer of a connection that may deliver nothing more.
    fn refused(&mut self, refusal: LinkRefusal) -> LinkAnswer {
        if refusal.is_fenced {
            tracing::warn!(peer = %self.connection.inbound.peer, "link refused: {}", refusal.message);
        } else {
            tracing::debug!(peer = %self.connection.inbound.peer, "link closed: {}", refusal.message);
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
            let frames = match self.pieces.add(packet.frames, packet.is_piece) {
                Whole::Frames(frames) => frames,
                Whole::Missing | Whole::TooLong(_) => Vec::new(),
            };
            if !self.connection.count_fenced(&frames) {
                return;
            }
        }
    }

    /// Takes in a packet, then lets others run: links share a thread with all else that keeps a worker going.
    async fn take(&mut self, packet: LinkPacket) -> Result<u64, LinkRefusal> {
        let taken = self.take_at_once(packet).await;
        yield_now().await;
        taken
    }

    async fn take_at_once(&mut self, packet: LinkPacket) -> Result<u64, LinkRefusal> {
        let LinkPacket { hello, first, frames, is_piece } = packet;
        if let Some(plan) = hello.and_then(|hello| hello.plan) {
            // What follows was sent by this plan: it is followed here first.
            let (done, is_done) = oneshot::channel();
            self.events.send(Event::Told { plan, by: self.connection.clone(), done });
            let _ = is_done.await;
            return self.connection.take_in(first, &[], &self.events);
        }
        match self.pieces.add(frames, is_piece) {
            Whole::Frames(frames) => self.connection.take_in(first, &frames, &self.events),
            Whole::Missing => Ok(first.saturating_sub(1)),
            Whole::TooLong(len) => {
                self.connection.pass_over(first, &format!("{len} bytes are more than {LONGEST_FRAME}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use galerna_protocol::WorkerId;

    use super::*;
    use crate::cluster::LINK;
    use crate::cluster::link_stream::LinkStream;
    use crate::cluster::tests::parts::{self, credit, data, encoded};
    use crate::exchange::Exchange;
    use crate::link::{Link, QueueLink};
    use crate::message::Message;
    use crate::run::RunShared;

    /// The receiving end of a link.
    struct Receiver {
        inbound: Arc<Inbound>,
        exchange: Arc<Exchange>,
        run: Arc<RunShared>,
    }

    impl Receiver {
        /// One that knows a launch of its peer.
        fn new() -> Self {
            let (exchange, run) = (parts::exchange(), parts::run());
            let back: Arc<dyn Link> = Arc::new(QueueLink::new().0);
            let peer = WorkerId::new("there", 1);
            let inbound = Arc::new(Inbound::new(peer, exchange.clone(), parts::graph(), back, run.clone()));
            inbound.begin_anew();
            Self { inbound, exchange, run }
        }

        fn connect(&self) -> Connection {
            self.inbound.connect(LinkStream::Data).0
        }

        fn fenced_batches(&self) -> u64 {
            self.exchange.fenced_batches.count()
        }
    }

    /// Two batches and a credit.
    fn frames() -> Vec<Bytes> {
        [data(2), credit(), data(2)].iter().map(encoded).collect()
    }

    fn packet(first: u64) -> LinkPacket {
        LinkPacket { hello: None, first, frames: frames(), is_piece: false }
    }

    fn reading<P: Stream<Item = Result<LinkPacket, Status>> + Unpin>(
        connection: &Connection,
        packets: P,
    ) -> Reading<P> {
        Reading::new(packets, connection.clone(), Events::new().0)
    }

    fn take(connection: &Connection, first: u64, frames: &[Bytes]) -> Result<u64, LinkRefusal> {
        connection.take_in(first, frames, &Events::new().0)
    }

    #[tokio::test]
    async fn batches_of_a_replaced_launch_that_stand_ready_are_counted() {
        let replaced = |inbound: &Inbound| inbound.begin_anew();
        let left_out =
            |inbound: &Inbound| inbound.close(&LinkRefusal { is_fenced: true, message: "not part of it".to_owned() });
        for fence in [&replaced as &dyn Fn(&Inbound), &left_out] {
            let receiver = Receiver::new();
            let mut packets = vec![Ok(packet(1)), Ok(packet(4))];
            let whole = encoded(&data(2));
            for (piece, is_piece) in [(whole.slice(..2), true), (whole.slice(2..), false)] {
                packets.push(Ok(LinkPacket { hello: None, first: 7, frames: vec![piece], is_piece }));
            }
            let mut reading = reading(&receiver.connect(), stream::iter(packets));
            fence(&receiver.inbound);
            let answer = reading.next_answer().await.expect("an answer").expect("no error");
            assert!(answer.welcome.is_some_and(|welcome| welcome.refusal.is_some()));
            assert_eq!(receiver.fenced_batches(), 5);
        }
    }

    #[test]
    fn batches_that_a_replaced_launch_delivers_are_counted() {
        let receiver = Receiver::new();
        let connection = receiver.connect();
        assert_eq!(take(&connection, 1, &frames()), Ok(3));
        assert_eq!(receiver.fenced_batches(), 0);
        receiver.inbound.begin_anew();
        assert!(take(&connection, 4, &frames()).is_err());
        assert_eq!(receiver.fenced_batches(), 2);
    }

    #[tokio::test]
    async fn batches_that_a_launch_sends_again_on_a_newer_connection_are_not_counted() {
        let receiver = Receiver::new();
        let older = receiver.connect();
        let mut reading = reading(&older, stream::iter([Ok(packet(1)), Ok(packet(4))]));
        let newer = receiver.connect();
        let answer = reading.next_answer().await.expect("an answer").expect("no error");
        assert!(answer.welcome.is_some_and(|welcome| welcome.refusal.is_some()));
        assert!(take(&older, 1, &frames()).is_err());
        assert_eq!(take(&newer, 1, &frames()), Ok(3));
        assert_eq!(receiver.fenced_batches(), 0);
    }

    #[tokio::test]
    async fn connection_of_one_stream_does_not_end_when_the_other_stream_connects() {
        let receiver = Receiver::new();
        let (sender, packets) = tokio::sync::mpsc::channel(4);
        let mut reading = reading(&receiver.connect(), tokio_stream::wrappers::ReceiverStream::new(packets));
        let mut answer = pin!(reading.next_answer());
        assert!(answer.as_mut().now_or_never().is_none(), "nothing has come");
        receiver.inbound.connect(LinkStream::Control);
        assert!(answer.as_mut().now_or_never().is_none(), "nothing has come");
        sender.send(Ok(packet(1))).await.expect("is read");
        assert_eq!(answer.await.expect("an answer").expect("no error").confirmed, 3);
    }

    #[test]
    fn launch_of_the_peer_that_is_new_begins_both_streams_at_their_start() {
        let receiver = Receiver::new();
        let older = LinkStream::ALL.map(|stream| receiver.inbound.connect(stream).0);
        older.iter().for_each(|connection| assert_eq!(take(connection, 1, &[encoded(&credit())]), Ok(1)));
        receiver.inbound.begin_anew();
        older.iter().for_each(|connection| assert!(take(connection, 2, &[encoded(&credit())]).is_err()));
        assert_eq!(LinkStream::ALL.map(|stream| receiver.inbound.connect(stream).1), [0, 0]);
    }

    #[test]
    fn frame_that_cannot_be_read_is_confirmed_and_listed_and_those_behind_it_arrive() {
        let receiver = Receiver::new();
        let mut arrived = parts::arrivals(&receiver.exchange, 2);
        let garbage = || Bytes::from_static(&[99, 1, 2]);
        let frames = [encoded(&data(2)), garbage(), encoded(&data(2)), garbage()];
        assert_eq!(take(&receiver.connect(), 1, &frames), Ok(4));
        assert_eq!(take(&receiver.connect(), 3, &frames), Ok(6), "4 frames have arrived before the reconnect");
        let rows = std::iter::from_fn(|| arrived.try_next()).map(|message| match message {
            Message::Data(delivery) => delivery.batch.rows,
            _ => 0,
        });
        assert_eq!(rows.sum::<usize>(), 3);
        let errors = receiver.run.errors();
        assert_eq!(errors.len(), 1, "one kind: {errors:?}");
        assert_eq!((&*errors[0].component, errors[0].count), (LINK, 3));
        assert!(errors[0].message.contains("frame 2 from there:1"), "{}", errors[0].message);
    }

    #[tokio::test]
    async fn frame_that_is_too_long_to_put_together_is_passed_over() {
        let receiver = Receiver::new();
        let piece = |is_piece| LinkPacket { hello: None, first: 1, frames: vec![Bytes::from(vec![0; 9])], is_piece };
        let packets = stream::iter([Ok(piece(true)), Ok(piece(false)), Ok(packet(2))]);
        let mut reading = reading(&receiver.connect(), packets);
        reading.pieces = Pieces::new(10);
        let answer = reading.next_answer().await.expect("an answer").expect("no error");
        assert_eq!(answer.confirmed, 4);
        let errors = receiver.run.errors();
        assert_eq!((errors.len(), &*errors[0].component, errors[0].count), (1, LINK, 1));
    }

    #[tokio::test]
    async fn others_run_between_the_packets_of_a_busy_link() {
        let receiver = Receiver::new();
        let packets = stream::iter((0..8).map(|packet_of| Ok(packet(1 + 3 * packet_of))));
        let mut reading = reading(&receiver.connect(), packets);
        let (turns, mut others) = (Arc::new(AtomicUsize::new(0)), tokio::task::JoinSet::new());
        let counted = turns.clone();
        others.spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let answer = reading.next_answer().await.expect("an answer").expect("no error");
        assert_eq!(answer.confirmed, 24);
        assert!(turns.load(Ordering::Relaxed) >= 8, "{turns:?}");
    }
}
