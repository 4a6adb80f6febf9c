//! Builds the tasks of one worker: their inboxes and outboxes, tied to the worker's exchange.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use galerna_topology_api::engine::{BoxFuture, Done, Staging, TupleSource};
use galerna_topology_api::{
    Component, ComponentKind, GroupingContext, Resources, Result, TaskId, Topology, TopologyContext, TopologyInfo,
    WorkerHook,
};

use crate::edges::InEdges;
use crate::exchange::{Exchange, Way};
use crate::inbox::{Arrivals, Inbox, queue};
use crate::link::Sources;
use crate::message::Sink;
use crate::outbox::{Consumer, Outbox, Peer, StreamOut};
use crate::output::{QUEUE, output_queue};
use crate::panics::{Panic, guarded};
use crate::port::Port;
use crate::random::Edges;
use crate::routing::Router;
use crate::run::RunShared;
use crate::runtimes::OwnThread;
use crate::stats::{Counts, InStreams, StreamStats, TaskStats};
use crate::tap::Tap;
use crate::task::{BoltTask, Core, Hooks, Inlets, SpoutTask};

/// Which launch of a task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// Tells the launches of one task apart, in batches and anchors.
    pub(crate) number: u32,
    /// As components see it: grows with each launch.
    pub(crate) incarnation: u64,
}

impl Launch {
    /// The only one of a task that is never launched again.
    pub(crate) const ONLY: Self = Self { number: 1, incarnation: 1 };
}

/// A task that is ready to be spawned.
pub(crate) struct Ready {
    pub(crate) future: BoxFuture<'static, ()>,
    pub(crate) stats: Arc<TaskStats>,
}

/// What the tasks of one worker are built from.
pub(crate) struct Crew {
    pub(crate) topology: Topology,
    pub(crate) info: Arc<TopologyInfo>,
    pub(crate) run: Arc<RunShared>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) seed: u64,
    pub(crate) tap: Option<Tap>,
    /// Whether tasks whose input has ended wait for orders, because it may come back.
    pub(crate) parks: bool,
}

/// All tasks of a topology.
pub(crate) fn tasks_of(topology: &Topology) -> impl Iterator<Item = TaskId> {
    topology.components().iter().flat_map(|component| component.tasks.clone())
}

/// All spout tasks of a topology.
pub(crate) fn spout_tasks_of(topology: &Topology) -> impl Iterator<Item = TaskId> {
    topology.components().iter().filter(|component| component.is_spout()).flat_map(|spout| spout.tasks.clone())
}

/// The component that a task is an instance of.
pub(crate) fn component_of(topology: &Topology, task: TaskId) -> Option<&Component> {
    topology.components().iter().find(|component| component.tasks.contains(&task))
}

/// Starts a worker hook.
///
/// # Errors
/// When it refuses, or panics.
pub(crate) fn start_hook(hook: &dyn WorkerHook, info: &TopologyInfo, resources: &Resources) -> Result<()> {
    guarded(|| hook.start(info, resources)).unwrap_or_else(|Panic(message)| Err(message.into()))
}

/// The bolts that receive a component's stream.
fn receivers<'a>(topology: &'a Topology, from: &'a Component) -> impl Iterator<Item = &'a Component> {
    topology.components().iter().filter(|to| to.inputs.iter().any(|input| input.from == from.id))
}

/// The descriptions of all streams, as of tasks that were never launched.
pub(crate) fn sources_of(topology: &Topology) -> Sources {
    let mut sources = Sources::new();
    for component in topology.components() {
        for task in component.tasks.clone() {
            sources.extend(streams_of(component, task, Launch::ONLY.number));
        }
    }
    sources
}

fn streams_of(
    component: &Component,
    task: TaskId,
    launch: u32,
) -> impl Iterator<Item = ((TaskId, u16), Arc<TupleSource>)> {
    component.output.iter().enumerate().map(move |(index, stream)| {
        let source = TupleSource {
            component: component.id.clone(),
            task,
            incarnation: launch,
            stream_index: index as u16,
            stream: stream.id.clone(),
            fields: stream.fields.clone(),
        };
        ((task, index as u16), Arc::new(source))
    })
}

impl Crew {
    /// Makes an inbox for a task and opens its door. From now on it gets messages.
    pub(crate) fn admit(&self, task: TaskId) -> (Inbox, Arrivals) {
        let (inbox, arrivals) = queue();
        self.exchange.open(task, Way::Local(inbox.clone()), Vec::new());
        (inbox, arrivals)
    }

    /// Builds a task of a component. Calls the factories of custom groupings.
    pub(crate) fn task(
        &self,
        component: &Component,
        task: TaskId,
        launch: Launch,
        own_thread: OwnThread,
        inbox: Arrivals,
    ) -> Ready {
        let stats =
            Arc::new(TaskStats { streams: StreamStats::of(component), queued: inbox.queued(), ..TaskStats::default() });
        let (output, submissions) = output_queue(QUEUE);
        let (topology, component_id) = (self.info.name.clone(), component.id.clone());
        let port =
            Port { run: self.run.clone(), topology, component: component_id, task, stats: stats.clone(), output };
        let context = TopologyContext::new(
            self.info.clone(),
            &component.id,
            task,
            launch.incarnation,
            self.topology.config_of(component),
            self.resources.clone(),
            stats.metrics.clone(),
            Arc::new(port),
        );
        let core = Core {
            component: component.id.clone(),
            task,
            launch: launch.number,
            staging: Staging::new(Arc::new(component.output.clone()), context.config().emit_limit()),
            outbox: self.outbox(component, task, launch.number, context.config().is_debug()),
            context,
            stats: stats.clone(),
            run: self.run.clone(),
            counts: Counts::of(component, &stats),
            in_streams: InStreams::of(component, &self.topology),
            hooks: Hooks::default(),
            done: Done::default(),
            own_thread,
            parks: self.parks,
            last_flush: self.run.clock.now(),
            is_slow: false,
        };
        let inlets = Inlets { inbox, submissions };
        let future: BoxFuture<'static, ()> = match &component.kind {
            ComponentKind::Spout(make) => Box::pin(SpoutTask::new(core, make.clone(), inlets).run()),
            ComponentKind::Bolt(make) => {
                Box::pin(BoltTask::new(core, make.clone(), inlets, self.in_edges(component)).run())
            }
        };
        Ready { future, stats }
    }

    fn in_edges(&self, bolt: &Component) -> InEdges {
        let sources = bolt.inputs.iter().filter_map(|input| self.topology.component(&input.from));
        InEdges::new(sources.flat_map(|source| source.tasks.clone()))
    }

    fn sink(&self, task: TaskId) -> Option<Sink> {
        self.exchange.door(task).cloned()
    }

    fn outbox(&self, component: &Component, task: TaskId, launch: u32, is_debug: bool) -> Outbox {
        let targets = receivers(&self.topology, component).flat_map(|to| to.tasks.clone());
        let peers: Vec<Peer> = targets
            .filter_map(|to| {
                Some(Peer { task: to, sink: self.sink(to)?, credit: self.exchange.new_credit(task, launch, to) })
            })
            .collect();
        let place_of: BTreeMap<TaskId, usize> =
            peers.iter().enumerate().map(|(place, peer)| (peer.task, place)).collect();
        let streams = streams_of(component, task, launch).map(|(_, source)| {
            let consumers = self.consumers(&source, &place_of);
            StreamOut::new(source, consumers)
        });
        let edges = Edges::new(self.seed, task, launch);
        let spouts = spout_tasks_of(&self.topology).filter_map(|spout| Some((spout, self.sink(spout)?))).collect();
        let exchange = self.exchange.clone();
        let (is_spout, clock, tap) = (component.is_spout(), self.run.clock, self.tap.clone());
        Outbox::new(task, is_spout, clock, streams.collect(), peers, spouts, exchange, edges, tap, is_debug)
    }

    fn consumers(&self, source: &TupleSource, place_of: &BTreeMap<TaskId, usize>) -> Vec<Consumer> {
        let mut consumers = Vec::new();
        for to in self.topology.components() {
            let is_ours =
                |input: &&galerna_topology_api::Input| input.from == source.component && input.stream == source.stream;
            for input in to.inputs.iter().filter(is_ours) {
                let context = GroupingContext {
                    source_component: source.component.clone(),
                    source_task: source.task,
                    fields: source.fields.clone(),
                    targets: to.tasks.clone().collect(),
                };
                let router = Router::new(&input.grouping, &context);
                let peers = to.tasks.clone().map(|task| place_of[&task]).collect();
                consumers.push(Consumer::new(router, peers, source.task as usize));
            }
        }
        consumers
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("topology", &self.topology).finish_non_exhaustive()
    }
}
