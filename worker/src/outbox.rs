//! The output of one task: rows, acks and markers. Rows are dealt to buffers by grouping and leave in batches
//! as credit allows. A buffer holds rows of one stream, for one receiving task or for all tasks of a consumer
//! with a shuffle grouping.

mod buffer;
mod deal;
mod lead;
mod send;
mod shuffle;

use std::collections::BTreeMap;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::engine::{Anchor, Batch, HeldEntry, Root, TupleSource};
use galerna_topology_api::{Failure, TaskId};
use tokio::time::Sleep;

use crate::acks::{AckKind, AckOutbox};
use crate::clock::Clock;
use crate::credit::Credit;
use crate::edges::Marker;
use crate::exchange::Exchange;
use crate::message::{Message, Sink};
use crate::output::RowTasks;
use crate::random::Edges;
use crate::routing::Router;
use crate::tap::Tap;
use buffer::{Buffer, Receivers};
use shuffle::Shuffle;

/// A buffer with this many rows is sent at once.
const FULL: usize = 1024;
/// Statements about trees are sent at once when there are this many.
const MANY_ACKS: usize = 512;

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
    /// The place of its first buffer. A consumer has one buffer for each task, or one that all tasks share.
    first_buffer: usize,
    /// The task that shuffle considers first.
    first_task: usize,
}

impl Consumer {
    /// `first_task` is the task that shuffle considers first, so that many emitting tasks do not all
    /// begin with the same one.
    pub(crate) fn new(router: Router, peers: Vec<usize>, first_task: usize) -> Self {
        Self { router, peers, first_buffer: 0, first_task }
    }

    /// Makes the consumer's buffers for the rows of a stream.
    fn buffers(&self, source: &Arc<TupleSource>, peers: &[Peer], exchange: &Exchange) -> Vec<Buffer> {
        if let Some(prefers_local) = self.router.shuffles() {
            let is_local = |peer: usize| exchange.is_local(peers[peer].task);
            let shuffle = Shuffle::new(prefers_local, &self.peers, self.first_task, is_local);
            return vec![Buffer::new(Batch::new(source.clone(), 0), Receivers::Shared(shuffle))];
        }
        let buffer = |peer: &usize| Buffer::new(Batch::new(source.clone(), peers[*peer].task), Receivers::One(*peer));
        self.peers.iter().map(buffer).collect()
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
    /// Opens a tree for a row with one receiver and this edge, unless trees are not tracked.
    fn open_started(&mut self, stream: u16, edge: u64) -> Option<Root>;
    /// Takes the XOR of a tree's first edges and their number. `is_stray`: the tuple has no receiver.
    fn started(&mut self, root: Root, edges: u64, rows: u32, is_stray: bool);
}

/// A bolt opens no trees.
pub(crate) struct NoTrees;

impl Trees for NoTrees {
    fn open(&mut self, _: u16) -> Option<Root> {
        None
    }
    fn open_started(&mut self, _: u16, _: u64) -> Option<Root> {
        None
    }
    fn started(&mut self, _: Root, _: u64, _: u32, _: bool) {}
}

/// Trees whose rows were sent, batch by batch.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    /// The tree of each row; that of `Anchor::NONE` for a row without one.
    trees: Vec<Root>,
    /// For each batch, the end of its range in `trees`, and the time just before the batch was sent.
    batches: Vec<(usize, Duration)>,
}

impl Departed {
    fn note(&mut self, batch: &Batch, now: Duration) {
        // Without a filter: copying all takes half the time of choosing some.
        self.trees.extend(batch.anchors.iter().map(|anchor| anchor.root));
        self.batches.push((self.trees.len(), now));
    }

    /// Calls `each` with the trees of each batch and the time just before the batch was sent, and removes all.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[Root], Duration)) {
        let mut start = 0;
        for (end, at) in self.batches.drain(..) {
            each(&self.trees[start..end], at);
            start = end;
        }
        self.trees.clear();
    }
}

/// Everything that leaves one task.
pub(crate) struct Outbox {
    task: TaskId,
    is_spout: bool,
    clock: Clock,
    streams: Vec<StreamOut>,
    peers: Vec<Peer>,
    buffers: Vec<Buffer>,
    /// Buffers with rows in them.
    dirty: Vec<usize>,
    /// The time since which a buffer has waited for room.
    blocked_since: Option<Duration>,
    /// Wakes the task when rows need no longer be held back.
    timer: Option<Pin<Box<Sleep>>>,
    /// The shares of the receivers of one buffer; kept for its memory.
    shares: Vec<(usize, usize)>,
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
    /// Trees of this task whose rows were sent since the last `take_departed`.
    departed: Departed,
    tap: Option<Tap>,
    is_debug: bool,
    /// The recipient of the receiving tasks of the running command, and the number of rows dealt so far.
    asker: Option<(Arc<RowTasks>, usize)>,
}

impl Outbox {
    #[allow(clippy::too_many_arguments, reason = "a plain constructor of plain parts")]
    pub(crate) fn new(
        task: TaskId,
        is_spout: bool,
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
                buffers.extend(consumer.buffers(&stream.source, &peers, &exchange));
            }
        }
        Self {
            task,
            is_spout,
            clock,
            streams,
            peers,
            buffers,
            dirty: Vec::new(),
            blocked_since: None,
            timer: None,
            shares: Vec::new(),
            spouts,
            locality: exchange.locality(),
            exchange,
            acks: AckOutbox::default(),
            edges,
            flushes: 0,
            has_emitted: false,
            is_final: false,
            departed: Departed::default(),
            tap,
            is_debug,
            asker: None,
        }
    }

    /// Reports the receiving tasks of all rows that are dealt from now on to `asker`; `None` ends the report.
    pub(crate) fn ask(&mut self, asker: Option<Arc<RowTasks>>) {
        self.asker = asker.map(|asker| (asker, 0));
    }

    /// Whether a buffer waits for room: the task should emit nothing more.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// The rows that have not left yet.
    pub(crate) fn waiting_rows(&self) -> usize {
        self.dirty.iter().map(|place| self.buffers[*place].waiting()).sum()
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

    /// Whether rows of this task's trees were sent since the last call of `take_departed`.
    #[inline]
    pub(crate) fn has_departed(&self) -> bool {
        !self.departed.batches.is_empty()
    }

    /// Takes the trees of this task whose rows were sent since the last call, and leaves `departed`.
    pub(crate) fn take_departed(&mut self, departed: &mut Departed) {
        mem::swap(&mut self.departed, departed);
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

    /// Says of all trees of a held tuple that it was processed, or failed.
    pub(crate) fn settle_held(&mut self, entry: &HeldEntry, outcome: Result<(), &Arc<Failure>>) {
        for anchor in &entry.anchors {
            match outcome {
                Ok(()) => {
                    self.acks.ack(anchor.root, anchor.edge ^ entry.emitted);
                    self.acks.say(anchor.root, AckKind::Released);
                }
                Err(failure) => self.acks.fail(anchor.root, failure),
            }
        }
    }

    /// Says something of all trees of an input row.
    pub(crate) fn say_of_input(&mut self, batch: &Batch, row: usize, kind: AckKind) {
        all_anchors(batch, row).for_each(|anchor| self.acks.say(anchor.root, kind));
    }

    /// Fails all trees of an input row.
    pub(crate) fn fail_input(&mut self, batch: &Batch, row: usize, failure: &Arc<Failure>) {
        all_anchors(batch, row).for_each(|anchor| self.acks.fail(anchor.root, failure));
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

/// The ties of a row to trees.
fn all_anchors(batch: &Batch, row: usize) -> impl Iterator<Item = Anchor> {
    let (first, more) = batch.anchors_of(row);
    first.into_iter().chain(more.iter().map(|(_, anchor)| *anchor))
}
