//! What one task sends: rows dealt by grouping into a buffer per stream and receiving task, sent in
//! batches as credit allows; acks; markers.

mod buffer;
mod deal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::{Batch, HeldEntry, Root, TupleSource};

use crate::acks::{AckKind, AckOutbox};
use crate::clock::Clock;
use crate::credit::Credit;
use crate::edges::Marker;
use crate::exchange::Exchange;
use crate::message::{CreditReturn, Delivery, Message, Sink};
use crate::random::Edges;
use crate::routing::Router;
use crate::tap::Tap;
use buffer::Buffer;

/// A buffer with this many rows is sent at once.
const FULL: usize = 1024;
/// Statements about trees are sent at once when there are this many.
const MANY_ACKS: usize = 512;
/// A receiver that makes room within this time is fast, and gets more credit.
const FAST: Duration = Duration::from_millis(2);

/// One declared stream and those who receive it.
pub(crate) struct StreamOut {
    source: Arc<TupleSource>,
    consumers: Vec<Consumer>,
    arity: usize,
}

impl StreamOut {
    pub(crate) fn new(source: Arc<TupleSource>, consumers: Vec<Consumer>) -> Self {
        Self { arity: source.fields.len(), source, consumers }
    }
}

/// A bolt that receives a stream.
pub(crate) struct Consumer {
    pub(crate) router: Router,
    /// Its tasks, ascending, each with its place among the outbox's peers.
    pub(crate) peers: Vec<usize>,
    /// The place of the first of its buffers.
    first_buffer: usize,
}

impl Consumer {
    pub(crate) fn new(router: Router, peers: Vec<usize>) -> Self {
        Self { router, peers, first_buffer: 0 }
    }
}

/// A task that this one sends to.
pub(crate) struct Peer {
    pub(crate) task: TaskId,
    pub(crate) sink: Sink,
    pub(crate) credit: Arc<Credit>,
}

/// Who opens trees for rows with message ids.
pub(crate) trait Trees {
    /// Opens a tree for a row of the stream in this place, unless trees are not tracked.
    fn open(&mut self, stream: u16) -> Option<Root>;
    /// Hears of the XOR of a tree's first edges, or that its tuple goes nowhere.
    fn started(&mut self, root: Root, edges: u64, is_stray: bool);
}

/// A bolt opens no trees.
pub(crate) struct NoTrees;

impl Trees for NoTrees {
    fn open(&mut self, _: u16) -> Option<Root> {
        None
    }
    fn started(&mut self, _: Root, _: u64, _: bool) {}
}

/// Everything that leaves one task.
pub(crate) struct Outbox {
    task: TaskId,
    clock: Clock,
    streams: Vec<StreamOut>,
    peers: Vec<Peer>,
    buffers: Vec<Buffer>,
    /// Buffers with rows in them.
    dirty: Vec<usize>,
    /// Since when a full buffer has waited for credit.
    blocked_since: Option<Duration>,
    spouts: BTreeMap<TaskId, Sink>,
    exchange: Arc<Exchange>,
    /// The exchange's count of comings and goings that the routers know of.
    locality: u64,
    pub(crate) acks: AckOutbox,
    edges: Edges,
    flushes: u32,
    /// Whether rows were emitted since the last marker.
    has_emitted: bool,
    /// Whether rows are last words, or derive from such.
    pub(crate) is_final: bool,
    /// Whether a batch was sent since this was last looked at.
    pub(crate) has_sent: bool,
    tap: Option<Tap>,
    is_debug: bool,
    /// Whether there is a tap, or tuples are logged.
    is_observed: bool,
}

impl Outbox {
    #[allow(clippy::too_many_arguments, reason = "a plain constructor of plain parts")]
    pub(crate) fn new(
        task: TaskId,
        clock: Clock,
        mut streams: Vec<StreamOut>,
        peers: Vec<Peer>,
        spouts: BTreeMap<TaskId, Sink>,
        exchange: Arc<Exchange>,
        edges: Edges,
        tap: Option<Tap>,
        is_debug: bool,
    ) -> Self {
        let mut buffers = Vec::new();
        for stream in &mut streams {
            for consumer in &mut stream.consumers {
                consumer.first_buffer = buffers.len();
                let buffer = |peer: &usize| Buffer::new(Batch::new(stream.source.clone(), peers[*peer].task), *peer);
                buffers.extend(consumer.peers.iter().map(buffer));
            }
        }
        Self {
            task,
            clock,
            streams,
            peers,
            buffers,
            dirty: Vec::new(),
            blocked_since: None,
            spouts,
            locality: exchange.locality(),
            exchange,
            acks: AckOutbox::default(),
            edges,
            flushes: 0,
            has_emitted: false,
            is_final: false,
            has_sent: false,
            is_observed: is_debug || tap.is_some(),
            tap,
            is_debug,
        }
    }

    #[cold]
    fn send_full(&mut self, place: usize) {
        if self.send(place) {
            self.dirty.retain(|dirty| *dirty != place);
            if self.dirty.is_empty() {
                self.blocked_since = None;
            }
        } else {
            self.blocked_since.get_or_insert_with(|| self.clock.now());
        }
    }

    /// Sends a buffer, if there is credit.
    fn send(&mut self, place: usize) -> bool {
        let buffer = &mut self.buffers[place];
        let peer = &self.peers[buffer.peer];
        let weight = buffer.batch.rows + buffer.extra;
        if !peer.credit.try_take(weight) {
            return false;
        }
        let batch = buffer.take();
        let credit = CreditReturn::Local(peer.credit.clone());
        peer.sink.send(Message::Data(Delivery { batch, weight, credit }));
        self.has_sent = true;
        true
    }

    /// Whether a full buffer waits for credit: the task should emit nothing more.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Has the routers know which tasks run in this worker now.
    #[cold]
    fn relocate(&mut self, locality: u64) {
        self.locality = locality;
        for consumer in self.streams.iter_mut().flat_map(|stream| &mut stream.consumers) {
            let (peers, exchange) = (&self.peers, &self.exchange);
            consumer.router.relocate(|target| exchange.is_local(peers[consumer.peers[target]].task));
        }
    }

    /// Sends whatever there is credit for, and all acks.
    pub(crate) fn flush(&mut self) {
        self.flush_acks();
        let locality = self.exchange.locality();
        if locality != self.locality {
            self.relocate(locality);
        }
        if self.dirty.is_empty() {
            self.blocked_since = None;
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|place| !self.send(*place));
        self.dirty = dirty;
        for stream in &mut self.streams {
            stream.consumers.iter_mut().for_each(|consumer| consumer.router.flushed());
        }
        if self.dirty.is_empty() {
            self.blocked_since = None;
        } else {
            self.blocked_since.get_or_insert_with(|| self.clock.now());
        }
    }

    /// Sends acks when they are many.
    pub(crate) fn relieve_acks(&mut self) {
        if self.acks.len() >= MANY_ACKS {
            self.flush_acks();
        }
    }

    fn flush_acks(&mut self) {
        if self.acks.len() == 0 {
            return;
        }
        for batch in self.acks.drain() {
            if let Some(sink) = self.spouts.get(&batch.spout) {
                sink.send(Message::Acks(batch));
            }
        }
    }

    /// Ready when everything has left. A receiver that makes room fast gets more credit.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = self.blocked_since;
        let waiting: Vec<usize> = self.dirty.iter().map(|place| self.buffers[*place].peer).collect();
        // First register, then look: what is given back in between wakes.
        for peer in &waiting {
            self.peers[*peer].credit.register(cx.waker());
        }
        self.flush();
        if !self.dirty.is_empty() {
            return Poll::Pending;
        }
        if since.is_some_and(|since| self.clock.now() - since < FAST) {
            waiting.iter().for_each(|peer| self.peers[*peer].credit.grow());
        }
        Poll::Ready(())
    }

    /// The slots of this task's own trees whose tuples have not all left.
    pub(crate) fn waiting_slots(&self) -> Vec<u32> {
        let waiting = self.dirty.iter().flat_map(|place| &self.buffers[*place].batch.anchors);
        waiting.filter(|anchor| anchor.root.spout == self.task).map(|anchor| anchor.root.slot).collect()
    }

    /// Tells every receiving task something about its edge. Everything must have left before.
    pub(crate) fn send_marker(&mut self, marker: Marker) {
        debug_assert!(self.is_empty(), "a marker must not overtake tuples");
        self.has_emitted &= marker == Marker::Open;
        for peer in &self.peers {
            peer.sink.send(Message::Marker { from: self.task, marker });
        }
    }

    /// The next flush marker.
    pub(crate) fn next_flush(&mut self) -> Marker {
        self.flushes += 1;
        Marker::Flush(self.flushes)
    }

    /// Whether rows were emitted since the last marker.
    pub(crate) fn has_emitted_since_marker(&self) -> bool {
        self.has_emitted
    }

    /// Says of all trees of a held tuple that it was processed, or was not.
    pub(crate) fn settle_held(&mut self, entry: &HeldEntry, is_acked: bool) {
        for anchor in &entry.anchors {
            if is_acked {
                self.acks.ack(anchor.root, anchor.edge ^ entry.emitted);
                self.acks.say(anchor.root, AckKind::Released);
            } else {
                self.acks.say(anchor.root, AckKind::Fail);
            }
        }
    }

    /// Says something of all trees of an input row.
    pub(crate) fn say_of_input(&mut self, batch: &Batch, row: usize, kind: AckKind) {
        let (first, more) = batch.anchors_of(row);
        for anchor in first.into_iter().chain(more.iter().map(|(_, anchor)| *anchor)) {
            self.acks.say(anchor.root, kind);
        }
    }

    /// Acks an input row, with the XOR of the edges made for it.
    #[inline]
    pub(crate) fn ack_input(&mut self, batch: &Batch, row: usize, made: u64) {
        let (first, more) = batch.anchors_of(row);
        if let Some(anchor) = first {
            self.acks.ack(anchor.root, anchor.edge ^ made);
        }
        for (_, anchor) in more {
            self.acks.ack(anchor.root, anchor.edge ^ made);
        }
    }
}
