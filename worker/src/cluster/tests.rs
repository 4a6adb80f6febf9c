//! Several workers in one process, linked over loopback, told plans as supervisors would tell them.

mod handshake;
mod links;
pub(super) mod parts;
mod random_plans;
mod threads;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_protocol::{
    AssignedWorker, Assignment, Handover, Order, TaskRange, WorkerId, WorkerPlan, WorkerReport, WorkerState,
};
use galerna_topology_api::*;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::incoming::Incoming;
use super::process::accept_links;
use super::steward::{Event, Events, Identity, Leave, Steward};
use crate::clock::WallClock;
use crate::crew::Crew;
use crate::exchange::Exchange;
use crate::graph::Graph;
use crate::lane::Budget;
use crate::link::Frame;
use crate::run::RunShared;

/// What sinks have seen.
type Seen = Arc<Mutex<BTreeMap<i64, u64>>>;

/// Emits numbers, and again those that failed.
struct Numbers {
    next: i64,
    end: i64,
    failed: VecDeque<i64>,
    open: BTreeSet<i64>,
    failures: Arc<AtomicU64>,
    acked: Arc<AtomicU64>,
}

impl Spout for Numbers {
    type MessageId = i64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        let n = match self.failed.pop_front() {
            Some(n) => n,
            None if self.next == self.end => return Ok(Next::Exhausted),
            None => {
                self.next += 1;
                self.next - 1
            }
        };
        self.open.insert(n);
        out.emit(n, values![n]);
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, n: i64, _: &TopologyContext) -> Result<()> {
        assert!(self.open.remove(&n), "{n} was not open");
        self.acked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    async fn fail(&mut self, n: i64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.open.remove(&n);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.failed.push_back(n);
        Ok(())
    }
}

struct Pass;
impl Bolt for Pass {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(values![tuple.i64("n")?]);
        Ok(())
    }
}

struct Note(Seen, Arc<AtomicU64>);
impl Bolt for Note {
    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        *self.0.lock().expect("not poisoned").entry(tuple.i64("n")?).or_default() += 1;
        Ok(())
    }
    async fn finish(&mut self, _: &mut Emitter<'_>) -> BoltResult {
        self.1.store(self.0.lock().expect("not poisoned").values().sum(), Ordering::Relaxed);
        Ok(())
    }
}

/// The topology: 1 numbers, 2 and 3 pass, 4 note.
#[derive(Clone, Default)]
struct Shape {
    seen: Seen,
    failures: Arc<AtomicU64>,
    acked: Arc<AtomicU64>,
    /// How many the last bolt had seen when it said its last words.
    total: Arc<AtomicU64>,
}

const COUNT: i64 = 200_000;

impl Shape {
    fn topology(&self) -> Topology {
        let (failures, acked) = (self.failures.clone(), self.acked.clone());
        let (seen, total) = (self.seen.clone(), self.total.clone());
        let mut builder = TopologyBuilder::new("numbers");
        builder.config("topology.message.timeout.secs", 60);
        builder.spout("numbers", move || Numbers {
            next: 0,
            end: COUNT,
            failed: VecDeque::new(),
            open: BTreeSet::new(),
            failures: failures.clone(),
            acked: acked.clone(),
        });
        builder.bolt("pass", || Pass).parallelism(2).fields("numbers", ["n"]);
        builder.bolt("note", move || Note(seen.clone(), total.clone())).global("pass");
        builder.build().expect("valid")
    }

    fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }
}

fn worker(slot: u32, executors: &[(u32, u32)]) -> AssignedWorker {
    AssignedWorker {
        id: Some(WorkerId::new("here", slot)),
        host: "127.0.0.1".to_owned(),
        supervisor_address: "127.0.0.1:1".to_owned(),
        executors: executors.iter().map(|(first, last)| TaskRange::new(*first, *last)).collect(),
    }
}

fn plan(generation: u64, workers: Vec<AssignedWorker>, handovers: Vec<(u32, u32)>) -> WorkerPlan {
    let handovers = handovers
        .into_iter()
        .map(|(task, from)| Handover { tasks: vec![task], from: Some(WorkerId::new("here", from)) })
        .collect();
    let mut plan = WorkerPlan {
        topology_id: "numbers-1".to_owned(),
        assignment: Some(Assignment { generation, workers, handovers }),
        order: 0,
        version: generation,
    };
    plan.set_order(Order::Run);
    plan
}

/// One worker.
struct Node {
    events: Events,
    reports: watch::Receiver<WorkerReport>,
    leave: JoinSet<Leave>,
    around: JoinSet<()>,
}

impl Node {
    async fn launch(shape: &Shape, port: u16, incarnation: u64, plan: &WorkerPlan) -> Self {
        Self::launch_of(shape.topology(), port, incarnation, plan).await
    }

    async fn launch_of(topology: Topology, port: u16, incarnation: u64, plan: &WorkerPlan) -> Self {
        let listener = loop {
            // The port of a launch that was just ended may take a moment to be free.
            match TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (events, receiver) = Events::new();
        let (task_events, task_receiver) = mpsc::unbounded_channel();
        let graph = Arc::new(Graph::new(&topology));
        let crew = Crew {
            info: Arc::new(topology.info("numbers-1")),
            run: Arc::new(RunShared::new(WallClock::system(), task_events)),
            exchange: Arc::new(Exchange::new(graph.clone(), incarnation as u32, Budget::of(topology.config()))),
            graph,
            topology,
            resources: Arc::default(),
            seed: incarnation,
            tap: None,
            has_threads: true,
            parks: true,
        };
        let me = Identity {
            topology: "numbers-1".to_owned(),
            id: WorkerId::new("here", port.into()),
            incarnation,
            address: format!("127.0.0.1:{port}"),
            artifact: String::new(),
        };
        let mut around = JoinSet::new();
        around.spawn(accept_links(listener, Incoming { events: events.clone() }));
        let (report_sender, reports) = watch::channel(WorkerReport::default());
        let mut leave = JoinSet::new();
        leave.spawn(Steward::new(me, crew, events.clone()).run(receiver, task_receiver, report_sender));
        events.send(Event::Plan(plan.clone()));
        Self { events, reports, leave, around }
    }

    /// Ends at once, as a process that is killed: nothing of it goes on.
    async fn die(mut self) {
        self.leave.shutdown().await;
        self.around.shutdown().await;
    }

    fn tell(&self, plan: &WorkerPlan) {
        self.events.send(Event::Plan(plan.clone()));
    }

    async fn until(&mut self, what: &str, is_so: impl FnMut(&WorkerReport) -> bool) {
        let waited = timeout(Duration::from_secs(20), self.reports.wait_for(is_so)).await.map(|found| found.is_ok());
        assert_eq!(waited, Ok(true), "{what}: {:?}", self.reports.borrow().clone());
    }

    async fn finished(&mut self) {
        self.until("finished", |report| report.state() == WorkerState::Finished).await;
    }
}

fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [_; N] = std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

/// What was counted by all launches of a task, by who emitted and stream: emitted, executed, acked.
fn counts_of(task: u32, reports: &[WorkerReport]) -> BTreeMap<(String, String), (u64, u64, u64)> {
    let mut counts = BTreeMap::<_, (u64, u64, u64)>::new();
    for found in reports.iter().flat_map(|report| &report.tasks).filter(|found| found.task == task) {
        for stream in &found.streams {
            let sum = counts.entry((stream.from.clone(), stream.stream.clone())).or_default();
            *sum = (sum.0 + stream.emitted, sum.1 + stream.executed, sum.2 + stream.acked);
        }
    }
    counts
}

/// Nothing was replayed: all was counted once, on its stream, by whichever worker ran the task.
fn assert_counted_once(reports: &[WorkerReport]) {
    let (count, of) = (COUNT as u64, |from: &str| (from.to_owned(), "default".to_owned()));
    assert_eq!(counts_of(1, reports), BTreeMap::from([(of(""), (count, 0, count))]));
    let pass = [2, 3].map(|task| counts_of(task, reports));
    let sum = |from: &str, get: fn(&(u64, u64, u64)) -> u64| pass.iter().map(|task| get(&task[&of(from)])).sum::<u64>();
    assert_eq!([sum("", |own| own.0), sum("numbers", |read| read.1), sum("numbers", |read| read.2)], [count; 3]);
    assert_eq!(counts_of(4, reports), BTreeMap::from([(of("pass"), (0, count, count))]));
    for report in reports {
        let runs = |task: u32| report.executors.iter().any(|range| (range.first..=range.last).contains(&task));
        for task in &report.tasks {
            assert_eq!((task.pending, task.queued), (0, 0), "{task:?}");
            // A pair's limit is 1,024 at first, and doubles.
            let limit = match task.task {
                2 | 3 => 1024,
                4 => 2048,
                _ => 0,
            };
            let is_known = task.queue_capacity >= limit && task.queue_capacity.is_multiple_of(1024);
            assert!(if runs(task.task) { is_known } else { task.queue_capacity == 0 }, "{task:?}");
        }
    }
}

fn reports<const N: usize>(nodes: [&Node; N]) -> [WorkerReport; N] {
    nodes.map(|node| node.reports.borrow().clone())
}

fn assert_all_seen(shape: &Shape) {
    let seen = shape.seen.lock().expect("not poisoned");
    assert_eq!(seen.len(), COUNT as usize);
    assert_eq!(shape.acked(), COUNT as u64);
}

async fn until_acked(shape: &Shape, count: u64) {
    let wait = async {
        while shape.acked() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.expect("acked in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_process_everything_once_and_finish() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let plan = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(b.into(), &[(3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &plan).await;
    let mut second = Node::launch(&shape, b, 1, &plan).await;
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
    assert!(shape.seen.lock().expect("not poisoned").values().all(|times| *times == 1));
    assert_eq!(shape.failures.load(Ordering::Relaxed), 0);
    assert_counted_once(&reports([&first, &second]));
    second.events.send(Event::Stop);
    assert_eq!(second.leave.join_next().await.expect("ends").expect("no panic"), Leave::Told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_launched_anew_gets_what_was_lost_again() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let plan = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(b.into(), &[(3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &plan).await;
    let mut second = Node::launch(&shape, b, 1, &plan).await;
    for incarnation in 2..5 {
        until_acked(&shape, incarnation * 20_000).await;
        drop(second);
        second = Node::launch(&shape, b, incarnation, &plan).await;
    }
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
    assert!(shape.failures.load(Ordering::Relaxed) > 0, "what was in the lost worker fails at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_moved_between_healthy_workers_replay_nothing() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let start = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2), (3, 3)]), worker(b.into(), &[(4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &start).await;
    let mut second = Node::launch(&shape, b, 1, &start).await;
    until_acked(&shape, 20_000).await;
    let mut generation = 1;
    for (mine, theirs, moved) in [
        (&[(1, 1), (2, 2)][..], &[(3, 3), (4, 4)][..], vec![(3, a)]),
        (&[(1, 1), (3, 3), (4, 4)][..], &[(2, 2)][..], vec![(2, a), (3, b), (4, b)]),
    ] {
        generation += 1;
        let workers = vec![worker(a.into(), mine), worker(b.into(), theirs)];
        let handovers = moved.into_iter().map(|(task, from)| (task, from.into())).collect();
        let next = plan(generation, workers, handovers);
        // One hears of it later than the other.
        first.tell(&next);
        until_acked(&shape, shape.acked() + 1).await;
        second.tell(&next);
        first.until("settled", |report| report.settled_generation == generation).await;
        second.until("settled", |report| report.settled_generation == generation).await;
        until_acked(&shape, generation * 20_000).await;
    }
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
    assert_eq!(shape.failures.load(Ordering::Relaxed), 0);
    assert_counted_once(&reports([&first, &second]));
    assert!(shape.seen.lock().expect("not poisoned").values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_that_was_replaced_is_fenced_and_leaves() {
    let (shape, [a, b, c]) = (Shape::default(), free_ports());
    let start = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(b.into(), &[(3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &start).await;
    let mut cut_off = Node::launch(&shape, b, 1, &start).await;
    until_acked(&shape, 20_000).await;
    let next = plan(2, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(c.into(), &[(3, 3), (4, 4)])], vec![]);
    first.tell(&next);
    let mut third = Node::launch(&shape, c, 1, &next).await;
    let leave = timeout(Duration::from_secs(10), cut_off.leave.join_next()).await.expect("in time");
    assert!(matches!(leave, Some(Ok(Leave::Fenced(_)))), "{leave:?}");
    first.finished().await;
    third.finished().await;
    assert_all_seen(&shape);
    // The worker that was cut off had nothing but acks for the first: to refuse it is to drop no batch.
    assert_eq!(first.reports.borrow().fenced_batches, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn move_that_is_called_off_goes_on_where_it_was() {
    let (shape, [a, b, c]) = (Shape::default(), free_ports());
    let start = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(b.into(), &[(3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &start).await;
    let mut second = Node::launch(&shape, b, 1, &start).await;
    until_acked(&shape, 20_000).await;
    // The worker that is to take them over never comes.
    let workers = |moved: &[(u32, u32)], rest: &[(u32, u32)]| {
        vec![worker(a.into(), &[(1, 1)]), worker(b.into(), rest), worker(c.into(), moved)]
    };
    let next = plan(2, workers(&[(2, 2), (4, 4)], &[(3, 3)]), vec![(2, a.into()), (4, b.into())]);
    first.tell(&next);
    second.tell(&next);
    first.until("following", |report| report.generation == 2).await;
    second.until("following", |report| report.generation == 2).await;
    let last = WorkerPlan { version: 3, assignment: start.assignment.clone(), ..start };
    let mut last = last;
    if let Some(assignment) = &mut last.assignment {
        assignment.generation = 3;
    }
    first.tell(&last);
    second.tell(&last);
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
    assert_eq!(shape.failures.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_that_one_worker_follows_reaches_those_that_it_sends_to() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let start = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2)]), worker(b.into(), &[(3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &start).await;
    let mut second = Node::launch(&shape, b, 1, &start).await;
    until_acked(&shape, 20_000).await;
    let next = plan(2, vec![worker(a.into(), &[(1, 1), (2, 2), (3, 3)]), worker(b.into(), &[(4, 4)])], vec![]);
    // The supervisor of the other is away.
    first.tell(&next);
    second.until("following", |report| report.generation == 2).await;
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bolts_behind_one_that_goes_on_say_their_last_words_again() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let plan = plan(1, vec![worker(a.into(), &[(1, 1)]), worker(b.into(), &[(2, 2), (3, 3), (4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &plan).await;
    let mut second = Node::launch(&shape, b, 1, &plan).await;
    first.finished().await;
    second.finished().await;
    assert_eq!(shape.total.load(Ordering::Relaxed), COUNT as u64);
    drop(first);
    // This spout remembers nothing: it emits everything again.
    let mut first = Node::launch(&shape, a, 2, &plan).await;
    until_acked(&shape, 2 * COUNT as u64).await;
    first.finished().await;
    let said_again = async {
        while shape.total.load(Ordering::Relaxed) < 2 * COUNT as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(10), said_again).await.expect("last words after all that came");
    second.finished().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_that_only_others_have_seen_fails_open_trees_once() {
    let (shape, [a, b]) = (Shape::default(), free_ports());
    let plan = plan(1, vec![worker(a.into(), &[(1, 1), (2, 2), (3, 3)]), worker(b.into(), &[(4, 4)])], vec![]);
    let mut first = Node::launch(&shape, a, 1, &plan).await;
    first.until("emitting", |report| report.tasks.iter().any(|task| task.executed > 0)).await;
    let lost = Frame::Lost { worker: WorkerId::new("here", b.into()), incarnation: 2 };
    let notice = || Event::Notice { from: WorkerId::new("here", 9), frame: lost.clone() };
    first.events.send(notice());
    let failed = |report: &WorkerReport| report.tasks.iter().map(|task| task.failed).sum::<u64>();
    first.until("trees failed", |report| failed(report) > 0).await;
    let mut second = Node::launch(&shape, b, 2, &plan).await;
    until_acked(&shape, 20_000).await;
    let before = shape.failures.load(Ordering::Relaxed);
    first.events.send(notice());
    first.finished().await;
    second.finished().await;
    assert_all_seen(&shape);
    assert_eq!(shape.failures.load(Ordering::Relaxed), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn move_goes_on_when_the_worker_that_is_to_let_go_was_launched_anew() {
    let (shape, [a, b, c]) = (Shape::default(), free_ports());
    let workers = |mine: &[(u32, u32)], theirs: &[(u32, u32)]| {
        vec![worker(a.into(), mine), worker(b.into(), theirs), worker(c.into(), &[])]
    };
    let start = plan(1, workers(&[(1, 1), (2, 2), (3, 3)], &[(4, 4)]), vec![]);
    let next = plan(2, workers(&[(1, 1), (2, 2), (3, 3), (4, 4)], &[]), vec![(4, b.into())]);
    let mut first = Node::launch(&shape, a, 1, &start).await;
    let second = Node::launch(&shape, b, 1, &start).await;
    until_acked(&shape, 20_000).await;
    first.tell(&next);
    first.until("following", |report| report.generation == 2).await;
    // Once nothing comes any more, the second has heard that the first holds back what it has.
    let mut before = 0;
    while shape.acked() > before {
        before = shape.acked();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(second);
    // It starts the task by the old plan, and hears of the move from the first.
    let mut second = Node::launch(&shape, b, 2, &start).await;
    second.until("following", |report| report.generation == 2).await;
    let mut third = Node::launch(&shape, c, 1, &next).await;
    for node in [&mut first, &mut second, &mut third] {
        node.until("settled", |report| report.settled_generation == 2).await;
    }
    first.finished().await;
    assert_all_seen(&shape);
}
