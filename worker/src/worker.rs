//! Builds the tasks of a topology: their inboxes, outboxes and links, grouped into lanes.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::engine::{BoxFuture, Done, Staging, TupleSource};
use galerna_topology_api::{
    Component, ComponentKind, GroupingContext, Resources, TaskId, Topology, TopologyContext, TopologyInfo,
};
use smol_str::SmolStr;
use tokio::sync::mpsc;

use crate::credit::Credit;
use crate::edges::InEdges;
use crate::link::{Frame, LinkEnd, LinkSender, Sources};
use crate::message::{Message, Sink};
use crate::outbox::{Consumer, Outbox, Peer, StreamOut};
use crate::plan::{self, Executor};
use crate::port::{COMMAND_QUEUE, Port};
use crate::random::Edges;
use crate::routing::Router;
use crate::run::RunShared;
use crate::stats::{Counts, TaskStats};
use crate::tap::Tap;
use crate::task::{BoltTask, Core, Hooks, Inlets, SpoutTask};

/// In one process nothing is launched twice.
const INCARNATION: u32 = 1;

/// The tokio task that drives an executor.
pub(crate) struct Lane {
    pub(crate) future: BoxFuture<'static, ()>,
    pub(crate) is_blocking: bool,
    /// Its component, for the name of its thread.
    pub(crate) component: SmolStr,
}

/// Everything that a run consists of, not yet running.
pub(crate) struct Assembly {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) links: Vec<BoxFuture<'static, ()>>,
    pub(crate) stats: BTreeMap<TaskId, Arc<TaskStats>>,
    /// The ways into the spout tasks, for orders.
    pub(crate) spouts: Vec<mpsc::UnboundedSender<Message>>,
    pub(crate) tasks: usize,
}

/// What a run is assembled from.
pub(crate) struct Parts<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) info: Arc<TopologyInfo>,
    pub(crate) run: Arc<RunShared>,
    pub(crate) workers: usize,
    /// Whether tuples are serialized even within a worker.
    pub(crate) serializes_all: bool,
    pub(crate) seed: u64,
    /// Whether each lane has a thread of its own.
    pub(crate) has_own_threads: bool,
    pub(crate) tap: Option<Tap>,
    pub(crate) resources: Vec<Arc<Resources>>,
}

type Inboxes = BTreeMap<TaskId, mpsc::UnboundedSender<Message>>;
type Credits = BTreeMap<(TaskId, TaskId), Arc<Credit>>;

/// What building each task needs to know of all others.
struct Wiring<'a> {
    parts: &'a Parts<'a>,
    worker_of: BTreeMap<TaskId, usize>,
    inboxes: Inboxes,
    credits: Credits,
    sources: Sources,
    /// The links by the workers at their ends, sender first.
    links: BTreeMap<(usize, usize), LinkSender>,
    /// The ways to all spout tasks, from each worker.
    spouts: Vec<Arc<BTreeMap<TaskId, Sink>>>,
    stats: BTreeMap<TaskId, Arc<TaskStats>>,
}

/// Builds all tasks of a run.
pub(crate) fn assemble(parts: &Parts<'_>) -> Assembly {
    let executors = plan::executors(parts.topology, parts.workers);
    let worker_of: BTreeMap<TaskId, usize> =
        executors.iter().flat_map(|executor| executor.tasks.clone().map(|task| (task, executor.worker))).collect();
    let (mut inboxes, mut receivers) = (Inboxes::new(), BTreeMap::new());
    for task in worker_of.keys() {
        let (sender, receiver) = mpsc::unbounded_channel();
        inboxes.insert(*task, sender);
        receivers.insert(*task, receiver);
    }
    let stats = worker_of.keys().map(|task| (*task, Arc::default())).collect();
    let (credits, sources) = (credits_of(parts.topology), sources_of(parts.topology));
    let mut frames = BTreeMap::new();
    let mut links = BTreeMap::new();
    for from in 0..parts.workers {
        for to in 0..parts.workers {
            if from != to || parts.serializes_all {
                let (sender, receiver) = LinkSender::new();
                links.insert((from, to), sender);
                frames.insert((from, to), receiver);
            }
        }
    }
    let mut wiring = Wiring { parts, worker_of, inboxes, credits, sources, links, spouts: Vec::new(), stats };
    wiring.spouts = (0..parts.workers).map(|worker| Arc::new(wiring.spout_sinks(worker))).collect();
    let lanes = executors.iter().map(|executor| wiring.lane(executor, &mut receivers)).collect();
    Assembly {
        lanes,
        links: wiring.link_ends(frames),
        spouts: wiring.spout_tasks().map(|task| wiring.inboxes[&task].clone()).collect(),
        tasks: wiring.worker_of.len(),
        stats: wiring.stats,
    }
}

/// The bolts that receive a component's stream.
fn receivers<'a>(topology: &'a Topology, from: &'a Component) -> impl Iterator<Item = &'a Component> {
    topology.components().iter().filter(|to| to.inputs.iter().any(|input| input.from == from.id))
}

fn credits_of(topology: &Topology) -> Credits {
    let mut credits = Credits::new();
    for from in topology.components() {
        for to in receivers(topology, from) {
            for source in from.tasks.clone() {
                credits.extend(to.tasks.clone().map(|target| ((source, target), Arc::default())));
            }
        }
    }
    credits
}

fn sources_of(topology: &Topology) -> Sources {
    let mut sources = Sources::new();
    for component in topology.components() {
        for (index, stream) in component.output.iter().enumerate() {
            for task in component.tasks.clone() {
                let source = TupleSource {
                    component: component.id.clone(),
                    task,
                    incarnation: INCARNATION,
                    stream_index: index as u16,
                    stream: stream.id.clone(),
                    fields: stream.fields.clone(),
                };
                sources.insert((task, index as u16), Arc::new(source));
            }
        }
    }
    sources
}

impl Wiring<'_> {
    fn spout_tasks(&self) -> impl Iterator<Item = TaskId> {
        self.parts
            .topology
            .components()
            .iter()
            .filter(|component| component.is_spout())
            .flat_map(|spout| spout.tasks.clone())
    }

    fn spout_sinks(&self, worker: usize) -> BTreeMap<TaskId, Sink> {
        self.spout_tasks().map(|task| (task, self.sink(worker, task))).collect()
    }

    /// The way from a worker to a task.
    fn sink(&self, worker: usize, to: TaskId) -> Sink {
        match self.links.get(&(worker, self.worker_of[&to])) {
            Some(link) => Sink::Link { link: link.clone(), to },
            None => Sink::Local(self.inboxes[&to].clone()),
        }
    }

    fn link_ends(
        &self,
        frames: BTreeMap<(usize, usize), mpsc::UnboundedReceiver<Frame>>,
    ) -> Vec<BoxFuture<'static, ()>> {
        let inboxes = Arc::new(self.inboxes.clone());
        let (credits, sources) = (Arc::new(self.credits.clone()), Arc::new(self.sources.clone()));
        let ends = frames.into_iter().map(|((from, to), frames)| {
            let end = LinkEnd {
                inboxes: inboxes.clone(),
                credits: credits.clone(),
                sources: sources.clone(),
                back: self.links[&(to, from)].clone(),
            };
            Box::pin(end.run(frames)) as BoxFuture<'static, ()>
        });
        ends.collect()
    }

    fn lane(&self, executor: &Executor, receivers: &mut BTreeMap<TaskId, mpsc::UnboundedReceiver<Message>>) -> Lane {
        let component = &self.parts.topology.components()[executor.component];
        let tasks = executor.tasks.clone().filter_map(|task| {
            let inbox = receivers.remove(&task)?;
            Some(self.task(component, task, executor.worker, inbox))
        });
        let mut tasks: Vec<_> = tasks.collect();
        let future = if tasks.len() == 1 {
            tasks.remove(0)
        } else {
            // One after the other on one thread, but one that waits does not hold up the others.
            Box::pin(async move {
                futures_util::future::join_all(tasks).await;
            })
        };
        Lane { future, is_blocking: component.is_blocking, component: component.id.clone() }
    }

    fn task(
        &self,
        component: &Component,
        task: TaskId,
        worker: usize,
        inbox: mpsc::UnboundedReceiver<Message>,
    ) -> BoxFuture<'static, ()> {
        let parts = self.parts;
        let stats = self.stats[&task].clone();
        let (sender, commands) = mpsc::channel(COMMAND_QUEUE);
        let port = Port {
            run: parts.run.clone(),
            component: component.id.clone(),
            task,
            stats: stats.clone(),
            commands: sender,
        };
        let context = TopologyContext::new(
            parts.info.clone(),
            &component.id,
            task,
            INCARNATION,
            parts.topology.config_of(component),
            parts.resources[worker].clone(),
            stats.metrics.clone(),
            Arc::new(port),
        );
        let core = Core {
            component: component.id.clone(),
            task,
            staging: Staging::new(Arc::new(component.output.clone()), context.config().emit_limit()),
            outbox: self.outbox(component, task, worker, context.config().is_debug()),
            context,
            stats,
            run: parts.run.clone(),
            counts: Counts::default(),
            hooks: Hooks::default(),
            done: Done::default(),
            has_own_thread: parts.has_own_threads && component.task_count() == component.executors,
            last_flush: parts.run.clock.now(),
            is_slow: false,
        };
        let inlets = Inlets { inbox, commands };
        match &component.kind {
            ComponentKind::Spout(make) => Box::pin(SpoutTask::new(core, make.clone(), inlets).run()),
            ComponentKind::Bolt(make) => {
                Box::pin(BoltTask::new(core, make.clone(), inlets, self.in_edges(component)).run())
            }
        }
    }

    fn in_edges(&self, bolt: &Component) -> InEdges {
        let sources = bolt.inputs.iter().filter_map(|input| self.parts.topology.component(&input.from));
        InEdges::new(sources.flat_map(|source| source.tasks.clone()))
    }

    fn outbox(&self, component: &Component, task: TaskId, worker: usize, is_debug: bool) -> Outbox {
        let parts = self.parts;
        let peers: Vec<Peer> = receivers(parts.topology, component)
            .flat_map(|to| to.tasks.clone())
            .map(|to| Peer { task: to, sink: self.sink(worker, to), credit: self.credits[&(task, to)].clone() })
            .collect();
        let place_of: BTreeMap<TaskId, usize> =
            peers.iter().enumerate().map(|(place, peer)| (peer.task, place)).collect();
        let streams = (0..component.output.len() as u16).map(|index| {
            let source = self.sources[&(task, index)].clone();
            let consumers = self.consumers(&source, worker, &place_of);
            StreamOut::new(source, consumers)
        });
        let edges = Edges::new(parts.seed, task, INCARNATION);
        let spouts = self.spouts[worker].clone();
        Outbox::new(task, parts.run.clock, streams.collect(), peers, spouts, edges, parts.tap.clone(), is_debug)
    }

    fn consumers(&self, source: &TupleSource, worker: usize, place_of: &BTreeMap<TaskId, usize>) -> Vec<Consumer> {
        let mut consumers = Vec::new();
        for to in self.parts.topology.components() {
            let is_ours =
                |input: &&galerna_topology_api::Input| input.from == source.component && input.stream == source.stream;
            for input in to.inputs.iter().filter(is_ours) {
                let context = GroupingContext {
                    source_component: source.component.clone(),
                    source_task: source.task,
                    fields: source.fields.clone(),
                    targets: to.tasks.clone().collect(),
                };
                let is_local = |task: TaskId| self.worker_of[&task] == worker;
                let router = Router::new(&input.grouping, &context, is_local, source.task as usize);
                consumers.push(Consumer::new(router, to.tasks.clone().map(|task| place_of[&task]).collect()));
            }
        }
        consumers
    }
}
