//! Builds all tasks of a run in this process, and the links between its workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::engine::BoxFuture;
use galerna_topology_api::{Resources, TaskId, Topology, TopologyInfo};

use crate::crew::{Crew, Launch};
use crate::exchange::{Exchange, To};
use crate::graph::Graph;
use crate::inbox::Inbox;
use crate::lane::Budget;
use crate::link::{Link, QueueLink, carry};
use crate::plan;
use crate::run::RunShared;
use crate::runtimes::{Lane, OwnThread, OwnThreads};
use crate::stats::TaskStats;
use crate::tap::Tap;

/// Everything that a run consists of, not yet running.
pub(super) struct Assembly {
    pub(super) lanes: Vec<Lane>,
    pub(super) links: Vec<BoxFuture<'static, ()>>,
    pub(super) stats: BTreeMap<TaskId, Arc<TaskStats>>,
    /// The ways into the spout tasks, for orders.
    pub(super) spouts: Vec<Inbox>,
    pub(super) tasks: usize,
}

/// What a run is assembled from.
pub(super) struct Parts<'a> {
    pub(super) topology: &'a Topology,
    pub(super) info: Arc<TopologyInfo>,
    pub(super) run: Arc<RunShared>,
    /// Whether tuples are serialized even within a worker.
    pub(super) serializes_all: bool,
    pub(super) seed: u64,
    /// The lanes that have a thread of their own.
    pub(super) own_threads: OwnThreads,
    /// The most lanes for executors that do not block.
    pub(super) most_lanes: usize,
    pub(super) tap: Option<Tap>,
    /// One for each worker.
    pub(super) resources: Vec<Arc<Resources>>,
}

/// Builds all tasks of a run.
pub(super) fn assemble(parts: &Parts<'_>) -> Assembly {
    let workers = parts.resources.len();
    let executors = plan::executors(parts.topology, workers);
    let graph = Arc::new(Graph::new(parts.topology));
    let crews: Vec<Crew> = parts.resources.iter().map(|resources| crew(parts, &graph, resources.clone())).collect();
    let Links { ways, carriers } = link_up(parts, &graph, &crews, &executors);
    let places = plan::lanes(parts.topology, &executors, parts.most_lanes);
    let mut seats: Vec<Seat> = Vec::new();
    for (executor, place) in executors.iter().zip(&places) {
        if *place == seats.len() {
            let lane = crews[executor.worker].lane();
            let component = &parts.topology.components()[executor.component];
            let thread = Lane {
                futures: vec![Box::pin(lane.clone().drive())],
                is_blocking: component.is_blocking,
                component: component.id.clone(),
            };
            seats.push(Seat { lane, thread, tasks: 0 });
        }
        seats[*place].tasks += executor.tasks.len();
    }
    let mut inboxes = BTreeMap::new();
    for (executor, place) in executors.iter().zip(&places) {
        for task in executor.tasks.clone() {
            inboxes.insert(task, crews[executor.worker].admit(task, &seats[*place].lane));
        }
    }
    // A worker that serializes all is linked to itself.
    if parts.serializes_all {
        for executor in &executors {
            let way = &ways[&(executor.worker, executor.worker)];
            executor.tasks.clone().for_each(|task| crews[executor.worker].exchange.detour(task, way));
        }
    }
    let (mut stats, mut spouts) = (BTreeMap::new(), Vec::new());
    let tasks = inboxes.len();
    for (executor, place) in executors.iter().zip(&places) {
        let component = &parts.topology.components()[executor.component];
        let seat = &mut seats[*place];
        let own_thread = OwnThread::new(parts.own_threads.include(component.is_blocking) && seat.tasks == 1);
        for task in executor.tasks.clone() {
            let Some((inbox, arrivals)) = inboxes.remove(&task) else { continue };
            let crew = &crews[executor.worker];
            let ready = crew.task(component, task, Launch::ONLY, own_thread.clone(), &seat.lane, arrivals);
            if component.is_spout() {
                spouts.push(inbox);
            }
            seat.thread.futures.push(ready.future);
            stats.insert(task, ready.stats);
        }
    }
    let lanes = seats.into_iter().map(|seat| seat.thread).collect();
    Assembly { lanes, links: carriers, stats, spouts, tasks }
}

/// A lane and the thread that drives it.
struct Seat {
    lane: Arc<crate::lane::Lane>,
    thread: Lane,
    tasks: usize,
}

fn crew(parts: &Parts<'_>, graph: &Arc<Graph>, resources: Arc<Resources>) -> Crew {
    Crew {
        graph: graph.clone(),
        topology: parts.topology.clone(),
        info: parts.info.clone(),
        run: parts.run.clone(),
        exchange: Arc::new(Exchange::new(graph.clone(), Launch::ONLY.number, Budget::of(parts.topology.config()))),
        resources,
        seed: parts.seed,
        tap: parts.tap.clone(),
        has_threads: parts.own_threads != OwnThreads::None,
        parks: false,
    }
}

/// The links of a run.
struct Links {
    /// By the workers at their ends, sender first.
    ways: BTreeMap<(usize, usize), Arc<dyn Link>>,
    carriers: Vec<BoxFuture<'static, ()>>,
}

/// Links each worker to each other, and opens the doors of tasks that run elsewhere.
fn link_up(parts: &Parts<'_>, graph: &Arc<Graph>, crews: &[Crew], executors: &[plan::Executor]) -> Links {
    let mut ways: BTreeMap<(usize, usize), Arc<dyn Link>> = BTreeMap::new();
    let mut frames = BTreeMap::new();
    for from in 0..crews.len() {
        for to in 0..crews.len() {
            if from != to || parts.serializes_all {
                let (link, receiver) = QueueLink::new();
                ways.insert((from, to), Arc::new(link));
                frames.insert((from, to), receiver);
            }
        }
    }
    for executor in executors {
        for (from, crew) in crews.iter().enumerate().filter(|(from, _)| *from != executor.worker) {
            let way = &ways[&(from, executor.worker)];
            executor.tasks.clone().for_each(|task| crew.exchange.open(task, To::Link(way.clone()), Vec::new()));
        }
    }
    let carriers = frames.into_iter().map(|((from, to), frames)| {
        let carrier = carry(frames, crews[to].exchange.clone(), graph.clone(), ways[&(to, from)].clone());
        Box::pin(carrier) as BoxFuture<'static, ()>
    });
    let carriers = carriers.collect();
    Links { ways, carriers }
}
