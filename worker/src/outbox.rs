//! What one task sends: rows dealt by grouping into a buffer per stream and receiving task, sent in
//! batches as credit allows; acks; markers.

mod buffer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec::Drain;

use galerna_topology_api::engine::{Batch, HeldEntry, HeldTable, Root, RowAnchors, Staged, StagedRow, TupleSource};
use galerna_topology_api::{TaskHook, TaskId, Value};

use crate::acks::{AckKind, AckOutbox};
use crate::clock::Clock;
use crate::credit::{Credit, weigh};
use crate::edges::Marker;
use crate::message::{CreditReturn, Delivery, Message, Sink};
use crate::panics::{Panic, guarded};
use crate::random::Edges;
use crate::routing::{Choice, Router, Stray};
use crate::tap::Tap;
use buffer::{Buffer, Ties};

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
    /// Opens a tree, unless trees are not tracked.
    fn open(&mut self) -> Option<Root>;
    /// Hears of the XOR of a tree's first edges, or that its tuple goes nowhere.
    fn started(&mut self, root: Root, edges: u64, is_stray: bool);
}

/// A bolt opens no trees.
pub(crate) struct NoTrees;

impl Trees for NoTrees {
    fn open(&mut self) -> Option<Root> {
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
    spouts: Arc<BTreeMap<TaskId, Sink>>,
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
        spouts: Arc<BTreeMap<TaskId, Sink>>,
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

    /// Deals all staged rows to buffers and empties the staging area of them. `input` is the batch
    /// that they may be anchored to, `held` the tuples that the task holds, `trees` opens a tree for
    /// each row with a message id. `made` gets, for each input row from `first` on, the XOR of the
    /// edges made for it. Rows that were meant for a task that does not receive their stream are
    /// dropped and answered, each with the input row that it was emitted for.
    pub(crate) fn route(
        &mut self,
        staged: &mut Staged,
        input: Option<(&Batch, usize)>,
        held: &mut HeldTable,
        hooks: &[Arc<dyn TaskHook>],
        trees: &mut impl Trees,
        made: &mut [u64],
    ) -> Vec<(Option<usize>, Stray)> {
        self.has_emitted = true;
        let mut strays = Vec::new();
        if !self.is_observed && hooks.is_empty() && self.route_run(staged, input, trees, made) {
            return strays;
        }
        let Staged { rows, values, held_anchors } = staged;
        let mut values = values.drain(..);
        for row in rows.drain(..) {
            let stream = &self.streams[row.stream() as usize];
            let arity = stream.arity;
            if self.is_observed || !hooks.is_empty() {
                self.observe(row.stream(), &values.as_slice()[..arity], hooks);
            }
            let mut ties = match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, _))) => Ties::of_input(batch, at as usize),
                (RowAnchors::Held { start, len }, _) => {
                    Ties::Held(held, &held_anchors[start as usize..(start + len) as usize])
                }
                (RowAnchors::Tracked, _) => trees.open().map_or(Ties::None, Ties::Own),
                _ => Ties::None,
            };
            let mut row_made = 0;
            let dealt = self.deal(row, arity, &mut values, &mut ties, &mut row_made);
            let is_stray = dealt.is_err();
            if let Err(error) = dealt {
                let at = if let RowAnchors::Input(at) = row.anchors() { Some(at as usize) } else { None };
                strays.push((at, error));
            }
            match (ties, row.anchors(), input) {
                (Ties::Own(root), ..) => trees.started(root, row_made, is_stray),
                (Ties::Input { .. }, RowAnchors::Input(at), Some((_, first))) => made[at as usize - first] ^= row_made,
                _ => {}
            }
        }
        held_anchors.clear();
        strays
    }

    /// Deals all rows at once, if they go the same way whatever is in them: rows of one stream, with
    /// one consumer, by a grouping that does not look at them. Answers whether it did.
    fn route_run(
        &mut self,
        staged: &mut Staged,
        input: Option<(&Batch, usize)>,
        trees: &mut impl Trees,
        made: &mut [u64],
    ) -> bool {
        let Some(stream) = staged.rows.first().map(StagedRow::stream) else { return true };
        let [consumer] = self.streams[stream as usize].consumers.as_mut_slice() else { return false };
        if !staged.held_anchors.is_empty() || staged.rows.iter().any(|row| row.stream() != stream) {
            return false;
        }
        let Ok(extra) = weigh(&staged.values) else { return false };
        let Some(target) = consumer.router.route_run(staged.rows.len()) else { return false };
        let place = consumer.first_buffer + target;
        let buffer = &mut self.buffers[place];
        if buffer.batch.rows == 0 {
            self.dirty.push(place);
        }
        for row in staged.rows.drain(..) {
            match (row.anchors(), input) {
                (RowAnchors::Input(at), Some((batch, first))) => {
                    made[at as usize - first] ^=
                        Ties::of_input(batch, at as usize).tie(&mut buffer.batch, &mut self.edges);
                }
                (RowAnchors::Tracked, _) => match trees.open() {
                    Some(root) => {
                        let edge = Ties::Own(root).tie(&mut buffer.batch, &mut self.edges);
                        trees.started(root, edge, false);
                    }
                    None => {
                        Ties::None.tie(&mut buffer.batch, &mut self.edges);
                    }
                },
                _ => {
                    Ties::None.tie(&mut buffer.batch, &mut self.edges);
                }
            }
            buffer.batch.rows += 1;
        }
        buffer.extra += extra;
        buffer.batch.is_final |= self.is_final;
        buffer.batch.values.append(&mut staged.values);
        if buffer.batch.rows >= FULL {
            self.send_full(place);
        }
        true
    }

    /// Deals one row, whose values are the next `arity` ones, and takes these out.
    #[inline]
    fn deal(
        &mut self,
        row: StagedRow,
        arity: usize,
        values: &mut Drain<'_, Value>,
        ties: &mut Ties<'_>,
        made: &mut u64,
    ) -> Result<(), Stray> {
        let Self { streams, buffers, dirty, edges, is_final, .. } = self;
        let consumers = &mut streams[row.stream() as usize].consumers;
        let mut outcome = Ok(());
        let extra = match weigh(&values.as_slice()[..arity]) {
            Ok(extra) => extra,
            Err(stray) => {
                values.by_ref().take(arity).for_each(drop);
                return Err(stray);
            }
        };
        let mut full = None;
        let mut push = |place: usize, values: &mut Drain<'_, Value>, takes: bool| {
            let buffer = &mut buffers[place];
            if buffer.batch.rows == 0 {
                dirty.push(place);
            }
            *made ^= ties.tie(&mut buffer.batch, edges);
            buffer.push(values, arity, takes, extra, *is_final);
            if buffer.batch.rows >= FULL {
                full = Some(place);
            }
        };
        let mut is_taken = false;
        let mut has_target = false;
        let count = consumers.len();
        for (number, consumer) in consumers.iter_mut().enumerate() {
            let is_last = number + 1 == count;
            let first = consumer.first_buffer;
            match consumer.router.route(&values.as_slice()[..arity], row.direct()) {
                Ok(Choice::One(target)) => {
                    is_taken = is_last;
                    push(first + target, values, is_last);
                }
                Ok(Choice::All) => (first..first + consumer.peers.len()).for_each(|place| push(place, values, false)),
                Ok(Choice::Chosen) => {
                    consumer.router.chosen().iter().for_each(|target| push(first + target, values, false));
                }
                Err(error) => {
                    outcome = Err(error);
                    continue;
                }
            }
            has_target = true;
        }
        // The task that a direct emit names is one of one consumer's, and a stranger to the others.
        if row.direct().is_some() && has_target {
            outcome = Ok(());
        }
        if !is_taken {
            values.by_ref().take(arity).for_each(drop);
        }
        // At most the last one is noted when several are full: the others are found by `flush`.
        if let Some(place) = full {
            self.send_full(place);
        }
        outcome
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

    #[cold]
    fn observe(&self, stream: u16, values: &[Value], hooks: &[Arc<dyn TaskHook>]) {
        let source = &self.streams[stream as usize].source;
        if let Some(tap) = &self.tap {
            tap.emitted(&source.component, &source.stream, values);
        }
        if self.is_debug {
            tracing::info!(component = %source.component, task = self.task, stream = %source.stream, ?values, "emitted");
        }
        for hook in hooks {
            if let Err(Panic(message)) = guarded(|| hook.emit(self.task, &source.stream, values)) {
                tracing::error!(component = %source.component, task = self.task, "a task hook {message}");
            }
        }
    }

    /// Whether a full buffer waits for credit: the task should emit nothing more.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked_since.is_some()
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Sends whatever there is credit for, and all acks.
    pub(crate) fn flush(&mut self) {
        self.flush_acks();
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
        self.has_emitted = false;
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
