//! What the tasks of a lane know of their input edges: which source tasks have said that nothing follows for now,
//! and which have ended. Pure.
//!
//! A task says the same of all its edges, and it says so once to each lane. So a lane keeps one state for each
//! source task, and counts by component; its tasks hear only when the state of their whole input changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Sender;

use crate::graph::{Graph, Place};

/// A statement about an edge, in order with its tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    /// Nothing follows for now; the number counts the flushes of the sender.
    Flush(u32),
    /// Nothing follows at all.
    End(Ending),
    /// More may follow: what was said before is void.
    Open,
}

/// Why an edge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The input is finished: bolts say their last words.
    Finished,
    /// The run was stopped: there are no last words.
    Stopped,
}

/// What a launch of a task says of its edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) from: Sender,
    pub(crate) marker: Marker,
}

/// The state of the whole input of a bolt task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputState {
    /// Whether every edge is flushed or ended.
    pub(crate) is_flushed: bool,
    /// How the whole input ended, once every edge has.
    pub(crate) ending: Option<Ending>,
}

/// What is known of the edges from one task.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    /// The launch that spoke last, if any has.
    launch: Option<u32>,
    is_flushed: bool,
    ending: Option<Ending>,
}

/// The edges from the tasks of one component.
#[derive(Debug)]
struct Source {
    /// By task.
    edges: Vec<Edge>,
    unflushed: usize,
    open: usize,
    stopped: usize,
}

impl Source {
    fn new(tasks: usize) -> Self {
        Self { edges: vec![Edge::default(); tasks], unflushed: tasks, open: tasks, stopped: 0 }
    }

    fn set(&mut self, at: usize, edge: Edge) {
        let before = std::mem::replace(&mut self.edges[at], edge);
        self.unflushed = self.unflushed + usize::from(before.is_flushed) - usize::from(edge.is_flushed);
        self.open = self.open + usize::from(before.ending.is_some()) - usize::from(edge.ending.is_some());
        let is_stopped = |edge: Edge| usize::from(edge.ending == Some(Ending::Stopped));
        self.stopped = self.stopped + is_stopped(edge) - is_stopped(before);
    }

    fn state(&self) -> InputState {
        let ending = if self.stopped > 0 { Ending::Stopped } else { Ending::Finished };
        InputState { is_flushed: self.unflushed == 0, ending: (self.open == 0).then_some(ending) }
    }
}

/// Whether a launch is an earlier one than another. The numbers may wrap.
fn is_earlier(launch: u32, than: u32) -> bool {
    launch != than && than.wrapping_sub(launch) < 1 << 31
}

/// The input edges of the tasks of one lane, by the component at their other end.
#[derive(Debug)]
pub(crate) struct LaneEdges {
    graph: Arc<Graph>,
    /// Only the components that have said something.
    sources: BTreeMap<Place, Source>,
}

impl LaneEdges {
    pub(crate) fn new(graph: Arc<Graph>) -> Self {
        Self { graph, sources: BTreeMap::new() }
    }

    /// Tuples came from a launch of a task. Returns the component of the task if the state of its edges changed.
    #[inline]
    pub(crate) fn data(&mut self, from: Sender) -> Option<Place> {
        if self.sources.is_empty() { None } else { self.note_data(from) }
    }

    fn note_data(&mut self, from: Sender) -> Option<Place> {
        let (place, at) = self.graph.find(from.task)?;
        let edge = self.sources.get(&place)?.edges[at];
        let launch = Some(from.launch);
        let is_new = edge.launch.is_none_or(|known| is_earlier(known, from.launch));
        let revokes = edge.is_flushed && edge.ending.is_none() && edge.launch == launch;
        (is_new || revokes).then(|| self.update(place, at, Edge { launch, ..Edge::default() })).flatten()
    }

    /// A task has said something. Returns the component of the task if the state of its edges changed.
    pub(crate) fn mark(&mut self, Mark { from, marker }: Mark) -> Option<Place> {
        let (place, at) = self.graph.find(from.task)?;
        let known = self.sources.get(&place).map_or(Edge::default(), |source| source.edges[at]);
        // Without a launch that spoke before, there is nothing to compare with: any number may be the first.
        if known.launch.is_some_and(|known| is_earlier(from.launch, known)) {
            return None;
        }
        let launch = Some(from.launch);
        let mut edge = if known.launch == launch { known } else { Edge { launch, ..Edge::default() } };
        match marker {
            Marker::Open => edge = Edge { launch, ..Edge::default() },
            Marker::Flush(_) => edge.is_flushed = true,
            Marker::End(ending) => {
                edge.is_flushed = true;
                edge.ending = edge.ending.or(Some(ending));
            }
        }
        self.update(place, at, edge)
    }

    /// The launch of a task that was heard last is lost: what it said is void.
    /// Returns the component of the task if the state of its edges changed.
    pub(crate) fn reopen(&mut self, task: TaskId) -> Option<Place> {
        let (place, at) = self.graph.find(task)?;
        let known = self.sources.get(&place)?.edges[at];
        self.update(place, at, Edge { launch: known.launch, ..Edge::default() })
    }

    fn update(&mut self, place: Place, at: usize, edge: Edge) -> Option<Place> {
        let tasks = self.graph.node(place).tasks.len();
        let source = self.sources.entry(place).or_insert_with(|| Source::new(tasks));
        let before = source.state();
        source.set(at, edge);
        (source.state() != before).then_some(place)
    }

    /// The state of the whole input of a component's tasks.
    pub(crate) fn state_of(&self, component: Place) -> InputState {
        let inputs = &self.graph.node(component).inputs;
        let mut state = InputState { is_flushed: true, ending: Some(Ending::Finished) };
        for input in inputs {
            let of = self.sources.get(input).map_or(InputState::default(), Source::state);
            state.is_flushed &= of.is_flushed;
            state.ending = match (state.ending, of.ending) {
                (Some(Ending::Finished), Some(Ending::Finished)) => Some(Ending::Finished),
                (Some(_), Some(_)) => Some(Ending::Stopped),
                _ => None,
            };
        }
        state
    }
}

/// The input of one task.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) state: InputState,
    /// Whether tuples came since the last flush was taken.
    needs_flush: bool,
}

impl Input {
    pub(crate) fn new() -> Self {
        Self { state: InputState::default(), needs_flush: true }
    }

    /// Tuples came.
    pub(crate) fn data(&mut self) {
        self.needs_flush = true;
    }

    /// Whether it is time to flush the task; each time once.
    pub(crate) fn take_flush(&mut self) -> bool {
        self.state.is_flushed && std::mem::take(&mut self.needs_flush)
    }
}

#[cfg(test)]
mod tests;
