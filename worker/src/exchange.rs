//! How the lanes of one worker reach all tasks of the topology, wherever those run, and what comes in over links.
//!
//! There is a way to each task: to a lane of this worker, over a link, or nowhere yet while the task moves. So a
//! task can move without those who send to it noticing: a lane that sends by an old way is told so, and what it has
//! under way finds the new one.

mod arriving;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use galerna_topology_api::TaskId;

use crate::credit::FIRST;
use crate::edges::Mark;
use crate::graph::Graph;
use crate::inbox::Inbox;
use crate::lane::{Budget, DestId, LanePort};
use crate::link::{Frame, Link};
use crate::parcel::{Acks, Item, Origin, Packet, Parcel, Run};

/// The number of batches that this worker has dropped because they came from a replaced launch of a worker,
/// or were for a task that no longer runs at their destination.
#[derive(Clone, Debug, Default)]
pub(crate) struct FencedBatches(Arc<AtomicU64>);

impl FencedBatches {
    pub(crate) fn add(&self, batches: u64) {
        self.0.fetch_add(batches, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The destination of what has no way yet.
pub(crate) const HELD: DestId = 0;

/// A destination.
#[derive(Debug)]
enum Way {
    /// Nowhere yet: what is sent waits. Credits bound it.
    Held,
    Lane(Arc<LanePort>),
    Link(Arc<dyn Link>),
}

/// The new way to a task.
pub(crate) enum To {
    /// The task runs in a lane of this worker.
    Lane(Arc<LanePort>, Inbox),
    /// The task runs in another worker.
    Link(Arc<dyn Link>),
}

/// How much may be under way from lanes of other workers, by link and lane.
type Limits = BTreeMap<(usize, u32), u32>;

/// What waits for a task without a way.
#[derive(Debug, Default)]
struct Waiting {
    rows: Vec<Item>,
    acks: Acks,
}

#[derive(Debug)]
struct Ways {
    /// Grows when a task comes, goes or moves.
    version: u64,
    dests: Vec<Way>,
    /// The destination of each task.
    by_task: Vec<DestId>,
    /// A copy of it for the lanes, made when it is first needed.
    copy: Mutex<Option<Arc<[DestId]>>>,
    /// The lane of each task that runs in this worker.
    homes: Vec<Option<Arc<LanePort>>>,
    /// Tasks that do not belong to this worker.
    strangers: BTreeSet<TaskId>,
}

/// The ways to all tasks.
#[derive(Debug)]
pub(crate) struct Exchange {
    graph: Arc<Graph>,
    /// The launch of the worker, in the frames of its lanes.
    launch: u32,
    budget: Arc<Budget>,
    ways: RwLock<Ways>,
    /// The version of the ways, to look at without a lock.
    version: AtomicU64,
    /// What is for tasks without a way.
    held: Mutex<BTreeMap<TaskId, Waiting>>,
    /// What came over links for tasks that are not here yet.
    early: Mutex<BTreeMap<TaskId, Vec<(Parcel, Origin)>>>,
    /// What tasks of other workers said of their edges last.
    marks: Mutex<BTreeMap<TaskId, Mark>>,
    /// For each task of this worker, how much may be under way from lanes of others, by link and lane.
    limits: Mutex<BTreeMap<TaskId, Limits>>,
    pub(crate) fenced_batches: FencedBatches,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// Ways to all tasks, which lead nowhere yet. `launch` tells the launches of the worker apart.
    pub(crate) fn new(graph: Arc<Graph>, launch: u32, budget: i64) -> Self {
        let tasks = graph.end();
        let ways = Ways {
            version: 1,
            dests: vec![Way::Held],
            by_task: vec![HELD; tasks],
            copy: Mutex::default(),
            homes: vec![None; tasks],
            strangers: BTreeSet::new(),
        };
        Self {
            graph,
            launch,
            budget: Arc::new(Budget::new(budget)),
            ways: RwLock::new(ways),
            version: AtomicU64::new(1),
            held: Mutex::default(),
            early: Mutex::default(),
            marks: Mutex::default(),
            limits: Mutex::default(),
            fenced_batches: FencedBatches::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Ways> {
        self.ways.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ways> {
        self.ways.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a lane of this worker.
    pub(crate) fn add_lane(&self) -> Arc<LanePort> {
        let mut ways = self.write();
        let port = Arc::new(LanePort::new(ways.dests.len() as DestId, self.graph.end(), self.budget.clone()));
        lock(&self.marks).values().for_each(|mark| port.tell(Item::Mark(*mark)));
        ways.dests.push(Way::Lane(port.clone()));
        self.changed(&mut ways);
        port
    }

    /// A lane has no tasks any more.
    pub(crate) fn remove_lane(&self, port: &LanePort) {
        let mut ways = self.write();
        ways.dests[port.dest as usize] = Way::Held;
        port.credits.retire();
    }

    /// The ways have changed: all lanes follow. Nothing is sent by the old ways after this.
    fn changed(&self, ways: &mut Ways) {
        ways.version += 1;
        *lock(&ways.copy) = None;
        self.version.store(ways.version, Ordering::SeqCst);
        for port in ways.ports() {
            port.wait_for_senders();
            port.signal.wake();
        }
    }

    /// Grows when a task comes, goes or moves.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// The version of the ways, the destination of each task, and the number of destinations.
    pub(crate) fn ways(&self) -> (u64, Arc<[DestId]>, usize) {
        let ways = self.read();
        let mut copy = lock(&ways.copy);
        let by_task = copy.get_or_insert_with(|| ways.by_task.as_slice().into()).clone();
        (ways.version, by_task, ways.dests.len())
    }

    /// The lane of this worker that is a destination, if it is one.
    pub(crate) fn port(&self, dest: DestId) -> Option<Arc<LanePort>> {
        match self.read().dests.get(dest as usize) {
            Some(Way::Lane(port)) => Some(port.clone()),
            _ => None,
        }
    }

    /// Whether a task runs in this worker.
    pub(crate) fn is_local(&self, task: TaskId) -> bool {
        self.read().homes.get(task as usize).is_some_and(Option::is_some)
    }

    /// Sends the contents of a packet of a lane that knows this version of the ways. Returns whether the packet is
    /// sent; else the ways have changed since.
    pub(crate) fn send(&self, dest: DestId, packet: &mut Packet, version: u64) -> bool {
        let ways = self.read();
        if ways.version != version {
            return false;
        }
        let way = &ways.dests[dest as usize];
        packet.items.drain(..).for_each(|item| self.pass(&ways, way, item));
        self.pass_acks_by(way, &mut packet.acks);
        true
    }

    /// Has an item go a way.
    fn pass(&self, ways: &Ways, way: &Way, item: Item) {
        match (way, item) {
            (Way::Lane(port), item) => port.tell(item),
            (Way::Link(link), Item::Rows(parcel)) => {
                let Run { lane, target, .. } = parcel.runs[0];
                let limit = match &ways.dests[lane as usize] {
                    Way::Lane(port) => port.credits.towards(target).limit(),
                    Way::Link(_) | Way::Held => 0,
                };
                let frame = Frame::Rows { lane, launch: self.launch, limit, parcel: *parcel };
                if let Some(unsent) = link.send(frame) {
                    self.fail_unsent(ways, &unsent);
                }
            }
            (Way::Link(link), Item::Mark(mark)) => {
                link.send(Frame::Mark(mark));
            }
            (Way::Held, Item::Rows(parcel)) => {
                for (task, part) in parcel.split() {
                    lock(&self.held).entry(task).or_default().rows.push(Item::Rows(Box::new(part)));
                }
            }
            // What is said of edges is said again by the lanes. The others stay within their worker.
            (Way::Held | Way::Link(_), _) => {}
        }
    }

    /// Has statements about trees go a way.
    fn pass_acks_by(&self, way: &Way, acks: &mut Acks) {
        if acks.deltas.is_empty() {
            return;
        }
        match way {
            Way::Lane(port) => port.push_acks(acks),
            Way::Link(link) => {
                link.send(Frame::Acks(mem::take(acks)));
            }
            Way::Held => {
                for (spout, of_spout) in acks.by_spout() {
                    lock(&self.held).entry(spout).or_default().acks.append(&of_spout);
                }
            }
        }
        acks.deltas.clear();
        acks.failures.clear();
    }

    /// How much may be under way to a task, as far as is known; at first what one lane may send.
    pub(crate) fn capacity(&self, task: TaskId) -> u64 {
        let local: u64 = self.read().ports().filter_map(|port| port.credits.limit(task)).map(u64::from).sum();
        let remote =
            lock(&self.limits).get(&task).map_or(0, |limits| limits.values().map(|limit| u64::from(*limit)).sum());
        (local + remote).max(FIRST.into())
    }

    /// Has a task be reached another way. `again` is what was sent the way before and may not have arrived.
    pub(crate) fn open(&self, task: TaskId, to: To, again: Vec<Frame>) {
        let mut guard = self.write();
        let ways = &mut *guard;
        let dest = match to {
            To::Lane(port, inbox) => {
                port.tell(Item::Admit(task, inbox));
                for (parcel, origin) in lock(&self.early).remove(&task).unwrap_or_default() {
                    port.tell(Item::RowsFrom(Box::new(parcel), origin));
                }
                ways.homes[task as usize] = Some(port.clone());
                port.dest
            }
            To::Link(link) => {
                ways.leave_home(task);
                ways.dest_of_link(&link)
            }
        };
        ways.by_task[task as usize] = dest;
        let way = &ways.dests[dest as usize];
        for frame in again {
            if let Some(parcel) = self.taken_again(ways, frame) {
                self.pass(ways, way, Item::Rows(Box::new(parcel)));
            }
        }
        if let Some(Waiting { rows, mut acks }) = lock(&self.held).remove(&task) {
            rows.into_iter().for_each(|item| self.pass(ways, way, item));
            self.pass_acks_by(way, &mut acks);
        }
        self.changed(ways);
    }

    /// Has what is sent to a task of this worker take a link all the same.
    pub(crate) fn detour(&self, task: TaskId, link: &Arc<dyn Link>) {
        let mut ways = self.write();
        let dest = ways.dest_of_link(link);
        ways.by_task[task as usize] = dest;
        self.changed(&mut ways);
    }

    /// Holds back what is sent to a task from now on; `then` runs before anything else can be sent.
    pub(crate) fn hold(&self, task: TaskId, then: impl FnOnce()) {
        let mut ways = self.write();
        let Some(dest) = ways.by_task.get_mut(task as usize) else { return };
        *dest = HELD;
        self.changed(&mut ways);
        then();
    }

    /// Whoever receives from this worker's tasks has not heard what was said of the edges: it is said again.
    pub(crate) fn tell_marks(&self) {
        self.changed(&mut self.write());
    }

    /// A task of this worker is told to end: what comes over links from now on is not for it.
    pub(crate) fn detach(&self, task: TaskId) {
        let mut ways = self.write();
        ways.leave_home(task);
        self.changed(&mut ways);
    }

    /// Tells the lane of a task of this worker something, behind all that came before.
    pub(crate) fn tell(&self, task: TaskId, item: Item) {
        if let Some(Some(port)) = self.read().homes.get(task as usize) {
            port.tell(item);
        }
    }

    /// Tells all lanes what a task of another worker says of its edges; lanes that come later hear it, too.
    pub(crate) fn mark(&self, mark: Mark) {
        let ways = self.read();
        lock(&self.marks).insert(mark.from.task, mark);
        ways.ports().for_each(|port| port.tell(Item::Mark(mark)));
    }

    /// Tells all lanes that these tasks, ascending, were lost or launched again: what they said of their edges is void.
    pub(crate) fn reopen(&self, tasks: &Arc<[TaskId]>) {
        let ways = self.read();
        lock(&self.marks).retain(|task, _| tasks.binary_search(task).is_err());
        ways.ports().for_each(|port| port.tell(Item::Reopen(tasks.clone())));
    }

    /// Notes whether a task belongs to this worker, so that what comes for it waits until it is here.
    pub(crate) fn expect(&self, task: TaskId, is_expected: bool) {
        let mut ways = self.write();
        if is_expected {
            ways.strangers.remove(&task);
            return;
        }
        ways.strangers.insert(task);
        let early = lock(&self.early).remove(&task).unwrap_or_default();
        for (parcel, origin) in early {
            self.refuse(&ways, task, &parcel, &origin);
        }
    }

    /// Gives back all credit towards tasks that are lost: nobody else will.
    pub(crate) fn refill(&self, lost: &BTreeSet<TaskId>) {
        for port in self.read().ports() {
            lost.iter().for_each(|task| port.credits.refill(*task));
        }
    }

    /// A frame that was sent before is sent again to a launch that has not heard of it: it counts against the
    /// credit once more.
    pub(crate) fn take_again(&self, frame: Frame) {
        let _ = self.taken_again(&self.read(), frame);
    }

    /// The rows of a frame of this worker that is sent again. Only rows are.
    fn taken_again(&self, ways: &Ways, frame: Frame) -> Option<Parcel> {
        let Frame::Rows { lane, launch, mut parcel, .. } = frame else { return None };
        // What an earlier launch has sent counts against no credit any more.
        let port = match ways.dests.get(lane as usize) {
            Some(Way::Lane(port)) if launch == self.launch => Some(port),
            _ => None,
        };
        let mut first = 0;
        for run in &mut parcel.runs {
            run.lane = HELD;
            if let Some(port) = port {
                let rows = (run.end - first) as usize;
                let bytes = parcel.bytes * rows / parcel.batch.rows.max(1);
                port.credits.take(run.target, rows + run.extra as usize, bytes);
                run.lane = lane;
            }
            first = run.end;
        }
        Some(parcel)
    }
}

impl Ways {
    fn ports(&self) -> impl Iterator<Item = &Arc<LanePort>> {
        self.dests.iter().filter_map(|way| if let Way::Lane(port) = way { Some(port) } else { None })
    }

    fn dest_of_link(&mut self, link: &Arc<dyn Link>) -> DestId {
        let is_it = |way: &Way| matches!(way, Way::Link(known) if Arc::ptr_eq(known, link));
        let place = self.dests.iter().position(is_it).unwrap_or_else(|| {
            self.dests.push(Way::Link(link.clone()));
            self.dests.len() - 1
        });
        place as DestId
    }

    /// The task has no lane any more.
    fn leave_home(&mut self, task: TaskId) {
        if let Some(port) = self.homes.get_mut(task as usize).and_then(Option::take) {
            port.tell(Item::Dismiss(task));
        }
    }

    fn home(&self, task: TaskId) -> Option<&Arc<LanePort>> {
        self.homes.get(task as usize)?.as_ref()
    }
}
