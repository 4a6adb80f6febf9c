//! What the tasks of a lane send: rows in parcels by destination, statements about trees, markers.
//!
//! A row goes into the parcel for its destination if its receiver has room, and else waits. A parcel leaves when it
//! is full, or when the destination has taken the one before: so parcels are full where the receiver is busy, and
//! leave immediately where it is idle. Before the lane sleeps, everything leaves.

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

    /// Whether a row for this target waits, or goes to its destination.
    #[inline(always)]
    pub(crate) fn slot(&mut self, outlet: usize, target: usize) -> Slot {
        let outlet = &mut self.outlets[outlet];
        let target = match &outlet.shared {
            None => target,
            Some(shared) => match shared.shuffle.only() {
                // Without a choice, the credit alone decides.
                Some(target) if shared.buffer.waiting() == 0 => target,
                _ => return Slot::Shared,
            },
        };
        if !outlet.waiting.is_empty() && outlet.waiting.contains_key(&target) {
            return Slot::Waiting(target);
        }
        if outlet.targets.is_empty() {
            outlet.targets.resize(self.graph.node(outlet.receiver).tasks.len(), Target::default());
        }
        let task = outlet.task(target);
        if outlet.targets[target].room == 0 {
            // What was sent by the last look must count before the next.
            outlet.settle(&self.port.credits);
            outlet.targets[target].room = self.port.credits.room(task);
            if outlet.targets[target].room == 0 {
                return Slot::Waiting(target);
            }
        }
        Slot::Load(self.ways[task as usize])
    }

    /// Where a run of rows goes together. A long run waits, to leave part by part as far as there is room.
    pub(crate) fn slot_of_run(&mut self, outlet: usize, rows: usize, heap: usize) -> Slot {
        match self.slot(outlet, 0) {
            Slot::Load(_) if rows >= 2 * FULL || (rows > 1 && heap >= FULL_BYTES) => {
                Slot::Waiting(self.chosen(outlet, 0))
            }
            slot => slot,
        }
    }

    /// The batch that the next row for a slot is pushed to.
    #[inline(always)]
    pub(crate) fn batch(&mut self, outlet: usize, slot: Slot) -> &mut Batch {
        self.outlets[outlet].batch(slot)
    }

    /// The target of a row for this one: where a shuffle has no choice, its only receiver.
    pub(crate) fn chosen(&self, outlet: usize, target: usize) -> usize {
        self.outlets[outlet].only().unwrap_or(target)
    }

    /// Reports the receiving task of the row that is pushed next to the shared rows of an outlet.
    pub(crate) fn watch(&mut self, outlet: usize, asker: Arc<RowTasks>, row: usize) {
        if let Some(shared) = &mut self.outlets[outlet].shared {
            shared.buffer.watch(asker, row);
        }
    }

    /// Lends the list of departed trees of a spout task, if rows for this slot depart immediately.
    pub(crate) fn departing(&mut self, member: MemberId, slot: Slot) -> Option<Vec<Root>> {
        if !matches!(slot, Slot::Load(_)) {
            return None;
        }
        self.departs_at.get_or_insert_with(|| self.clock.now());
        Some(mem::take(&mut self.member(member).departed.trees))
    }

    /// Takes the list of departed trees back.
    pub(crate) fn departed(&mut self, member: MemberId, trees: Vec<Root>) {
        self.member(member).departed.trees = trees;
    }

    /// Notes that a row of a tree departs.
    #[inline]
    pub(crate) fn depart_one(&mut self, member: MemberId, root: Root) {
        self.departs_at.get_or_insert_with(|| self.clock.now());
        self.member(member).departed.trees.push(root);
    }

    /// The rows of a task were dealt.
    #[inline]
    pub(crate) fn settle(&mut self, member: MemberId) {
        if let Some(now) = self.departs_at {
            self.member(member).departed.seal(now);
        }
    }

    /// Counts the rows that were pushed to the batch of a slot: the last `rows` ones, with this heap memory.
    #[inline(always)]
    #[allow(clippy::too_many_arguments, reason = "plain facts about the rows")]
    pub(crate) fn pushed(
        &mut self,
        member: MemberId,
        outlet_id: usize,
        slot: Slot,
        target: usize,
        rows: usize,
        heap: usize,
        extra: usize,
    ) {
        let outlet = &mut self.outlets[outlet_id];
        match slot {
            Slot::Load(dest) => {
                let target = outlet.only().unwrap_or(target);
                let task = outlet.task(target);
                let bytes = heap + rows * row_bytes(outlet.source.fields.len());
                let (known, weight) = (&mut outlet.targets[target], (rows + extra) as u32);
                if known.weight == 0 {
                    outlet.untaken.push(target as u32);
                }
                known.weight += weight;
                known.bytes = known.bytes.saturating_add(bytes as u32);
                known.room = known.room.saturating_sub(weight);
                let lane = self.port.dest;
                let load = outlet.load(dest);
                let is_new = load.batch.rows == rows;
                load.note(lane, task, extra, bytes);
                let is_full = load.is_full();
                if is_new {
                    self.list_load(outlet_id, dest);
                }
                if is_full {
                    self.hand_over(dest, true);
                }
            }
            Slot::Waiting(target) => {
                let clock = self.clock;
                if let Some(waiting) = outlet.waiting.get_mut(&target) {
                    waiting.buffer.note(heap);
                    if waiting.buffer.waiting() == rows {
                        waiting.since = clock.now();
                    }
                }
                self.list_waiting(outlet_id);
                let member = self.member(member);
                member.waiting += rows;
                member.parked += rows;
                if rows > 1 {
                    self.send_parked(outlet_id);
                    self.send_full();
                }
            }
            Slot::Shared => {
                let mut is_full = false;
                if let Some(shared) = &mut outlet.shared {
                    shared.buffer.note(heap);
                    is_full = shared.buffer.waiting() >= shared.full_at;
                }
                self.list_waiting(outlet_id);
                let of = self.member(member);
                of.waiting += rows;
                let place = of.place;
                if let Some(turns) = self.turns.get_mut(&place) {
                    turns.leave(member);
                }
                if is_full {
                    self.share(outlet_id);
                    self.send_full();
                }
            }
        }
    }

    fn list_load(&mut self, outlet: usize, dest: DestId) {
        self.dests[dest as usize].loads.push(outlet);
        self.list_dest(dest);
    }

    fn list_dest(&mut self, dest: DestId) {
        let destination = &mut self.dests[dest as usize];
        if !destination.is_listed {
            destination.is_listed = true;
            self.dirty.push(dest);
        }
    }

    fn list_waiting(&mut self, outlet: usize) {
        if !mem::replace(&mut self.outlets[outlet].is_listed, true) {
            self.waiting.push(outlet);
        }
    }

    /// The parcels for a destination are complete: they follow what was complete before.
    fn seal_loads(&mut self, dest: DestId) {
        let destination = &mut self.dests[dest as usize];
        for outlet in destination.loads.drain(..) {
            let outlet = &mut self.outlets[outlet];
            // The receiver may give back the credit immediately: it must have been taken.
            outlet.settle(&self.port.credits);
            if let Some(load) = &mut outlet.loads[dest as usize] {
                destination.packet.push_rows(load);
            }
        }
    }

    /// Sends everything that is on its way to a destination. Without `must`, another lane that is sending to it comes
    /// first. Returns whether everything is sent.
    fn hand_over(&mut self, dest: DestId, must: bool) -> bool {
        let Self { exchange, outlets, port, version, .. } = self;
        let destination = &mut self.dests[dest as usize];
        if destination.loads.is_empty() && destination.packet.is_empty() {
            return true;
        }
        let acks = destination.packet.acks.deltas.len();
        let offered = match &destination.port {
            Some(to) => {
                let to = to.clone();
                for outlet in &destination.loads {
                    // The receiver may give back the credit immediately: it must have been taken.
                    outlets[*outlet].settle(&port.credits);
                }
                let may = || exchange.version() == *version;
                let Destination { loads, packet, sent_at, .. } = destination;
                to.offer(must, may, |incoming| {
                    *sent_at = to.takes();
                    incoming.append(packet);
                    for outlet in loads.drain(..) {
                        if let Some(load) = &mut outlets[outlet].loads[dest as usize] {
                            incoming.push_rows(load);
                        }
                    }
                })
            }
            None => {
                self.seal_loads(dest);
                match self.exchange.send(dest, &mut self.dests[dest as usize].packet, self.version) {
                    true => Offered::Sent,
                    false => Offered::Refused,
                }
            }
        };
        match offered {
            Offered::Sent => self.acks -= acks,
            Offered::Busy => return false,
            Offered::Refused => {
                // Tasks have moved since: what is on its way finds another one.
                self.list_dest(dest);
                self.refresh();
                return self.hand_over(dest, must);
            }
        }
        true
    }

    /// Sends to those destinations that have taken what was sent before.
    pub(super) fn offer(&mut self) {
        self.send_dirty(false, Destination::has_taken);
    }

    /// Sends to the destinations of full parcels.
    fn send_full(&mut self) {
        self.send_dirty(true, |destination| !destination.packet.items.is_empty());
    }

    /// Sends everything that has room.
    pub(super) fn send_all(&mut self) {
        // When the ways change meanwhile, there is more to send.
        while !self.dirty.is_empty() {
            self.send_dirty(true, |_| true);
        }
    }

    fn send_dirty(&mut self, must: bool, may_send: impl Fn(&Destination) -> bool) {
        if self.dirty.is_empty() {
            return;
        }
        for dest in mem::take(&mut self.dirty) {
            self.dests[dest as usize].is_listed = false;
            if !may_send(&self.dests[dest as usize]) || !self.hand_over(dest, must) {
                self.list_dest(dest);
            }
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

    /// Where tasks of a component wait for shared room and there is some, the next one may emit. Returns whether there is
    /// one; its turn ends when the driver looks again.
    fn pass_turns(&mut self) -> bool {
        let mut turns = mem::take(&mut self.turns);
        let mut is_somebodys_turn = false;
        for (place, turns) in &mut turns {
            let one = self.members.iter().flatten().find(|member| member.place == *place);
            if one.is_some_and(|one| !self.lacks_room(one)) {
                is_somebodys_turn |= turns.pass(|member| self.queue.contains(&member));
            }
        }
        self.turns = turns;
        is_somebodys_turn
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

    /// Whether the rows of a task must wait, so that it should emit nothing more.
    pub(crate) fn is_blocked(&self, id: MemberId) -> bool {
        let Some(member) = &self.members[id] else { return false };
        member.parked > 0 || self.lacks_room(member) || self.is_turn_of_others(id, member)
    }

    /// Whether shared rows of a task's component wait for room.
    fn lacks_room(&self, member: &Member) -> bool {
        let is_blocked = |outlet: &usize| self.outlets[*outlet].shared.as_ref().is_some_and(|shared| shared.is_blocked);
        member.outlets.iter().any(is_blocked)
    }

    /// Whether other tasks of a task's component wait for shared room and come first.
    fn is_turn_of_others(&self, id: MemberId, member: &Member) -> bool {
        self.turns.get(&member.place).is_some_and(|turns| turns.block(id))
    }

    /// The rows of a task that have not left.
    pub(crate) fn waiting_rows(&self, member: MemberId) -> usize {
        self.members[member].as_ref().map_or(0, |member| member.waiting)
    }

    /// Has `waker` woken when the rows of a task have left and it may emit more.
    pub(crate) fn wait_for_room(&mut self, member: MemberId, waker: &Waker) {
        if !self.queue.contains(&member) {
            self.queue.push_back(member);
        }
        if let Some(of) = &self.members[member]
            && (self.lacks_room(of) || self.is_turn_of_others(member, of))
        {
            let place = of.place;
            self.turns.entry(place).or_default().wait(member);
            // Where there is room already, the driver passes the turn on.
            self.port.signal.wake();
        }
        let waiting = &mut self.member(member).waker;
        match waiting {
            Some(known) if known.will_wake(waker) => {}
            _ => *waiting = Some(waker.clone()),
        }
    }

    /// A task waits for room no longer.
    pub(crate) fn has_room(&mut self, member: MemberId) {
        if !self.queue.is_empty() {
            self.queue.retain(|waiting| *waiting != member);
            self.member(member).waker = None;
        }
    }

    /// Wakes the tasks that may emit again, those that wait for longest first, and spouts whose rows have departed.
    fn wake_members(&mut self) {
        for at in 0..self.queue.len() {
            let member = self.queue[at];
            let has_left = !self.is_blocked(member) && self.waiting_rows(member) == 0;
            // A spout counts the time of its trees from their departure.
            if (has_left || !self.member(member).departed.parts.is_empty())
                && let Some(waker) = self.member(member).waker.take()
            {
                waker.wake();
            }
        }
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

    /// A task says something of its edges, behind its rows. A destination that rows of the task wait for hears it
    /// behind these.
    pub(crate) fn mark(&mut self, member: MemberId, marker: Marker) {
        self.activity.0 += 1;
        let place = self.member(member).place;
        let dests = match marker {
            // A destination that has no receivers for now may have heard an end before.
            Marker::Open => (HELD + 1..self.dests.len() as DestId).collect(),
            Marker::Flush(_) | Marker::End(_) => self.dests_of_receivers(place),
        };
        let member_of = self.member(member);
        member_of.mark = Some(marker);
        member_of.unmarked = dests;
        self.send_marks(member);
        self.flush();
    }

    /// A task emits again: what it said of its edges is void.
    pub(crate) fn unmark(&mut self, member: MemberId) {
        let member = self.member(member);
        member.mark = None;
        member.unmarked.clear();
    }

    fn dests_of_receivers(&self, place: Place) -> BTreeSet<DestId> {
        let mut dests = BTreeSet::new();
        let mut last = None;
        for task in self.graph.receiving_tasks(place) {
            let dest = self.ways.get(task as usize).copied().unwrap_or(HELD);
            if dest == HELD {
                // Rows for the task wait. The mark must not overtake them, wherever the task goes: it follows when all
                // have a way.
                return BTreeSet::new();
            }
            if last.replace(dest) != Some(dest) {
                dests.insert(dest);
            }
        }
        dests
    }

    /// Sends the mark of a task to the destinations that none of its rows wait for.
    fn send_marks(&mut self, member: MemberId) {
        let Some(of) = &self.members[member] else { return };
        let Some(marker) = of.mark.filter(|_| !of.unmarked.is_empty()) else { return };
        let mark = Mark { from: Sender { task: of.task, launch: of.launch, is_final: false }, marker };
        let later = if of.waiting == 0 { BTreeSet::new() } else { self.dests_waited_for(of) };
        let now: Vec<DestId> = of.unmarked.difference(&later).copied().collect();
        for dest in now {
            self.seal_loads(dest);
            self.dests[dest as usize].packet.items.push(Item::Mark(mark));
            self.list_dest(dest);
            self.member(member).unmarked.remove(&dest);
        }
    }

    /// The destinations that rows of a task wait for.
    fn dests_waited_for(&self, member: &Member) -> BTreeSet<DestId> {
        let mut dests = BTreeSet::new();
        let is_of_member = |batch: &Batch| batch.senders.runs(batch.rows).any(|(_, sender)| sender.task == member.task);
        for outlet in member.outlets.iter().map(|outlet| &self.outlets[*outlet]) {
            let waiting = outlet.waiting.iter().filter(|(_, waiting)| is_of_member(&waiting.buffer.batch));
            dests.extend(waiting.map(|(target, _)| self.ways[outlet.task(*target) as usize]));
            if outlet.shared.as_ref().is_some_and(|shared| shared.buffer.waiting() > 0) {
                let tasks = self.graph.node(outlet.receiver).tasks.clone();
                dests.extend(tasks.map(|task| self.ways[task as usize]));
            }
        }
        dests
    }
}

mod departing;
mod ways;
