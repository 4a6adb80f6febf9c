//! Topologies that have ended, and names that are not free yet.

use std::thread;

use galerna_protocol::*;
use serde_json::json;
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use super::reads::{described, words};
use crate::support::example;

fn killed() -> DescribeReply {
    DescribeReply {
        summary: Some(TopologySummary { status: "KILLED".into(), workers: 0, ..words() }),
        workers: Vec::new(),
        executors: Vec::new(),
        unscheduled: Vec::new(),
        ended_unix_ms: 1_700_000_000_123,
        notes: vec!["2 topologies named `words` have ended; this is the latest, words-1".into()],
        ..described()
    }
}

#[test]
fn list_of_the_ended_has_when_after_how_long_and_why() {
    let ended = |status: &str, failure: &str| EndedSummary {
        summary: Some(TopologySummary { status: status.into(), ..words() }),
        ended_unix_ms: 1_700_000_000_123,
        failure: failure.into(),
    };
    let ended = vec![ended("KILLED", ""), ended("FINISHED", "gave up 3 tuples\nof words")];
    let nimbus = FakeNimbus::start(State { ended, ..State::default() });
    insta::assert_snapshot!(nimbus.call(&["list", "--ended"]).expect(0).stdout, @r"
    name   status    ended                      after  id       failure
    words  KILLED    2023-11-14T22:13:20Z  3 min 05 s  words-1
    words  FINISHED  2023-11-14T22:13:20Z  3 min 05 s  words-1  gave up 3 tuples
    ");
    let json = nimbus.call(&["list", "--ended", "--output=json"]).expect(0).json();
    assert_eq!((&json[1]["id"], &json[1]["ended_unix_ms"]), (&json!("words-1"), &json!(1_700_000_000_123_i64)));
    assert_eq!(json[1]["failure"], "gave up 3 tuples\nof words");
    let none = FakeNimbus::start(State::default()).call(&["list", "--ended"]).expect(0);
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "no topologies have ended\n"));
}

#[test]
fn description_of_an_ended_topology_says_when_it_ended_and_which_one_it_is() {
    let nimbus = FakeNimbus::start(State { described: Some(killed()), ..State::default() });
    let note = "note: 2 topologies named `words` have ended; this is the latest, words-1\n";
    let ran = nimbus.call(&["describe", "words"]).expect(0);
    assert_eq!(ran.stderr, note);
    let head = "words (words-1): KILLED at 2023-11-14T22:13:20Z after 3 min 05 s, generation 7\n3 executors, 5 tasks\n\n\
                component";
    assert!(ran.stdout.starts_with(head) && !ran.stdout.contains("rates"), "{}", ran.stdout);
    let ran = nimbus.call(&["describe", "words", "--output=json"]).expect(0);
    assert_eq!((&ran.json()["ended_unix_ms"], ran.stderr.as_str()), (&json!(1_700_000_000_123_i64), note));
    let state = State { notes: vec!["which one".into()], ..State::default() };
    assert_eq!(FakeNimbus::start(state).call(&["errors", "words"]).expect(0).stderr, "note: which one\nno errors\n");
    let chunk = LogChunk { note: "which one".into(), ..LogChunk::default() };
    let ran = FakeNimbus::start(State { log: vec![chunk], ..State::default() }).call(&["logs", "words"]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "note: which one\n"));
}

fn comparison(comparison: Comparison) -> Result<CompareReply, Status> {
    let (topology_id, drain_ms) = ("word-count-7".into(), 7_200);
    Ok(CompareReply { comparison: comparison.into(), topology_id, drain_ms, ..CompareReply::default() })
}

#[test]
fn submission_that_waits_is_sent_once_the_name_is_free() {
    let ending = || comparison(Comparison::Ending);
    let comparisons =
        vec![ending(), Err(Status::unavailable("no nimbus leads")), ending(), comparison(Comparison::Absent)];
    let nimbus = FakeNimbus::start(State { comparisons, ..State::default() });
    let ran = nimbus.call(&["submit", &example("word-count/topology.yaml"), "--wait"]).expect(0);
    assert_eq!(ran.stdout, "words-1\n");
    assert_eq!(ran.stderr, "waiting: word-count-7 was killed and may drain for up to 8 s more\n");
    let state = nimbus.state();
    assert_eq!((state.submitted.len(), state.compared.len()), (1, 4));
}

#[test]
fn submission_does_not_wait_for_a_topology_that_runs_or_without_being_told_to() {
    let refusal = || Status::already_exists("a topology named `word-count` is already there: word-count-7");
    for args in [&["--wait"][..], &[]] {
        let comparisons = vec![comparison(Comparison::Unchanged)];
        let nimbus = FakeNimbus::start(State { comparisons, submit_refusals: vec![refusal()], ..State::default() });
        let ran = nimbus.call(&[&["submit", &example("word-count/topology.yaml")], args].concat()).expect(1);
        assert_eq!(ran.stderr, "error: a topology named `word-count` is already there: word-count-7\n");
    }
}

#[test]
fn name_that_is_taken_and_drains_again_is_waited_for_again() {
    let comparisons = [Comparison::Absent, Comparison::Ending, Comparison::Ending, Comparison::Absent].map(comparison);
    let submit_refusals = vec![Status::already_exists("it is still draining")];
    let nimbus = FakeNimbus::start(State { comparisons: comparisons.into(), submit_refusals, ..State::default() });
    let ran = nimbus.call(&["submit", &example("word-count/topology.yaml"), "--wait"]).expect(0);
    assert_eq!((ran.stdout.as_str(), nimbus.state().submitted.len()), ("words-1\n", 2));
}

#[test]
fn waiting_for_a_topology_by_its_id_ends_with_what_it_came_to_though_its_name_is_free() {
    let running = DescribeReply { ended_unix_ms: 0, notes: Vec::new(), ..described() };
    let nimbus = FakeNimbus::start(State { described: Some(running), ..State::default() });
    let ran = thread::scope(|scope| {
        let waiting = scope.spawn(|| nimbus.call(&["wait", "words-1", "--expect", "lines.emitted=1234567"]));
        while nimbus.state().asked.is_empty() {
            thread::yield_now();
        }
        let summary = Some(TopologySummary { status: "FINISHED".into(), ..words() });
        nimbus.state().described = Some(DescribeReply { summary, notes: Vec::new(), ..killed() });
        waiting.join().expect("it does not panic")
    });
    let head = "words (words-1): FINISHED at 2023-11-14T22:13:20Z after 3 min 05 s";
    assert!(ran.expect(0).stdout.starts_with(head));
}
