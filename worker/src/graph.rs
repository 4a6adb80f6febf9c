//! What all tasks of a topology share, worked out once: who receives from whom, and the streams.

use std::ops::Range;
use std::sync::Arc;

use galerna_topology_api::engine::TupleSource;
use galerna_topology_api::{TaskId, Topology};

/// A component, by its place in the topology.
pub(crate) type Place = usize;

/// One component.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) tasks: Range<TaskId>,
    /// Its tasks as a list, which all routers share.
    pub(crate) ids: Arc<[TaskId]>,
    /// Its streams, in the order of their declaration.
    pub(crate) streams: Vec<Arc<TupleSource>>,
    /// The components that it receives from, each once.
    pub(crate) inputs: Vec<Place>,
    /// The components that receive from it, each once.
    pub(crate) receivers: Vec<Place>,
}

/// The components of a topology and their edges.
#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    /// The component of each task; tasks are counted from 1.
    places: Vec<u32>,
}

impl Graph {
    pub(crate) fn new(topology: &Topology) -> Self {
        let components = topology.components();
        let inputs: Vec<Vec<Place>> = components
            .iter()
            .map(|component| {
                let is_input = |from: &&usize| component.inputs.iter().any(|input| input.from == components[**from].id);
                (0..components.len()).collect::<Vec<_>>().iter().filter(is_input).copied().collect()
            })
            .collect();
        let mut places = Vec::new();
        let mut nodes = Vec::new();
        for (place, component) in components.iter().enumerate() {
            let tasks = component.tasks.clone();
            places.resize(places.len().max(tasks.end as usize), u32::MAX);
            places[tasks.start as usize..tasks.end as usize].fill(place as u32);
            let streams = component.output.iter().enumerate().map(|(index, stream)| {
                Arc::new(TupleSource {
                    component: component.id.clone(),
                    stream_index: index as u16,
                    stream: stream.id.clone(),
                    fields: stream.fields.clone(),
                })
            });
            let receivers = (0..components.len()).filter(|to| inputs[*to].contains(&place)).collect();
            let (ids, streams) = (tasks.clone().collect(), streams.collect());
            nodes.push(Node { tasks, ids, streams, inputs: inputs[place].clone(), receivers });
        }
        Self { nodes, places }
    }

    /// The component of a task.
    pub(crate) fn place_of(&self, task: TaskId) -> Option<Place> {
        self.places.get(task as usize).map(|place| *place as usize).filter(|place| *place < self.nodes.len())
    }

    pub(crate) fn node(&self, place: Place) -> &Node {
        &self.nodes[place]
    }

    /// The component of a task, and the number of the task among its tasks.
    pub(crate) fn find(&self, task: TaskId) -> Option<(Place, usize)> {
        let place = self.place_of(task)?;
        Some((place, (task - self.nodes[place].tasks.start) as usize))
    }

    /// A stream of a task's component.
    pub(crate) fn stream_of(&self, task: TaskId, stream: u16) -> Option<&Arc<TupleSource>> {
        self.nodes[self.place_of(task)?].streams.get(stream as usize)
    }

    /// The tasks of all components that receive from a component.
    pub(crate) fn receiving_tasks(&self, of: Place) -> impl Iterator<Item = TaskId> {
        self.nodes[of].receivers.iter().flat_map(|place| self.nodes[*place].tasks.clone())
    }

    /// One more than the highest task.
    pub(crate) fn end(&self) -> usize {
        self.places.len()
    }
}

/// A small graph for tests of other modules.
#[cfg(any(test, feature = "testing"))]
pub(crate) mod example {
    #[cfg(test)]
    use galerna_topology_api::engine::Sender;
    use galerna_topology_api::*;

    use super::Graph;
    #[cfg(test)]
    use crate::exchange::HELD;
    #[cfg(test)]
    use crate::parcel::Parcel;

    struct Source;
    impl Spout for Source {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"]).stream("pairs", ["a", "b"]).stream("nothing", Vec::<&str>::new())
        }
        async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            Ok(Next::Exhausted)
        }
    }

    struct Sink;
    impl Bolt for Sink {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
    }

    /// Tasks 1 to `sources` of a spout, and behind them as many tasks of a bolt as `sinks` says.
    pub(crate) fn graph(sources: u32, sinks: u32) -> Graph {
        let mut builder = TopologyBuilder::new("graph");
        let _ = builder.spout("source", || Source).parallelism(sources);
        let _ = builder.bolt("sink", || Sink).parallelism(sinks).fields("source", ["n"]);
        match builder.build() {
            Ok(topology) => Graph::new(&topology),
            Err(invalid) => unreachable!("{invalid}"),
        }
    }

    /// Rows of the default stream for one task, numbered from 0.
    #[cfg(test)]
    pub(crate) fn parcel(graph: &Graph, sender: Sender, target: TaskId, rows: usize) -> Parcel {
        let source = graph.stream_of(sender.task, 0).expect("a stream");
        let mut parcel = Parcel::new(source.clone());
        parcel.batch.senders.begin(0, sender);
        parcel.batch.values = (0..rows as i64).map(Value::from).collect();
        parcel.batch.rows = rows;
        parcel.note(HELD, target, 0, 100 * rows);
        parcel
    }
}
