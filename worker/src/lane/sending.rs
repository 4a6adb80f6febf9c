//! What the tasks of a lane send: rows in parcels by destination, statements about trees, markers.
//!
//! A row goes into the parcel for its destination if its receiver has room, and else waits. A parcel leaves when it
//! is full, or when the destination has taken the one before: so parcels are full where the receiver is busy, and
//! leave immediately where it is idle. Before the lane sleeps, everything leaves.

mod dealing;
mod departing;
mod handing;
mod marks;
mod room;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use galerna_topology_api::engine::{Batch, Root, Sender};
use galerna_topology_api::{Failure, TaskId};
use tokio::time::Instant;

use super::outlet::{Outlet, Slot, Target};
use super::shuffle::Shuffle;
use super::turns::Turns;
use super::{DestId, LanePort, Offered};
use crate::acks::{AckKind, Recent};
use crate::clock::Clock;
use crate::credit::Progress;
use crate::edges::{Mark, Marker};
use crate::exchange::{Exchange, HELD};
use crate::graph::{Graph, Place};
use crate::output::RowTasks;
use crate::parcel::{Acks, FULL, FULL_BYTES, Item, Packet, Parcel, row_bytes};
use crate::stats::Latencies;

/// A receiver that makes room within this time counts as fast and gets more credit.
const FAST: Duration = Duration::from_millis(2);
/// Statements about trees are sent immediately when there are this many for a destination.
const MANY_ACKS: usize = 512;

/// The place of a task among the tasks of its lane.
pub(crate) type MemberId = usize;

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

/// Trees of a spout task whose rows have departed, part by part.
#[derive(Debug, Default)]
pub(crate) struct Departed {
    /// The tree of each row; that of `Anchor::NONE` for a row without one.
    trees: Vec<Root>,
    /// For each part, its end in `trees`, and the time just before the departure.
    parts: Vec<(usize, Duration)>,
}

impl Departed {
    fn seal(&mut self, now: Duration) {
        let sealed = self.parts.last().map_or(0, |(end, _)| *end);
        if self.trees.len() > sealed {
            self.parts.push((self.trees.len(), now));
        }
    }

    /// Calls `each` with the trees of each part and the time just before their rows departed, and removes all.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[Root], Duration)) {
        let mut start = 0;
        for (end, at) in self.parts.drain(..) {
            each(&self.trees[start..end], at);
            start = end;
        }
        self.trees.clear();
    }
}

/// A task of the lane.
struct Member {
    task: TaskId,
    launch: u32,
    place: Place,
    is_spout: bool,
    /// Its rows that wait for room or are shared later.
    waiting: usize,
    /// Those of them that wait for the room of a certain task.
    parked: usize,
    departed: Departed,
    /// Wakes the task when there is room.
    waker: Option<Waker>,
    outlets: Vec<usize>,
    /// What it said last of its edges, if no row followed.
    mark: Option<Marker>,
    /// Destinations that have not got the mark, because rows of the task for them wait.
    unmarked: BTreeSet<DestId>,
}

/// What is on its way to one destination.
#[derive(Default)]
struct Destination {
    /// The destination, if it is a lane.
    port: Option<Arc<LanePort>>,
    /// Outlets with a parcel for it.
    loads: Vec<usize>,
    /// Complete parcels, markers, and statements about trees.
    packet: Packet,
    /// How often the lane had taken what came when something was sent last.
    sent_at: u64,
    is_listed: bool,
}

impl Destination {
    /// Whether the destination has taken what was sent last.
    fn has_taken(&self) -> bool {
        self.port.as_ref().is_none_or(|port| port.takes() != self.sent_at)
    }
}

/// See the module.
pub(crate) struct LaneOut {
    port: Arc<LanePort>,
    graph: Arc<Graph>,
    exchange: Arc<Exchange>,
    clock: Clock,
    /// The version of the ways that the lane knows.
    version: u64,
    /// The destination of each task.
    ways: Arc<[DestId]>,
    outlets: Vec<Outlet>,
    /// Outlets by source component, stream, and the number of the input among all that receive the stream.
    by_input: BTreeMap<(Place, u16, usize), usize>,
    /// By component.
    latencies: BTreeMap<Place, Arc<Latencies>>,
    members: Vec<Option<Member>>,
    by_task: BTreeMap<TaskId, MemberId>,
    /// Tasks that wait for room, those that wait for longest first.
    queue: VecDeque<MemberId>,
    /// Whose turn it is among those of each component that wait for shared room.
    turns: BTreeMap<Place, Turns>,
    dests: Vec<Destination>,
    /// Destinations that something is to be sent to.
    dirty: Vec<DestId>,
    /// Empty memory for such a list.
    spare: Vec<DestId>,
    /// Outlets with rows that wait.
    waiting: Vec<usize>,
    /// The time just before the first row of the running call departed.
    departs_at: Option<Duration>,
    recent: Recent,
    /// The number of statements about trees that have not left.
    acks: usize,
    /// The spout task that was spoken to last, and its destination.
    last_spout: (TaskId, DestId),
    /// Grows when a task does something; and where the driver saw it last.
    activity: (u64, u64),
    /// The shares of the receivers of one outlet; kept for its memory.
    shares: Vec<(usize, usize)>,
}

impl fmt::Debug for LaneOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneOut").field("lane", &self.port.dest).finish_non_exhaustive()
    }
}

/// A stream of a component with one of those who receive it.
pub(crate) struct InputKey {
    pub(crate) from: Place,
    pub(crate) stream: u16,
    /// The number of the input among all that receive the stream.
    pub(crate) number: usize,
    pub(crate) receiver: Place,
    /// For a shuffle grouping, whether it prefers tasks in the same worker.
    pub(crate) shuffles: Option<bool>,
}

impl LaneOut {
    pub(super) fn new(port: Arc<LanePort>, graph: Arc<Graph>, exchange: Arc<Exchange>, clock: Clock) -> Self {
        Self {
            port,
            graph,
            exchange,
            clock,
            version: 0,
            ways: Arc::from([]),
            outlets: Vec::new(),
            by_input: BTreeMap::new(),
            latencies: BTreeMap::new(),
            members: Vec::new(),
            by_task: BTreeMap::new(),
            queue: VecDeque::new(),
            turns: BTreeMap::new(),
            dests: Vec::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            waiting: Vec::new(),
            departs_at: None,
            recent: Recent::new(),
            acks: 0,
            last_spout: (0, HELD),
            activity: (0, 0),
            shares: Vec::new(),
        }
    }

    /// Adds a task of a component.
    pub(crate) fn join(&mut self, task: TaskId, launch: u32, place: Place, is_spout: bool) -> MemberId {
        let member = Member {
            task,
            launch,
            place,
            is_spout,
            waiting: 0,
            parked: 0,
            departed: Departed::default(),
            waker: None,
            outlets: Vec::new(),
            mark: None,
            unmarked: BTreeSet::new(),
        };
        let id = self.members.iter().position(Option::is_none).unwrap_or(self.members.len());
        if id == self.members.len() {
            self.members.push(None);
        }
        self.members[id] = Some(member);
        self.by_task.insert(task, id);
        id
    }

    /// The latencies of the tasks of a task's component in this lane.
    pub(crate) fn latencies(&mut self, task: TaskId) -> Arc<Latencies> {
        let place = self.graph.place_of(task).unwrap_or_default();
        self.latencies.entry(place).or_default().clone()
    }

    /// The outlet by which a task sends a stream to a receiver.
    pub(crate) fn outlet(&mut self, member: MemberId, key: &InputKey) -> usize {
        let id = (key.from, key.stream, key.number);
        let outlet = match self.by_input.get(&id) {
            Some(outlet) => *outlet,
            None => {
                let tasks = self.graph.node(key.receiver).tasks.clone();
                let is_local = |target: usize| self.exchange.is_local(tasks.start + target as TaskId);
                let first = self.port.dest as usize;
                let shuffle = key.shuffles.map(|local| Shuffle::new(local, tasks.len(), first, is_local));
                let source = self.graph.node(key.from).streams[key.stream as usize].clone();
                self.outlets.push(Outlet::new(source, key.receiver, tasks.start, shuffle));
                let outlet = self.outlets.len() - 1;
                self.by_input.insert(id, outlet);
                outlet
            }
        };
        if let Some(member) = &mut self.members[member] {
            member.outlets.push(outlet);
        }
        outlet
    }

    /// Removes a task that has ended. What it has sent leaves.
    pub(crate) fn leave(&mut self, member: MemberId) {
        self.send_waiting();
        self.send_all();
        self.queue.retain(|waiting| *waiting != member);
        self.turns.values_mut().for_each(|turns| turns.leave(member));
        if let Some(of) = self.members.get_mut(member).and_then(Option::take)
            && self.by_task.get(&of.task) == Some(&member)
        {
            self.by_task.remove(&of.task);
        }
    }

    fn member(&mut self, member: MemberId) -> &mut Member {
        match &mut self.members[member] {
            Some(member) => member,
            None => unreachable!("a task that has left sends nothing"),
        }
    }

    /// A task of the lane is about to send.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.activity.0 += 1;
        self.departs_at = None;
        if self.exchange.version() != self.version {
            self.refresh();
        }
    }

    /// Whether the lane does not know all ways, or knew only this version of them.
    pub(super) fn is_outdated(&self, version: u64) -> bool {
        version != self.exchange.version()
    }

    /// Grows when a task of the lane does something.
    pub(super) fn activity(&self) -> u64 {
        self.activity.0
    }

    /// Gives back memory that only a busy lane needs.
    pub(super) fn shrink(&mut self) {
        for outlet in &mut self.outlets {
            for load in &mut outlet.loads {
                drop(load.take_if(|load| load.batch.rows == 0));
            }
        }
        self.dests.iter_mut().for_each(|destination| destination.packet.shrink());
        self.recent = Recent::new();
    }

    /// The version of the ways that the lane knows.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The driver looks for what there is to do. Returns whether the tasks of the lane have done something since
    /// it did so last.
    pub(super) fn turn(&mut self) -> bool {
        if self.exchange.version() != self.version {
            self.refresh();
        }
        self.port.credits.take_returned();
        self.send_waiting();
        let is_somebodys_turn = !self.turns.is_empty() && self.pass_turns();
        self.wake_members();
        let is_busy = self.activity.0 != self.activity.1;
        self.activity.1 = self.activity.0;
        is_busy || is_somebodys_turn
    }

    /// The time until which rows are held back from receivers that lead by too many, if any are.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        let shared = self.waiting.iter().filter_map(|outlet| self.outlets[*outlet].shared.as_ref());
        let until = shared.filter_map(|shared| shared.shuffle.holds_until()).min()?;
        Some(self.clock.at(until))
    }

    /// Sends what a task has emitted, as far as there is room.
    pub(crate) fn flush(&mut self) {
        self.send_waiting();
        self.offer();
        if !self.queue.is_empty() {
            self.wake_members();
        }
        if !self.dirty.is_empty() || !self.waiting.is_empty() || !self.queue.is_empty() {
            // The driver sends the rest: when the destinations have taken what they have, when there is room, or when
            // rows need no longer be held back.
            self.port.signal.wake();
        }
    }

    /// Sends statements about trees where they are many.
    pub(crate) fn relieve_acks(&mut self) {
        if self.acks < MANY_ACKS {
            return;
        }
        self.send_dirty(false, |dest| dest.packet.acks.deltas.len() >= MANY_ACKS || dest.has_taken());
    }

    /// Takes the trees of a task whose rows have departed since the last call.
    pub(crate) fn take_departed(&mut self, member: MemberId, departed: &mut Departed) {
        let of_member = &mut self.member(member).departed;
        if !of_member.parts.is_empty() {
            mem::swap(of_member, departed);
        }
    }

    /// The destination of a spout task.
    #[inline]
    fn dest_of_spout(&mut self, spout: TaskId) -> DestId {
        if self.last_spout.0 != spout {
            self.last_spout = (spout, self.ways.get(spout as usize).copied().unwrap_or(HELD));
        }
        self.last_spout.1
    }

    /// Notes that `xor` is to be taken into a tree.
    #[inline]
    pub(crate) fn ack(&mut self, root: Root, xor: u64) {
        let dest = self.dest_of_spout(root.spout);
        let acks = &mut self.dests[dest as usize].packet.acks;
        if self.recent.ack(acks, dest, root, xor) {
            self.acks += 1;
            self.list_dest(dest);
        }
    }

    /// Notes that a tree failed.
    pub(crate) fn fail(&mut self, root: Root, failure: &Arc<Failure>) {
        let dest = self.dest_of_spout(root.spout);
        self.dests[dest as usize].packet.acks.fail(root, failure);
        self.acks += 1;
        self.list_dest(dest);
    }

    /// Notes another statement about a tree.
    pub(crate) fn say(&mut self, root: Root, kind: AckKind) {
        let dest = self.dest_of_spout(root.spout);
        self.dests[dest as usize].packet.acks.say(root, kind);
        self.acks += 1;
        self.list_dest(dest);
    }
}
