//! Builds all tasks of a run in this process, and the links between its workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::engine::BoxFuture;
use galerna_topology_api::{Resources, TaskId, Topology, TopologyInfo};

use crate::crew::{Crew, Launch, sources_of, tasks_of};
use crate::exchange::{Exchange, Way};
use crate::inbox::Inbox;
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
    pub(super) tap: Option<Tap>,
    /// One for each worker.
    pub(super) resources: Vec<Arc<Resources>>,
}

/// Builds all tasks of a run.
pub(super) fn assemble(parts: &Parts<'_>) -> Assembly {
    let workers = parts.resources.len();
    let executors = plan::executors(parts.topology, workers);
    let crews: Vec<Crew> = parts.resources.iter().map(|resources| crew(parts, resources.clone())).collect();
    let Links { ways, carriers } = link_up(parts, &crews, &executors);
    let mut inboxes = BTreeMap::new();
    for executor in &executors {
        for task in executor.tasks.clone() {
            inboxes.insert(task, crews[executor.worker].admit(task));
        }
    }
    // A worker that serializes all is linked to itself.
    if parts.serializes_all {
        for executor in &executors {
            for task in executor.tasks.clone() {
                if let Some(door) = crews[executor.worker].exchange.door(task) {
                    door.detour(ways[&(executor.worker, executor.worker)].clone());
                }
            }
        }
    }
    let (mut lanes, mut stats, mut spouts) = (Vec::new(), BTreeMap::new(), Vec::new());
    let tasks = inboxes.len();
    for executor in &executors {
        let component = &parts.topology.components()[executor.component];
        let is_exclusive = parts.own_threads.include(component.is_blocking) && executor.tasks.len() == 1;
        let own_thread = OwnThread::new(is_exclusive);
        let mut futures = Vec::new();
        for task in executor.tasks.clone() {
            let Some((inbox, receiver)) = inboxes.remove(&task) else { continue };
            let ready = crews[executor.worker].task(component, task, Launch::ONLY, own_thread.clone(), receiver);
            if component.is_spout() {
                spouts.push(inbox);
            }
            futures.push(ready.future);
            stats.insert(task, ready.stats);
        }
        lanes.push(Lane { futures, is_blocking: component.is_blocking, component: component.id.clone() });
    }
    Assembly { lanes, links: carriers, stats, spouts, tasks }
}

fn crew(parts: &Parts<'_>, resources: Arc<Resources>) -> Crew {
    Crew {
        topology: parts.topology.clone(),
        info: parts.info.clone(),
        run: parts.run.clone(),
        exchange: Arc::new(Exchange::new(tasks_of(parts.topology))),
        resources,
        seed: parts.seed,
        tap: parts.tap.clone(),
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
fn link_up(parts: &Parts<'_>, crews: &[Crew], executors: &[plan::Executor]) -> Links {
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
            executor.tasks.clone().for_each(|task| crew.exchange.open(task, Way::Link(way.clone()), Vec::new()));
        }
    }
    let carriers = frames.into_iter().map(|((from, to), frames)| {
        let carrier = carry(frames, crews[to].exchange.clone(), sources_of(parts.topology), ways[&(to, from)].clone());
        Box::pin(carrier) as BoxFuture<'static, ()>
    });
    let carriers = carriers.collect();
    Links { ways, carriers }
}
