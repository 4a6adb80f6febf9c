//! `wait`: until a topology has finished, and what it came to.

use std::thread;

use galerna_protocol::{DescribeReply, TopologySummary};
use serde_json::json;
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use super::reads::{described, words};

fn with_status(status: &str) -> DescribeReply {
    DescribeReply { summary: Some(TopologySummary { status: status.into(), ..words() }), ..described() }
}

fn nimbus(described: DescribeReply) -> FakeNimbus {
    FakeNimbus::start(State { described: Some(described), ..State::default() })
}

#[test]
fn it_ends_when_the_topology_has_finished_whatever_came_between() {
    let nimbus = nimbus(with_status("ACTIVE"));
    let asked = |times: usize| {
        while nimbus.state().asked.len() < times {
            thread::yield_now();
        }
    };
    let ran = thread::scope(|scope| {
        let waiting = scope.spawn(|| nimbus.call(&["wait", "words", "--output", "json"]));
        asked(1);
        nimbus.state().refusal = Some(Status::unavailable("no nimbus leads at the moment"));
        asked(3);
        let mut state = nimbus.state();
        state.refusal = None;
        state.described = Some(with_status("FINISHED"));
        drop(state);
        waiting.join().expect("it does not panic")
    });
    assert_eq!(ran.expect(0).json()["status"], json!("FINISHED"));
}

#[test]
fn counts_are_compared_with_what_is_expected_of_them() {
    let nimbus = nimbus(with_status("FINISHED"));
    let right = ["wait", "words", "--expect", "lines.emitted=1234567", "--expect=count.executed=1234567"];
    let ran = nimbus.call(&right).expect(0);
    assert_eq!(ran.stdout, nimbus.call(&["describe", "words"]).expect(0).stdout);
    let wrong = ["--expect", "lines.acked=1234567", "--expect=lines.failed=3", "--expect=cnt.executed=1"];
    let ran = nimbus.call(&[&right[..2], &wrong[..]].concat()).expect(1);
    let told = "error: lines.acked is 1,234,000, expected 1,234,567; there is no component `cnt`, only lines, count\n";
    assert_eq!(ran.stderr, told);
}

#[test]
fn what_will_not_finish_well_is_told_at_once() {
    let failed = DescribeReply { failure: "count.2: no room".into(), ..with_status("FINISHED") };
    let cases = [
        (nimbus(with_status("KILLED")), "error: `words` was killed before it had finished\n"),
        (nimbus(failed), "error: `words` failed: count.2: no room\n"),
        (FakeNimbus::start(State::default()), "error: no topology named `words`; there are words\n"),
    ];
    for (nimbus, told) in cases {
        assert_eq!(nimbus.call(&["wait", "words"]).expect(1).stderr, told);
    }
}

#[test]
fn a_wait_that_is_too_long_says_how_things_stand() {
    let told = |described| nimbus(described).call(&["wait", "words", "--timeout=1"]).expect(1).stderr;
    let what = "error: `words` has not finished within 1 s: it is ACTIVE";
    assert_eq!(told(with_status("ACTIVE")), format!("{what}: count: no free slot\nof 8\n"));
    let scheduled = DescribeReply { unscheduled: Vec::new(), ..with_status("ACTIVE") };
    assert_eq!(told(scheduled), format!("{what}\n"));
}
