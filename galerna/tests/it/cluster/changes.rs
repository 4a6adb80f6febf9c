//! Commands that order something.

use galerna_protocol::{DescribeReply, TopologySummary};
use serde_json::json;

use super::nimbus::{FakeNimbus, State};
use super::reads::{described, words};

fn nimbus() -> FakeNimbus {
    FakeNimbus::start(State { described: Some(described()), ..State::default() })
}

#[test]
fn orders_say_what_happens_now() {
    let nimbus = nimbus();
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["kill", "words", "-w", "5"],
            "killed: what is in flight gets up to 5 s",
            "KillRequest { name: \"words\", wait_secs: Some(5), topology_id: \"\" }",
        ),
        (
            &["kill", "words"],
            "killed: what is in flight gets up to 45 s",
            "KillRequest { name: \"words\", wait_secs: None, topology_id: \"\" }",
        ),
        (&["activate", "words"], "activated: its spouts emit", "NameRequest { name: \"words\" }"),
        (
            &["deactivate", "words"],
            "deactivated: its spouts emit nothing until it is activated",
            "NameRequest { name: \"words\" }",
        ),
        (
            &["rebalance", "words", "-n", "4", "-e", "count=8", "-w", "0"],
            "rebalancing: `describe` shows how far it is",
            "RebalanceRequest { name: \"words\", workers: Some(4), executors: {\"count\": 8}, wait_secs: Some(0), topology_id: \"\" }",
        ),
        (
            &["rebalance", "words"],
            "rebalancing: `describe` shows how far it is",
            "RebalanceRequest { name: \"words\", workers: None, executors: {}, wait_secs: None, topology_id: \"\" }",
        ),
    ];
    for (args, told, asked) in cases {
        let ran = nimbus.call(args).expect(0);
        assert_eq!((ran.stdout, ran.stderr.as_str()), (format!("words-1 {told}\n"), ""), "{args:?}");
        assert_eq!(nimbus.state().asked.last().map(String::as_str), Some(*asked));
    }
}

#[test]
fn notes_are_told_beside_the_answer_or_in_its_json() {
    let nimbus = nimbus();
    nimbus.state().notes = vec!["2 slots are free".into()];
    let ran = nimbus.call(&["rebalance", "words", "-n", "9"]).expect(0);
    assert_eq!(ran.stderr, "note: 2 slots are free\n");
    let ran = nimbus.call(&["kill", "words", "--output", "json"]).expect(0);
    assert_eq!((ran.json(), ran.stderr.as_str()), (json!({"id": "words-1", "notes": ["2 slots are free"]}), ""));
}

#[test]
fn killing_what_has_finished_says_so() {
    let nimbus = nimbus();
    let finished = TopologySummary { status: "FINISHED".into(), ..words() };
    nimbus.state().described = Some(DescribeReply { summary: Some(finished), ..described() });
    let told = nimbus.call(&["kill", "words"]).expect(0).stdout;
    assert_eq!(told, "words-1 killed: it had finished, its name is free\n");
}

#[test]
fn killing_what_is_not_there_is_told_and_orders_nothing() {
    let nimbus = FakeNimbus::start(State::default());
    let ran = nimbus.call(&["kill", "wrds"]).expect(1);
    assert_eq!(ran.stderr, "error: no topology named `wrds`; there are words\n");
    assert_eq!(nimbus.state().asked.len(), 1);
}
