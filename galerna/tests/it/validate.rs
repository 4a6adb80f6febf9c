//! `validate`: every mistake at once, for people and for scripts.

use serde_json::json;

use crate::support::{call, example, file};

const TEN_MISTAKES: &str = "\
name: ten mistakes
config: {topology.wrkers: 2, topology.debug: yes}
spouts:
  - id: lines
    className: file-linez
    properties: {path: x}
  - id: numbers
    className: generator
    properties: {cuont: 5}
bolts:
  - id: split
    className: split-words
    parallelism: 0
    properties: {field: line}
  - id: print
    className: console
  - id: print
    className: console
  - id: lonely
    className: console
streams:
  - {from: numbers, to: split, grouping: {type: SHUFLE}}
  - {from: split, to: prnt, grouping: {type: SHUFFLE}}
  - {from: split, to: print, grouping: {type: FIELDS, args: [wrd]}}
  - {from: numbers, to: print, grouping: {type: SHUFFLE, streamId: late}}
";

#[test]
fn ten_mistakes_are_ten_located_problems_in_one_run() {
    let (_folder, path) = file("topology.yaml", TEN_MISTAKES);
    let ran = call(["validate", &path, "--output", "json"]).expect(1);
    assert_eq!(ran.stdout.lines().count(), 1);
    let problems = ran.json()["problems"].as_array().cloned().unwrap_or_default();
    assert!(problems.len() >= 10, "{} problems:\n{}", problems.len(), call(["validate", &path]).stdout);
    for problem in &problems {
        assert_eq!(problem["file"], json!(path));
        assert!(problem["line"].as_u64() >= Some(1) && problem["column"].as_u64() >= Some(1), "{problem}");
        assert!(problem["severity"] == "error" || problem["severity"] == "warning", "{problem}");
        assert!(problem["message"].as_str().is_some_and(|message| !message.is_empty()), "{problem}");
    }
    let text = call(["validate", &path]).expect(1).stdout;
    for expected in ["topology.yaml:5:16", "`file-lines`", "^^^^"] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn properties_that_do_not_fit_the_inputs_are_located_problems() {
    let yaml = "\
name: misfits
spouts:
  - {id: lines, className: file-lines, properties: {path: x}}
bolts:
  - {id: split, className: split-words, properties: {field: lines}}
  - {id: some, className: filter, properties: {field: word, fields: [word, text], equals: a}}
  - {id: count, className: count-by, properties: {fields: [text]}}
  - {id: top, className: top-n, properties: {by: count, n: 3}}
  - {id: map, className: map-fields, properties: {fields: [line, {name: n, value: 1}, {name: text, from: word}]}}
  - {id: save, className: file-sink, parallelism: 2, properties: {path: out.txt}}
  - {id: drop, className: file-sink, parallelism: 2, properties: {path: /dev/null}}
streams:
  - {from: lines, to: split, grouping: {type: SHUFFLE}}
  - {from: split, to: some, grouping: {type: SHUFFLE}}
  - {from: split, to: count, grouping: {type: SHUFFLE}}
  - {from: split, to: top, grouping: {type: GLOBAL}}
  - {from: lines, to: map, grouping: {type: SHUFFLE}}
  - {from: lines, to: save, grouping: {type: SHUFFLE}}
  - {from: lines, to: drop, grouping: {type: SHUFFLE}}
";
    let (_folder, path) = file("topology.yaml", yaml);
    let problems = call(["validate", &path, "--output", "json"]).expect(1).json()["problems"].clone();
    let problem = |problem: &serde_json::Value| {
        format!("{}:{} {}", problem["line"], problem["column"], problem["message"].as_str().unwrap_or_default())
    };
    let problems: Vec<_> = problems.as_array().into_iter().flatten().map(problem).collect();
    let expected = [
        "5:61 `field` of `split`: stream `default` of `lines` has no field `lines`; did you mean `line`? (fields: [line])",
        "6:69 `fields` of `some`: stream `default` of `split` has no field `text` (fields: [word])",
        "7:59 `fields` of `count`: stream `default` of `split` has no field `text` (fields: [word])",
        "8:10 `fields` of `top`: stream `default` of `split` has no field `count` (fields: [word])",
        "9:59 `fields` of `map`: stream `default` of `lines` has no field `word` (fields: [line])",
        "10:73 `path` of `save`: 2 tasks cannot write one file; put {task} into the path",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn all_examples_are_valid_and_have_no_problems() {
    let files = ["word-count/topology.yaml", "rolling-top-words/topology.yaml"].map(example);
    let ran = call(["validate".to_owned(), files[0].clone(), files[1].clone(), "--output".into(), "json".into()]);
    assert_eq!(ran.expect(0).json(), json!({ "problems": [] }));
    call(["validate", &example("word-count/socket.yaml"), "--set", "port=9999"]).expect(0);
    let text = call(["validate", &files[0]]).expect(0).stdout;
    assert!(text.ends_with("valid, topology `word-count` of 1 spout and 5 bolts\n"), "{text}");
}

#[test]
fn warnings_alone_are_no_failure() {
    let yaml = "name: w\nconfig: {kryo.register: x}\nspouts: [{id: n, className: random-words}]\n\
                bolts: [{id: p, className: console}]\nstreams: [{from: n, to: p, grouping: {type: SHUFFLE}}]\n";
    let (_folder, path) = file("topology.yaml", yaml);
    let problems = call(["validate", &path, "--output", "json"]).expect(0).json()["problems"].clone();
    assert_eq!(problems[0]["severity"], "warning", "{problems}");
    assert_eq!(problems[0]["line"], 2, "{problems}");
}

#[test]
fn bolt_that_emits_in_ticks_and_gets_none_is_warned_of() {
    let yaml = |emit: &str, config: &str| {
        format!(
            "name: never\nspouts: [{{id: in, className: random-words}}]\nbolts:\n\
             - {{id: count, className: count-by, properties: {{fields: [word], emit: {emit}}}, config: {{{config}}}}}\n\
             - {{id: top, className: top-n, properties: {{by: count, n: 3, emit: {emit}}}, config: {{{config}}}}}\n\
             streams:\n- {{from: in, to: count, grouping: {{type: FIELDS, args: [word]}}}}\n\
             - {{from: count, to: top, grouping: {{type: GLOBAL}}}}\n"
        )
    };
    let problems = |emit, config| {
        let (_folder, path) = file("topology.yaml", yaml(emit, config));
        let problems = call(["validate", &path, "--output", "json"]).expect(0).json()["problems"].clone();
        problems.as_array().cloned().unwrap_or_default()
    };
    let warned = problems("tick", "");
    let told = |of: &serde_json::Value| (of["severity"] == "warning", of["line"].as_u64(), of["message"].to_string());
    let message = |id| {
        format!("\"`{id}` needs ticks, but `topology.tick.tuple.freq.secs` is not set; set it, for example to 10\"")
    };
    let expected = [(true, Some(4), message("count")), (true, Some(5), message("top"))];
    assert_eq!(warned.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(problems("tick", "topology.tick.tuple.freq.secs: 10").is_empty());
    assert!(problems("finish", "").is_empty());
}

#[test]
fn more_executors_than_threads_are_warned_of_at_the_component_with_the_most() {
    let yaml = |config: &str| {
        format!(
            "name: wide\nconfig: {{{config}}}\nspouts: [{{id: in, className: random-words, parallelism: 4}}]\nbolts:\n\
             - {{id: first, className: count-by, parallelism: 100, properties: {{fields: [word], emit: finish}}}}\n\
             - {{id: second, className: console, parallelism: 60, blocking: true}}\n\
             - {{id: third, className: console, parallelism: 30}}\n\
             streams:\n- {{from: in, to: first, grouping: {{type: FIELDS, args: [word]}}}}\n\
             - {{from: first, to: second, grouping: {{type: SHUFFLE}}}}\n\
             - {{from: first, to: third, grouping: {{type: SHUFFLE}}}}\n"
        )
    };
    let told = |config| {
        let (_folder, path) = file("topology.yaml", yaml(config));
        call(["validate", &path]).expect(0).stdout.replace(&path, "topology.yaml")
    };
    insta::assert_snapshot!([told(""), told("topology.worker.lanes: 16, topology.workers: 8")].join("\n"));
    for enough in ["topology.workers: 2", "topology.worker.lanes: 134", "topology.max.task.parallelism: 60"] {
        assert!(!told(enough).contains("warning"), "{enough}");
    }
}

#[test]
fn columns_count_characters() {
    let (_folder, path) = file("topology.yaml", "name: \"\u{e9}\u{20ac}\"\nspuots: []\n");
    let problems = call(["validate", &path, "--output", "json"]).expect(1).json()["problems"].clone();
    let unknown = problems.as_array().and_then(|all| all.iter().find(|of| of["line"] == 2)).cloned();
    assert_eq!(unknown.map(|of| of["column"].clone()), Some(json!(1)), "{problems}");
}

#[test]
fn validating_opens_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = folder.path().join("out").to_string_lossy().into_owned();
    let topology = example("word-count/topology.yaml");
    let set = [format!("output={output}"), "input=/no/such/file".to_owned()];
    call(["validate", &topology, "--set", &set[0], "--set", &set[1]]).expect(0);
    assert_eq!(folder.path().read_dir().map(Iterator::count).ok(), Some(0));
}

#[test]
fn graph_and_schema_are_printed() {
    let topology = example("word-count/topology.yaml");
    let mermaid = call(["graph", &topology]).expect(0).stdout;
    assert!(mermaid.starts_with("flowchart LR\n") && mermaid.contains("FIELDS [word]"), "{mermaid}");
    let dot = call(["graph", &topology, "--format", "dot"]).expect(0).stdout;
    assert!(dot.starts_with("digraph \"word-count\" {\n"), "{dot}");
    let schema: serde_json::Value = serde_json::from_str(&call(["schema"]).expect(0).stdout).expect("JSON");
    assert!(schema["properties"]["spouts"].is_object(), "{schema:#}");
}
