//! What a bolt task knows of its input edges: which have said that nothing follows for now, and
//! which have ended. Pure.

use std::collections::BTreeMap;

use galerna_topology_api::TaskId;

use crate::credit::FIRST;

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

#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    is_flushed: bool,
    ending: Option<Ending>,
    /// How much may be under way on it, as was heard last; nothing before the first tuples.
    limit: Option<u32>,
}

/// The input edges of one task, by the task at their other end.
#[derive(Debug)]
pub(crate) struct InEdges {
    edges: BTreeMap<TaskId, Edge>,
    unflushed: usize,
    open: usize,
    /// Whether tuples came since the last flush was taken.
    needs_flush: bool,
    /// The sum of all limits.
    capacity: u64,
}

impl InEdges {
    pub(crate) fn new(sources: impl IntoIterator<Item = TaskId>) -> Self {
        let edges: BTreeMap<_, _> = sources.into_iter().map(|task| (task, Edge::default())).collect();
        let capacity = edges.len() as u64 * u64::from(FIRST);
        Self { unflushed: edges.len(), open: edges.len(), edges, needs_flush: true, capacity }
    }

    /// Tuples came on an edge, on which this much may be under way.
    pub(crate) fn data(&mut self, from: TaskId, limit: u32) {
        self.needs_flush = true;
        let Some(edge) = self.edges.get_mut(&from) else { return };
        if edge.is_flushed && edge.ending.is_none() {
            edge.is_flushed = false;
            self.unflushed += 1;
        }
        let before = edge.limit.replace(limit).unwrap_or(FIRST);
        self.capacity = self.capacity + u64::from(limit) - u64::from(before);
    }

    /// How much may be under way on all edges together, as far as is known.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// A statement came on an edge.
    pub(crate) fn marker(&mut self, from: TaskId, marker: Marker) {
        if marker == Marker::Open {
            return self.reopen(from);
        }
        let Some(edge) = self.edges.get_mut(&from) else { return };
        if !edge.is_flushed {
            edge.is_flushed = true;
            self.unflushed -= 1;
        }
        if let Marker::End(ending) = marker
            && edge.ending.is_none()
        {
            edge.ending = Some(ending);
            self.open -= 1;
        }
    }

    /// The task at the other end was launched anew: what it said is void. What it says last may come
    /// true again without more tuples.
    pub(crate) fn reopen(&mut self, from: TaskId) {
        let Some(edge) = self.edges.get_mut(&from) else { return };
        self.unflushed += usize::from(edge.is_flushed);
        self.open += usize::from(edge.ending.is_some());
        self.capacity = self.capacity + u64::from(FIRST) - u64::from(edge.limit.unwrap_or(FIRST));
        *edge = Edge::default();
    }

    /// Whether every edge is flushed or ended.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unflushed == 0
    }

    /// Whether it is time to flush the task; each time once.
    pub(crate) fn take_flush(&mut self) -> bool {
        let is_due = self.needs_flush && self.is_flushed();
        if is_due {
            self.needs_flush = false;
        }
        is_due
    }

    /// How the whole input ended, once every edge has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        if self.open > 0 {
            return None;
        }
        let is_stopped = self.edges.values().any(|edge| edge.ending == Some(Ending::Stopped));
        Some(if is_stopped { Ending::Stopped } else { Ending::Finished })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flush_waits_for_all_edges_and_comes_again_after_a_replay() {
        let mut edges = InEdges::new([1, 2]);
        edges.data(1, FIRST);
        edges.marker(1, Marker::Flush(1));
        assert!(!edges.take_flush());
        edges.marker(2, Marker::Flush(1));
        assert!(edges.take_flush());
        assert!(!edges.take_flush());
        edges.marker(2, Marker::Flush(2));
        assert!(!edges.take_flush(), "nothing came in between");
        edges.data(1, FIRST);
        assert!(!edges.is_flushed());
        edges.marker(1, Marker::Flush(2));
        assert!(edges.take_flush());
    }

    #[test]
    fn an_edge_whose_task_was_launched_anew_ends_once_more() {
        let mut edges = InEdges::new([1, 2]);
        for from in [1, 2] {
            edges.marker(from, Marker::End(Ending::Finished));
        }
        assert!(edges.take_flush());
        edges.reopen(1);
        edges.reopen(1);
        assert_eq!((edges.ending(), edges.is_flushed()), (None, false));
        edges.marker(1, Marker::End(Ending::Finished));
        assert_eq!(edges.ending(), Some(Ending::Finished));
        assert!(!edges.take_flush(), "nothing came in between");
    }

    #[test]
    fn an_input_has_ended_when_all_edges_have_and_one_stop_stops_it() {
        let mut edges = InEdges::new([1, 2]);
        edges.marker(1, Marker::End(Ending::Finished));
        assert_eq!(edges.ending(), None);
        edges.marker(2, Marker::End(Ending::Stopped));
        assert_eq!(edges.ending(), Some(Ending::Stopped));
    }
}
