//! Builds the tasks of one worker: their inboxes and outboxes, tied to the worker's exchange.

use std::fmt;
use std::sync::Arc;

use galerna_topology_api::engine::{BoxFuture, Done, Staging};
use galerna_topology_api::{
    Component, ComponentKind, GroupingContext, Resources, Result, TaskId, Topology, TopologyContext, TopologyInfo,
    WorkerHook,
};

use crate::exchange::{Exchange, To};
use crate::graph::{Graph, Place};
use crate::inbox::{Arrivals, Inbox};
use crate::lane::{InputKey, Lane};
use crate::outbox::{Consumer, Membership, Outbox, StreamOut};
use crate::output::{QUEUE, output_queue};
use crate::panics::{Panic, guarded};
use crate::port::Port;
use crate::random::Edges;
use crate::routing::Router;
use crate::run::RunShared;
use crate::runtimes::OwnThread;
use crate::stats::{Counts, InStreams, QueueCapacity, StreamStats, TaskStats};
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
    pub(crate) graph: Arc<Graph>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) seed: u64,
    pub(crate) tap: Option<Tap>,
    /// Whether lanes have threads of their own, or threads that they share with a few others.
    pub(crate) has_threads: bool,
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

impl Crew {
    /// A new lane of this worker. Its driver is to be spawned where its tasks are.
    pub(crate) fn lane(&self) -> Arc<Lane> {
        let port = self.exchange.add_lane();
        if self.has_threads {
            self.run.count_lane(true);
        }
        Arc::new(Lane::new(port, &self.graph, &self.exchange, self.run.clock))
    }

    /// Makes an inbox for a task of a lane and opens the way to it. From now on it gets messages.
    pub(crate) fn admit(&self, task: TaskId, lane: &Arc<Lane>) -> (Inbox, Arrivals) {
        let inbox = Inbox::new();
        let arrivals = inbox.arrivals(lane.clone());
        self.exchange.open(task, To::Lane(lane.port.clone(), inbox.clone()), Vec::new());
        (inbox, arrivals)
    }

    /// Builds a task of a component. Calls the factories of custom groupings.
    pub(crate) fn task(
        &self,
        component: &Component,
        task: TaskId,
        launch: Launch,
        own_thread: OwnThread,
        lane: &Arc<Lane>,
        inbox: Arrivals,
    ) -> Ready {
        let queue_capacity = match component.is_spout() {
            true => QueueCapacity::default(),
            false => QueueCapacity::of(&self.exchange, task),
        };
        let (streams, queued) = (StreamStats::of(component), inbox.queued());
        let latencies = lane.out().latencies(task);
        let stats = Arc::new(TaskStats { streams, queued, queue_capacity, latencies, ..TaskStats::default() });
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
        self.run.count_task(true);
        let core = Core {
            component: component.id.clone(),
            task,
            launch: launch.number,
            staging: Staging::new(Arc::new(component.output.clone()), context.config().emit_limit()),
            outbox: self.outbox(component, task, launch.number, lane, context.config().is_debug()),
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
            ComponentKind::Bolt(make) => Box::pin(BoltTask::new(core, make.clone(), inlets).run()),
        };
        Ready { future, stats }
    }

    fn outbox(&self, component: &Component, task: TaskId, launch: u32, lane: &Arc<Lane>, is_debug: bool) -> Outbox {
        let place = self.graph.place_of(task).unwrap_or_default();
        let home = Membership::new(lane.clone(), task, launch, place, component.is_spout());
        let streams = self.graph.node(place).streams.iter().map(|source| {
            let consumers = self.consumers(place, task, source.stream_index, &home);
            StreamOut { source: source.clone(), consumers }
        });
        let streams = streams.collect();
        let edges = Edges::new(self.seed, task, launch);
        Outbox::new(task, launch, streams, home, edges, self.tap.clone(), is_debug)
    }

    /// Those who receive a stream of a task.
    fn consumers(&self, from: Place, task: TaskId, stream: u16, home: &Membership) -> Vec<Consumer> {
        let source = &self.graph.node(from).streams[stream as usize];
        let mut consumers = Vec::new();
        for (receiver, to) in self.topology.components().iter().enumerate() {
            let is_ours =
                |input: &&galerna_topology_api::Input| input.from == source.component && input.stream == source.stream;
            for input in to.inputs.iter().filter(is_ours) {
                let context = GroupingContext {
                    source_component: source.component.clone(),
                    source_task: task,
                    fields: source.fields.clone(),
                    targets: self.graph.node(receiver).ids.clone(),
                };
                let router = Router::new(&input.grouping, &context);
                let number = consumers.len();
                let key = InputKey { from, stream, number, receiver, shuffles: router.shuffles() };
                let outlet = home.outlet(&key);
                consumers.push(Consumer::new(router, to.tasks.len(), to.tasks.start, outlet));
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
