use Ending::{Finished, Stopped};
use Marker::{End, Flush, Open};
use galerna_topology_api::{
    Bolt, BoltResult, Emitter, Next, Result, Spout, SpoutEmitter, Streams, TopologyBuilder, Tuple,
};

use super::*;
use crate::graph::example;

struct Source;
impl Spout for Source {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
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

/// Tasks 1 and 2 of one spout, task 3 of another, and task 4 of a bolt that receives from both.
fn two_inputs() -> Graph {
    let mut builder = TopologyBuilder::new("graph");
    let _ = builder.spout("pair", || Source).parallelism(2);
    let _ = builder.spout("single", || Source);
    let _ = builder.bolt("sink", || Sink).shuffle("pair").shuffle("single");
    Graph::new(&builder.build().expect("valid"))
}

fn sender(task: TaskId, launch: u32) -> Sender {
    Sender { task, launch, is_final: false }
}

/// The edges of a lane, and the input of the one bolt task on it.
struct Lane {
    edges: LaneEdges,
    receiver: Place,
    input: Input,
}

impl Lane {
    fn new(graph: Graph) -> Self {
        let receiver = graph.place_of(graph.end() as TaskId - 1).expect("a bolt");
        Self { edges: LaneEdges::new(Arc::new(graph)), receiver, input: Input::new() }
    }

    /// Tuples come from a launch of a task.
    fn data(&mut self, task: TaskId, launch: u32) {
        let changed = self.edges.data(sender(task, launch));
        self.hear(changed, task);
        self.input.data();
    }

    fn mark(&mut self, task: TaskId, launch: u32, marker: Marker) {
        let changed = self.edges.mark(Mark { from: sender(task, launch), marker });
        self.hear(changed, task);
    }

    fn reopen(&mut self, task: TaskId) {
        let changed = self.edges.reopen(task);
        self.hear(changed, task);
    }

    /// The bolt task hears of its input only when `changed` names a component.
    fn hear(&mut self, changed: Option<Place>, task: TaskId) {
        assert!(changed.is_none() || changed == self.edges.graph.place_of(task), "not the component of task {task}");
        let state = self.edges.state_of(self.receiver);
        assert!(changed.is_some() || state == self.input.state, "the task does not hear that its input is {state:?}");
        self.input.state = state;
    }

    fn take_flush(&mut self) -> bool {
        self.input.take_flush()
    }

    fn is_flushed(&self) -> bool {
        self.input.state.is_flushed
    }

    fn ending(&self) -> Option<Ending> {
        self.input.state.ending
    }
}

#[test]
fn flush_waits_for_all_tasks_of_all_inputs_and_comes_again_after_a_replay() {
    let mut lane = Lane::new(two_inputs());
    lane.data(1, 1);
    for task in [1, 2] {
        lane.mark(task, 1, Flush(1));
        assert!(!lane.take_flush(), "task 3 has not flushed");
    }
    lane.mark(3, 1, Flush(1));
    assert!(lane.take_flush());
    assert!(!lane.take_flush());
    lane.mark(2, 1, Flush(2));
    assert!(!lane.take_flush(), "no tuples since the flush");
    lane.data(1, 1);
    assert!(!lane.is_flushed() && !lane.take_flush());
    lane.mark(1, 1, Flush(2));
    assert!(lane.take_flush());
}

#[test]
fn edge_whose_sender_says_open_waits_for_its_next_flush() {
    let mut lane = Lane::new(example::graph(2, 1));
    lane.mark(1, 1, Flush(1));
    lane.mark(2, 1, End(Finished));
    assert!(lane.is_flushed());
    lane.mark(2, 1, Open);
    assert_eq!((lane.is_flushed(), lane.ending()), (false, None));
    lane.mark(2, 1, Flush(1));
    assert_eq!((lane.is_flushed(), lane.ending()), (true, None));
}

#[test]
fn edge_whose_task_was_launched_anew_ends_once_more() {
    for launch in [1, 2] {
        let mut lane = Lane::new(two_inputs());
        [1, 2, 3].into_iter().for_each(|task| lane.mark(task, 1, End(Finished)));
        assert!(lane.take_flush());
        lane.reopen(1);
        lane.reopen(1);
        assert_eq!((lane.ending(), lane.is_flushed()), (None, false));
        // Where the loss of the task was an error, its launch ends again.
        lane.mark(1, launch, End(Finished));
        assert_eq!(lane.ending(), Some(Finished));
        assert!(!lane.take_flush(), "no tuples since the flush");
    }
}

#[test]
fn input_has_ended_when_all_edges_have_and_one_stop_stops_it() {
    for stopped in 1..=3 {
        let mut lane = Lane::new(two_inputs());
        for task in 1..=3 {
            assert_eq!(lane.ending(), None);
            lane.mark(task, 1, End(if task == stopped { Stopped } else { Finished }));
        }
        assert_eq!(lane.ending(), Some(Stopped), "task {stopped} stopped");
        // The first ending of a launch counts.
        lane.mark(stopped, 1, End(Finished));
        assert_eq!(lane.ending(), Some(Stopped));
        lane.mark(stopped, 2, End(Finished));
        assert_eq!(lane.ending(), Some(Finished), "the stop is void once the next launch has finished");
    }
}

#[test]
fn late_end_of_an_earlier_launch_does_not_end_the_edge_of_its_successor() {
    for word in [Open, Flush(1)] {
        let mut lane = Lane::new(example::graph(1, 1));
        lane.mark(1, 2, word);
        lane.mark(1, 1, End(Finished));
        assert_eq!((lane.ending(), lane.is_flushed()), (None, word != Open));
        lane.mark(1, 2, End(Stopped));
        assert_eq!(lane.ending(), Some(Stopped));
    }
    // Rows alone make a launch known only if the lane has heard something of the task before.
    let mut lane = Lane::new(example::graph(1, 1));
    lane.mark(1, 1, Flush(1));
    lane.data(1, 2);
    lane.mark(1, 1, End(Finished));
    assert_eq!((lane.ending(), lane.is_flushed()), (None, false));
}

#[test]
fn rows_of_a_newer_launch_reopen_an_ended_edge_and_those_of_others_do_not() {
    let mut lane = Lane::new(example::graph(2, 1));
    [1, 2].into_iter().for_each(|task| lane.mark(task, 3, End(Finished)));
    for launch in [2, 3] {
        lane.data(1, launch);
        assert_eq!((lane.ending(), lane.is_flushed()), (Some(Finished), true), "launch {launch}");
    }
    lane.data(1, 4);
    assert_eq!((lane.ending(), lane.is_flushed()), (None, false));
    lane.mark(1, 4, Flush(1));
    lane.mark(1, 4, End(Finished));
    assert_eq!(lane.ending(), Some(Finished));
}

#[test]
fn rows_of_an_earlier_launch_revoke_no_flush() {
    let mut lane = Lane::new(example::graph(1, 1));
    lane.mark(1, 2, Flush(1));
    lane.data(1, 1);
    assert!(lane.take_flush(), "the bolt flushes what came late");
}

#[test]
fn launch_numbers_wrap() {
    let mut lane = Lane::new(example::graph(1, 1));
    lane.mark(1, u32::MAX, End(Finished));
    assert_eq!(lane.ending(), Some(Finished), "the first launch that is heard may have any number");
    lane.data(1, 0);
    assert_eq!(lane.ending(), None, "launch 0 comes after the last number");
    lane.mark(1, u32::MAX, End(Finished));
    assert_eq!(lane.ending(), None, "and the last number is an earlier launch");
    lane.mark(1, 0, End(Stopped));
    assert_eq!(lane.ending(), Some(Stopped));

    for (launch, than) in [(0, 1), (u32::MAX, 0), (u32::MAX - 5, 5), (5, 5 + (1 << 31) - 1)] {
        assert!(is_earlier(launch, than) && !is_earlier(than, launch), "{launch} {than}");
        assert!(!is_earlier(launch, launch));
    }
}

#[test]
fn what_a_task_without_receivers_here_says_changes_nothing() {
    let mut lane = Lane::new(example::graph(1, 1));
    // Task 2 is the bolt itself, and task 9 does not exist.
    for task in [2, 9] {
        assert_eq!(lane.edges.reopen(task), None);
        assert_eq!(lane.edges.data(sender(task, 1)), None);
    }
    assert_eq!(lane.edges.mark(Mark { from: sender(9, 1), marker: End(Finished) }), None);
    assert_eq!((lane.ending(), lane.is_flushed()), (None, false));
}
