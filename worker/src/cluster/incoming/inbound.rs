//! What has come from a peer: takes each frame of each stream once, in order, and hands it to the worker's exchange.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use galerna_protocol::{LinkRefusal, WorkerId};
use tokio::sync::Notify;

use crate::cluster::LINK;
use crate::cluster::link_stream::LinkStream;
use crate::cluster::steward::{Event, Events};
use crate::exchange::Exchange;
use crate::graph::Graph;
use crate::link::{Frame, Link};
use crate::parcel::Item;
use crate::run::RunShared;
use crate::wire;

/// What has come from a peer.
#[derive(Debug)]
pub(in crate::cluster) struct Inbound {
    pub(super) peer: WorkerId,
    data: Mutex<Received>,
    control: Mutex<Received>,
    /// Wakes connections that wait for packets when they are void.
    pub(super) changed: Notify,
    graph: Arc<Graph>,
    exchange: Arc<Exchange>,
    /// The link in the other direction.
    back: Arc<dyn Link>,
    run: Arc<RunShared>,
}

/// What has come on one stream.
#[derive(Debug)]
pub(super) struct Received {
    /// The number of the last frame that has arrived.
    last: u64,
    /// Counts connections: only the newest may deliver.
    connection: u64,
    /// The first connection of the newest known launch of the peer.
    first_connection: u64,
    /// Why no connection may deliver any more, if so.
    refusal: Option<LinkRefusal>,
}

impl Received {
    fn new() -> Self {
        Self { last: 0, connection: 0, first_connection: 0, refusal: None }
    }

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
    pub(in crate::cluster) fn new(
        peer: WorkerId,
        exchange: Arc<Exchange>,
        graph: Arc<Graph>,
        back: Arc<dyn Link>,
        run: Arc<RunShared>,
    ) -> Self {
        let (data, control) = (Mutex::new(Received::new()), Mutex::new(Received::new()));
        Self { peer, data, control, changed: Notify::new(), graph, exchange, back, run }
    }

    pub(super) fn lock(&self, stream: LinkStream) -> MutexGuard<'_, Received> {
        let received = match stream {
            LinkStream::Data => &self.data,
            LinkStream::Control => &self.control,
        };
        received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peer is a new launch: nothing has come from it on either stream, and its predecessor's connections are
    /// void.
    pub(in crate::cluster) fn begin_anew(&self) {
        for stream in LinkStream::ALL {
            let mut received = self.lock(stream);
            received.last = 0;
            received.connection += 1;
            received.first_connection = received.connection;
        }
        self.changed.notify_waiters();
    }

    /// Nothing more is taken in.
    pub(in crate::cluster) fn close(&self, refusal: &LinkRefusal) {
        for stream in LinkStream::ALL {
            let mut received = self.lock(stream);
            received.connection += 1;
            received.refusal = Some(refusal.clone());
        }
        self.changed.notify_waiters();
    }

    /// Lets a new connection deliver a stream, in place of any other: the connection, and the number of the last frame
    /// that has arrived so far. It is for the launch of the peer that was seen last, so nobody but the steward may
    /// call this.
    pub(in crate::cluster) fn connect(self: &Arc<Self>, stream: LinkStream) -> (Connection, u64) {
        let mut received = self.lock(stream);
        received.connection += 1;
        let connected = (Connection { inbound: self.clone(), stream, number: received.connection }, received.last);
        drop(received);
        self.changed.notify_waiters();
        connected
    }

    fn deliver(&self, frame: Frame, events: &Events) {
        if let Frame::Hold { task, generation } = frame {
            // What the peer says of edges from now on concerns the task at its new place.
            self.exchange.tell(task, Item::Leaving(task, generation, true));
        }
        match frame {
            Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => {
                events.send(Event::Notice { from: self.peer.clone(), frame });
            }
            frame => self.exchange.deliver(frame, &self.back),
        }
    }
}

/// A connection that a peer has opened for one stream.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Connection {
    pub(super) inbound: Arc<Inbound>,
    stream: LinkStream,
    number: u64,
}

impl Connection {
    /// Why the connection may deliver nothing more, if so.
    pub(in crate::cluster) fn refusal(&self) -> Option<LinkRefusal> {
        self.inbound.lock(self.stream).refusal_of(self.number)
    }

    /// Counts the batches among `frames`, if the connection belongs to a replaced launch. Returns whether it
    /// does.
    pub(super) fn count_fenced(&self, frames: &[Bytes]) -> bool {
        let is_of_replaced = self.inbound.lock(self.stream).is_of_replaced(self.number);
        if is_of_replaced {
            let batches = frames.iter().filter(|frame| wire::is_batch(frame)).count();
            self.inbound.exchange.fenced_batches.add(batches as u64);
        }
        is_of_replaced
    }

    /// Takes in frames, those aside that have arrived before; answers the number of the last one.
    ///
    /// A frame that cannot be read counts as arrived and is listed as an error: to ask for it again would bring the
    /// same bytes. Its trees time out, because their anchors are unknown.
    pub(super) fn take_in(&self, first: u64, frames: &[Bytes], events: &Events) -> Result<u64, LinkRefusal> {
        let mut unreadable = Vec::new();
        let outcome = self.take_in_readable(first, frames, events, &mut unreadable);
        // Logging may block: the lock is free again.
        for (number, reason) in unreadable {
            self.list_unreadable(number, &reason.to_string());
        }
        outcome
    }

    fn take_in_readable(
        &self,
        first: u64,
        frames: &[Bytes],
        events: &Events,
        unreadable: &mut Vec<(u64, wire::WireError)>,
    ) -> Result<u64, LinkRefusal> {
        let inbound = &*self.inbound;
        let mut guard = inbound.lock(self.stream);
        let received = &mut *guard;
        if let Some(refusal) = received.refusal_of(self.number) {
            drop(guard);
            self.count_fenced(frames);
            return Err(refusal);
        }
        for (number, bytes) in (first..).zip(frames) {
            if number <= received.last {
                continue;
            }
            self.follows(number, received.last)?;
            match wire::decode(bytes, &inbound.graph) {
                Ok(frame) => inbound.deliver(frame, events),
                Err(error) => unreadable.push((number, error)),
            }
            received.last = number;
        }
        Ok(received.last)
    }

    /// Passes over a frame that is too long to be put together, as over one that cannot be read.
    pub(super) fn pass_over(&self, number: u64, reason: &str) -> Result<u64, LinkRefusal> {
        let mut received = self.inbound.lock(self.stream);
        if let Some(refusal) = received.refusal_of(self.number) {
            return Err(refusal);
        }
        if number <= received.last {
            return Ok(received.last);
        }
        self.follows(number, received.last)?;
        received.last = number;
        drop(received);
        self.list_unreadable(number, reason);
        Ok(number)
    }

    /// Refuses a frame that does not follow the last one.
    fn follows(&self, number: u64, last: u64) -> Result<(), LinkRefusal> {
        if number == last + 1 {
            return Ok(());
        }
        let message = format!("frame {number} follows frame {last}");
        tracing::error!(peer = %self.inbound.peer, stream = ?self.stream, "{message}");
        Err(LinkRefusal { is_fenced: false, message })
    }

    fn list_unreadable(&self, number: u64, reason: &str) {
        let Inbound { peer, run, .. } = &*self.inbound;
        run.list_error(LINK, 0, &format!("frame {number} from {peer} was dropped because it cannot be read: {reason}"));
    }
}
