//! `submit`: what arrives at Nimbus.

use std::collections::BTreeMap;

use galerna::flux::Flux;
use galerna::prelude::*;
use galerna_protocol::Artifact;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tonic::Status;

use super::nimbus::{FakeNimbus, State};
use crate::support::{example, file};

/// This test's own executable: what `submit` sends here.
pub(super) fn own_artifact() -> (Artifact, Vec<u8>) {
    let path = std::env::current_exe().expect("its path");
    let content = std::fs::read(&path).expect("its content");
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let program = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (Artifact { sha256, bytes: content.len() as u64, program, is_debug: cfg!(debug_assertions) }, content)
}

/// One that has this executable already.
fn nimbus() -> FakeNimbus {
    FakeNimbus::start(State { complete: vec![own_artifact().0], ..State::default() })
}

#[test]
fn an_interrupted_upload_is_resumed_and_arrives_whole() {
    let (artifact, content) = own_artifact();
    let nimbus = FakeNimbus::start(State { interruptions: vec![3 << 20, 1 << 20], ..State::default() });
    nimbus.call(&["submit", &example("word-count/topology.yaml")]).expect(0);
    let state = nimbus.state();
    assert!(state.complete.contains(&artifact));
    assert!(state.artifacts[&artifact.sha256] == content);
    assert_eq!(state.offsets, [0, 1 << 20, 4 << 20]);
    assert_eq!(state.submitted[0].spec.as_ref().and_then(|spec| spec.artifact.clone()), Some(artifact));
}

#[test]
fn an_upload_that_gets_nowhere_is_given_up_and_says_how_much_it_was() {
    let nimbus =
        FakeNimbus::start(State { refusal: Some(Status::resource_exhausted("1 GiB at most")), ..State::default() });
    let ran = nimbus.call(&["submit", &example("word-count/topology.yaml"), "--output=json"]).expect(1);
    let (artifact, _) = own_artifact();
    let told = format!("error: cannot upload {} ({} bytes): 1 GiB at most\n", artifact.program, artifact.bytes);
    assert_eq!((ran.stderr.as_str(), &ran.json()["error"]["code"]), (told.as_str(), &json!("resource_exhausted")));
    assert!(nimbus.state().submitted.is_empty());
}

#[test]
fn the_specification_says_all_that_schedulers_and_workers_need() {
    let nimbus = nimbus();
    let topology = example("word-count/topology.yaml");
    let args =
        ["submit", &topology, "--set", "output=out.tsv", "-c", "topology.debug=false", "-n", "3", "--name", "7.5"];
    let ran = nimbus.call(&[&args[..], &["--inactive"]].concat()).expect(0);
    assert_eq!(ran.stdout, "words-1\n");
    let here = std::env::current_dir().expect("the current folder").join("out.tsv");
    assert_eq!(ran.stderr, format!("note: `save.path`: `out.tsv` is sent as `{}`\n", here.display()));
    let state = nimbus.state();
    let request = &state.submitted[0];
    let spec = request.spec.as_ref().expect("a specification");
    assert!(request.is_inactive);
    assert_eq!(spec.name, "7.5");
    let config: BTreeMap<String, Json> = serde_json::from_str(&spec.config).expect("JSON");
    let expected = json!({
        "topology.debug": false, "topology.name": "7.5", "topology.workers": 3,
        "topology.max.spout.pending": 1000, "topology.message.timeout.secs": 30,
    });
    assert_eq!(json!(config), expected);
    let shown = spec.components.iter().map(|of| {
        let streams = of.streams.iter().map(|stream| format!("{}{:?}", stream.id, stream.fields));
        let inputs = of.inputs.iter().map(|input| format!("{}.{} {}", input.from, input.stream, input.grouping));
        let kind = if of.is_spout { "spout" } else { "bolt" };
        let (streams, inputs) = (streams.collect::<Vec<_>>().join(" "), inputs.collect::<Vec<_>>().join(" "));
        format!(
            "{} {kind} {} {} {}+{} -> {streams} <- {inputs}\n",
            of.id, of.type_name, of.executors, of.first_task, of.tasks
        )
    });
    insta::assert_snapshot!(shown.collect::<String>(), @r#"
lines spout file-lines 1 1+1 -> default["line"] <- 
split bolt split-words 2 2+4 -> default["word"] <- lines.default LOCAL_OR_SHUFFLE
count bolt count-by 2 6+2 -> default["word", "count"] <- split.default FIELDS [word]
top bolt top-n 1 8+1 -> default["word", "count"] <- count.default GLOBAL
print bolt console 1 9+1 ->  <- top.default SHUFFLE
save bolt file-sink 1 10+1 ->  <- count.default GLOBAL
"#);
    // A worker makes the same of it, wherever it runs.
    let again = Flux::resolved(&spec.definition).load(&Registry::stock()).expect("a topology");
    assert_eq!((again.topology.name(), &again.definition), ("7.5", &spec.definition));
    let folder = example("word-count");
    assert!(spec.definition.contains(&format!("path: {folder}/text.txt")), "{}", spec.definition);
    assert!(spec.definition.contains(&format!("path: {}", here.display())), "{}", spec.definition);
}

#[test]
fn notes_are_told_on_stderr_or_in_the_json() {
    let nimbus = nimbus();
    nimbus.state().notes = vec!["this is a debug build".into()];
    let topology = example("word-count/topology.yaml");
    let ran = nimbus.call(&["submit", &topology]).expect(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("words-1\n", "note: this is a debug build\n"));
    let ran = nimbus.call(&["submit", &topology, "--output", "json"]).expect(0);
    assert_eq!(ran.stdout, "{\"id\":\"words-1\",\"notes\":[\"this is a debug build\"]}\n");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_wrong_topology_is_told_before_anything_is_sent() {
    let nimbus = nimbus();
    let (_folder, broken) = file("broken.yaml", "name: t\nspouts: [{id: a, className: file-lines}]\n");
    let ran = nimbus.call(&["submit", &broken]).expect(1);
    assert!(ran.stderr.contains("property `path` is missing"), "{}", ran.stderr);
    let yaml = std::fs::read_to_string(example("word-count/topology.yaml")).expect("the example");
    let (_folder, unnamed) = file("topology.yaml", yaml.replacen("name: word-count", "name: _words", 1));
    let ran = nimbus.call(&["submit", &unnamed, "--output=json"]).expect(1);
    assert_eq!(ran.json()["error"]["code"], "bad_name", "{ran:?}");
    assert!(ran.stderr.contains("`_words` is no name for a topology on a cluster"), "{}", ran.stderr);
    assert!(ran.stderr.contains("`--name` gives it another"), "{}", ran.stderr);
    assert!(nimbus.state().asked.is_empty());
}

#[test]
fn every_example_and_stock_type_survives_being_sent() {
    let files = ["word-count/topology.yaml", "word-count/socket.yaml", "rolling-top-words/topology.yaml"];
    for path in files {
        let flux = Flux::read(example(path)).absolute_paths("/somewhere");
        let flux = if path.contains("socket") { flux.set("port", "9999") } else { flux };
        let first = flux.load(&Registry::stock()).unwrap_or_else(|error| panic!("{error}"));
        let second =
            Flux::resolved(&first.definition).load(&Registry::stock()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(second.definition, first.definition);
        let sizes = |topology: &Topology| {
            let of = topology.components().iter();
            of.map(|of| format!("{} {} {:?} {:?} {:?}", of.id, of.executors, of.tasks, of.output, of.inputs))
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&second.topology), sizes(&first.topology));
        assert_eq!(second.topology.config(), first.topology.config());
    }
}
