//! `local`: what runs come to, for people and for scripts.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};

use crate::support::{Ran, example, file, run};

const TEXT: &str = "a gale\u{2003}a storm\n\n  b\tgale \r\nÄ\u{a0}Ä\u{85}gale\u{2028}a\nno end of line: gale";

fn word_count(input: &str, output: &str) -> Ran {
    let set = [format!("input={input}"), format!("output={output}")];
    run(["local", &example("word-count/topology.yaml"), "--set", &set[0], "--set", &set[1], "--output", "json"])
}

fn counted(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

fn read_tsv(path: &std::path::Path) -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path).expect("the output is there");
    let pairs = text.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no tab in `{line}`")));
    pairs.map(|(word, count)| (word.to_owned(), count.parse().expect("a count"))).collect()
}

#[test]
fn word_count_equals_an_independent_count() {
    let sample = fs::read_to_string(example("word-count/text.txt")).expect("the sample");
    for text in [TEXT, sample.as_str(), "", "\n\n", "one"] {
        let (folder, input) = file("input.txt", text);
        let output = folder.path().join("counts.tsv");
        let summary = word_count(&input, &output.to_string_lossy()).expect(0).json();
        assert_eq!(read_tsv(&output), counted(text), "{text:.60}");
        assert_eq!(summary["status"], "finished");
    }
}

#[test]
fn json_has_every_promised_key() {
    let (_folder, input) = file("input.txt", TEXT);
    let summary = word_count(&input, "/dev/null").expect(0).json();
    for key in ["topology", "status", "duration_ms", "tuples_per_second", "components"] {
        assert!(!summary[key].is_null(), "{key} is missing in {summary:#}");
    }
    assert_eq!(summary["topology"], "word-count");
    assert_eq!(summary.get("error"), None);
    for key in ["p50", "p99", "max"] {
        assert!(summary["complete_latency_us"][key].is_number(), "{key}: {summary:#}");
    }
    let components = summary["components"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&Json> = components.iter().map(|of| &of["id"]).collect();
    assert_eq!(ids, ["lines", "split", "count", "top", "print", "save"]);
    let counts = "tasks executors emitted executed acked failed replayed gave_up restarts errors";
    for component in &components {
        for key in counts.split(' ') {
            assert!(component[key].is_u64(), "{key} is missing in {component:#}");
        }
    }
    let lines = TEXT.lines().count();
    assert_eq!(components[0]["kind"], "spout");
    assert_eq!((&components[0]["emitted"], &components[0]["acked"]), (&json!(lines), &json!(lines)));
    assert_eq!(
        (&components[1]["kind"], &components[1]["tasks"], &components[1]["executors"]),
        (&json!("bolt"), &json!(4), &json!(2))
    );
    assert_eq!(components[1]["emitted"], json!(TEXT.split_whitespace().count()));
}

#[test]
fn without_acks_there_is_no_complete_latency() {
    let topology = example("word-count/topology.yaml");
    let args = ["local", &topology, "-c", "topology.acker.executors=0", "--output", "json"];
    assert_eq!(run(args).expect(0).json()["complete_latency_us"], Json::Null);
}

#[test]
fn a_person_sees_top_words_then_a_table_then_totals() {
    let ran = run(["local", &example("word-count/topology.yaml")]).expect(0);
    for expected in ["the", "component  kind", "lines      spout", "complete p50", "word-count: finished after"] {
        assert!(ran.stdout.contains(expected), "{expected} is not in\n{}", ran.stdout);
    }
    assert!(!ran.stderr.contains('\x1b') && !ran.stdout.contains('\x1b'), "a pipe is no terminal: {ran:?}");
}

#[test]
fn several_workers_count_the_same() {
    let (folder, input) = file("input.txt", TEXT);
    let output = folder.path().join("counts.tsv");
    let set = [format!("input={input}"), format!("output={}", output.display())];
    let topology = example("word-count/topology.yaml");
    run(["local", &topology, "--set", &set[0], "--set", &set[1], "-n", "3"]).expect(0);
    assert_eq!(read_tsv(&output), counted(TEXT));
}

#[test]
fn an_endless_topology_is_stopped_after_its_time() {
    let topology = example("rolling-top-words/topology.yaml");
    let summary = run(["local", &topology, "--for", "300ms", "--output", "json"]).expect(0).json();
    assert_eq!(summary["status"], "stopped");
    assert!(summary["components"][0]["emitted"].as_u64() > Some(0), "{summary:#}");
}

#[test]
fn what_cannot_start_is_an_error_object_alone() {
    for args in [["no-such.yaml", "--output=json"], [&example("word-count/socket.yaml"), "--output=json"]] {
        let ran = run(["local", args[0], args[1]]).expect(1);
        let error = &ran.json()["error"];
        assert!(error["code"].is_string() && error["message"].is_string(), "{ran:?}");
        assert_eq!(ran.stdout.lines().count(), 1);
    }
}

#[test]
fn a_missing_input_is_one_clear_error() {
    let ran = word_count("/no/such/file", "/dev/null").expect(1);
    let summary = ran.json();
    assert_eq!(summary["status"], "failed");
    let message = summary["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("/no/such/file"), "{summary:#}");
    assert!(ran.stderr.contains("/no/such/file"), "{}", ran.stderr);
}

#[test]
fn a_binary_input_is_one_clear_error() {
    let (_folder, input) = file("input.bin", [0x7f, b'E', 0xff, 0xfe, 0, b'\n', 0xc3]);
    let summary = word_count(&input, "/dev/null").expect(1).json();
    assert!(summary["error"]["message"].as_str().is_some_and(|message| message.contains("input.bin")), "{summary:#}");
}
