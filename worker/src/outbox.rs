//! The output of one task: its rows are dealt by grouping to the lane, which sends them; its acks and markers go the
//! same way.

mod deal;
mod ties;

use std::sync::Arc;
use std::task::{Context, Poll};

use galerna_topology_api::engine::{Anchor, Batch, HeldEntry, Root, Sender, TupleSource};
use galerna_topology_api::{Failure, TaskId};

use crate::acks::AckKind;
use crate::edges::Marker;
use crate::lane::{Departed, InputKey, Lane, MemberId};
use crate::output::RowTasks;
use crate::random::Edges;
use crate::routing::Router;
use crate::tap::Tap;

/// One declared stream and those who receive it.
pub(crate) struct StreamOut {
    pub(crate) source: Arc<TupleSource>,
    pub(crate) consumers: Vec<Consumer>,
}

/// A bolt that receives a stream.
pub(crate) struct Consumer {
    router: Router,
    /// The number of its tasks.
    targets: usize,
    /// Its first task; the others follow.
    first: TaskId,
    /// The place of its rows in the lane.
    outlet: usize,
}

impl Consumer {
    /// A consumer with this many tasks from `first` on, which receives rows by the outlet of the lane.
    pub(crate) fn new(router: Router, targets: usize, first: TaskId, outlet: usize) -> Self {
        Self { router, targets, first, outlet }
    }
}

/// The place of a task in its lane.
pub(crate) struct Membership {
    pub(crate) lane: Arc<Lane>,
    pub(crate) member: MemberId,
}

/// What the task sends leaves, also if the task is ended hard.
impl Drop for Membership {
    fn drop(&mut self) {
        self.lane.out().leave(self.member);
    }
}

impl Membership {
    /// Adds a task to a lane.
    pub(crate) fn new(lane: Arc<Lane>, task: TaskId, launch: u32, place: usize, is_spout: bool) -> Self {
        let member = lane.out().join(task, launch, place, is_spout);
        Self { lane, member }
    }

    /// The place of an input of a receiver in the lane.
    pub(crate) fn outlet(&self, key: &InputKey) -> usize {
        self.lane.out().outlet(self.member, key)
    }
}

/// Everything that leaves one task.
pub(crate) struct Outbox {
    task: TaskId,
    launch: u32,
    streams: Vec<StreamOut>,
    home: Membership,
    edges: Edges,
    flushes: u32,
    /// Whether rows were emitted since the last flush of the outbox.
    is_dirty: bool,
    /// Whether rows may wait for room: if not, there is no need to look.
    may_wait: bool,
    /// Whether the tasks of the lane share rows that receivers share: then those of others may block this task.
    has_shared: bool,
    /// Whether rows were emitted since the last marker.
    has_emitted: bool,
    /// Whether rows are last words, or derive from such.
    pub(crate) is_final: bool,
    tap: Option<Tap>,
    is_debug: bool,
    /// The recipient of the receiving tasks of the running command, and the number of rows dealt so far.
    asker: Option<(Arc<RowTasks>, usize)>,
}

impl Outbox {
    pub(crate) fn new(
        task: TaskId,
        launch: u32,
        streams: Vec<StreamOut>,
        home: Membership,
        edges: Edges,
        tap: Option<Tap>,
        is_debug: bool,
    ) -> Self {
        let has_shared = streams.iter().flat_map(|stream| &stream.consumers).any(|to| to.router.shuffles().is_some());
        Self {
            task,
            launch,
            streams,
            home,
            edges,
            flushes: 0,
            is_dirty: false,
            may_wait: false,
            has_shared,
            has_emitted: false,
            is_final: false,
            tap,
            is_debug,
            asker: None,
        }
    }

    fn sender(&self) -> Sender {
        Sender { task: self.task, launch: self.launch, is_final: self.is_final }
    }

    /// Reports the receiving tasks of all rows that are dealt from now on to `asker`; `None` ends the report.
    pub(crate) fn ask(&mut self, asker: Option<Arc<RowTasks>>) {
        self.asker = asker.map(|asker| (asker, 0));
    }

    /// Whether rows wait for room: the task should emit nothing more.
    pub(crate) fn is_blocked(&self) -> bool {
        (self.may_wait || self.has_shared) && self.home.lane.out().is_blocked(self.home.member)
    }

    /// Whether everything has left.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_dirty && (!self.may_wait || self.waiting_rows() == 0)
    }

    /// The rows that have not left yet.
    pub(crate) fn waiting_rows(&self) -> usize {
        self.home.lane.out().waiting_rows(self.home.member)
    }

    /// Sends acks when they are many.
    pub(crate) fn relieve_acks(&mut self) {
        self.home.lane.out().relieve_acks();
    }

    /// Takes the trees of this task whose rows have departed since the last call, and leaves `departed`.
    pub(crate) fn take_departed(&mut self, departed: &mut Departed) {
        self.home.lane.out().take_departed(self.home.member, departed);
    }

    /// Tells every receiving task something about its edges, behind all rows.
    pub(crate) fn send_marker(&mut self, marker: Marker) {
        self.has_emitted &= marker == Marker::Open;
        let mut out = self.home.lane.out();
        out.begin();
        out.mark(self.home.member, marker);
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

    /// Sends all acks, and all rows that there is room for.
    pub(crate) fn flush(&mut self) {
        let mut out = self.home.lane.out();
        out.begin();
        out.flush();
        self.is_dirty = false;
        self.may_wait &= out.waiting_rows(self.home.member) > 0;
    }

    /// Ready when all rows have left and more may be emitted.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let member = self.home.member;
        let mut out = self.home.lane.out();
        out.begin();
        out.flush();
        self.is_dirty = false;
        if out.is_blocked(member) || out.waiting_rows(member) > 0 {
            out.wait_for_room(member, cx.waker());
            return Poll::Pending;
        }
        out.has_room(member);
        self.may_wait = false;
        Poll::Ready(())
    }

    /// Says of all trees of a held tuple that it was processed, or failed.
    pub(crate) fn settle_held(&mut self, entry: &HeldEntry, outcome: Result<(), &Arc<Failure>>) {
        let mut out = self.home.lane.out();
        out.begin();
        for anchor in &entry.anchors {
            match outcome {
                Ok(()) => {
                    out.ack(anchor.root, anchor.edge ^ entry.emitted);
                    out.say(anchor.root, AckKind::Released);
                }
                Err(failure) => out.fail(anchor.root, failure),
            }
        }
    }

    /// Says something of a tree.
    pub(crate) fn say(&mut self, root: Root, kind: AckKind) {
        let mut out = self.home.lane.out();
        out.begin();
        out.say(root, kind);
    }

    /// Says something of all trees of an input row.
    pub(crate) fn say_of_input(&mut self, batch: &Batch, row: usize, kind: AckKind) {
        all_anchors(batch, row).for_each(|anchor| self.say(anchor.root, kind));
    }

    /// Fails all trees of an input row.
    pub(crate) fn fail_input(&mut self, batch: &Batch, row: usize, failure: &Arc<Failure>) {
        let mut out = self.home.lane.out();
        out.begin();
        all_anchors(batch, row).for_each(|anchor| out.fail(anchor.root, failure));
    }

    /// Acks input rows, each with the XOR of the edges made for it.
    #[inline]
    pub(crate) fn ack_inputs(&mut self, batch: &Batch, rows: impl Iterator<Item = (usize, u64)>) {
        let mut out = self.home.lane.out();
        out.begin();
        for (row, made) in rows {
            let (first, more) = batch.anchors_of(row);
            if let Some(anchor) = first {
                out.ack(anchor.root, anchor.edge ^ made);
            }
            for (_, anchor) in more {
                out.ack(anchor.root, anchor.edge ^ made);
            }
        }
    }
}

/// The ties of a row to trees.
fn all_anchors(batch: &Batch, row: usize) -> impl Iterator<Item = Anchor> {
    let (first, more) = batch.anchors_of(row);
    first.into_iter().chain(more.iter().map(|(_, anchor)| *anchor))
}
