//! What was read is written as a file with everything resolved, and read again to the same.

use std::collections::BTreeMap;
use std::path::PathBuf;

use galerna_flux::{Flux, Registry};
use galerna_topology_api::{Bolt, BoltResult, ComponentKind, Emitter, Streams, Topology, Tuple};
use proptest::prelude::*;
use serde::Deserialize;

use crate::components::{probed_with, read, registry};

/// All that a topology tells of itself, references' addresses aside.
pub(crate) fn described(topology: &Topology) -> String {
    let mut text = format!("{} {:?} {}\n", topology.name(), topology.config(), topology.worker_hooks().len());
    for of in topology.components() {
        let output = match &of.kind {
            ComponentKind::Spout(make) => make().unwrap().output(),
            ComponentKind::Bolt(make) => make().unwrap().output(),
        };
        let (tasks, load) = (&of.tasks, &of.load);
        let output: Vec<_> = output.iter().filter(|stream| stream.id != "at").collect();
        let is = (of.executors, tasks, of.is_blocking, &of.config, load, &of.inputs);
        text += &format!("{} {:?} {is:?} {output:?}\n", of.id, of.type_name);
    }
    text
}

/// Reads what a file was resolved to, and checks that it is the same topology, resolved the same.
#[track_caller]
pub(crate) fn read_again(flux: &Flux, registry: &Registry) -> Topology {
    let first = flux.load(registry).unwrap();
    let second = Flux::resolved(&first.definition).load(registry);
    let second = second.unwrap_or_else(|error| panic!("{}\n{error}", first.definition));
    assert_eq!(described(&second.topology), described(&first.topology), "{}", first.definition);
    assert_eq!(second.definition, first.definition);
    second.topology
}

#[test]
fn file_with_every_key_survives_and_reads_well() {
    let flux = read(include_str!("good.yaml")).set("input", "7").config("more", "{a: ['1', 1, 1.0, 1e300, ~]}");
    read_again(&flux, &registry());
    insta::assert_snapshot!(flux.load(&registry()).unwrap().definition, @r#"
# Everything is resolved: nothing is substituted or included here.
name: everything
config:
  topology.workers: 2
  mine:
    - 1
    - two
    - three: 3.5
  more:
    a: ["1", 1, 1.0, 1e300, null]
components:
  - id: pool
    className: pool
    constructorArgs: [3]
workerHooks:
  - className: hook
spouts:
  - id: lines
    className: lines
    properties:
      path: !set "7"
    parallelism: 2
    numTasks: 5
    config:
      topology.tick.tuple.freq.secs: 5
bolts:
  - id: split
    className: split
    constructorArgs: [line, true]
    blocking: true
    cpuLoad: 50.0
    onHeapMemoryLoad: 128.5
  - id: again
    className: split
    constructorArgs: [word]
    blocking: true
    cpuLoad: 50.0
    onHeapMemoryLoad: 128.5
  - id: print
    className: org.apache.storm.flux.wrappers.bolts.LogInfoBolt
streams:
  - name: "lines --> split"
    from: lines
    to: split
    grouping:
      type: LOCAL_OR_SHUFFLE
  - from: split
    to: again
    grouping:
      type: FIELDS
      args: [word]
  - from: split
    to: again
    grouping:
      type: PARTIAL_KEY
      args: [line, "true"]
      streamId: rest
  - from: again
    to: print
    grouping:
      type: CUSTOM
      customClass:
        className: nth
        properties:
          "n": 4
  - from: lines
    to: print
    grouping:
      type: GLOBAL
"#);
}

#[test]
fn references_factories_methods_and_includes_survive() {
    let folder = tempfile::tempdir().unwrap();
    let main =
        "name: ${name}\nincludes: [{file: more.yaml}]\nspouts: [{id: a, className: lines, properties: {path: x}}]\n";
    let more = "\
components:
  - {id: small, className: pool, properties: {size: 3}}
  - {id: 'big: one', className: pool, properties: [{name: size, value: 9}, {name: parent, ref: small}]}
  - {id: name, className: label, constructorArgs: ['yes']}
bolts:
  - {id: b, className: lookup, constructorArgs: [{ref: small}, {reflist: [small, 'big: one']}],
     configMethods: [{name: withPool, args: [{ref: 'big: one'}]}]}
  - {id: c, className: lookup, properties: {pool: {ref: 'big: one'}, others: {reflist: [small]}}}
  - {id: d, className: split, factory: 'on', factoryArgs: ['${field}'], configMethods: [{name: lowercase, args: [true]}]}
streams:
  - {from: a, to: b, grouping: {type: ALL}}
  - {from: a, to: c, grouping: {type: ALL}}
  - {from: a, to: d, grouping: {type: ALL}}
";
    std::fs::write(folder.path().join("main.yaml"), main).unwrap();
    std::fs::write(folder.path().join("more.yaml"), more).unwrap();
    let flux = Flux::read(folder.path().join("main.yaml")).set("name", "1.5").set("field", "5");
    let topology = read_again(&flux, &registry());
    let output = |id: &str| topology.component(id).unwrap().output.iter().next().unwrap().fields.to_string();
    assert_eq!([output("b"), output("c")], ["[[3, 109, 109, 3]]", "[[3, 109]]"].map(str::to_owned));
    assert_eq!(topology.component("d").unwrap().output.get("rest").unwrap().fields.to_string(), "[5, true]");
    insta::assert_snapshot!(flux.load(&registry()).unwrap().definition, @r#"
# Everything is resolved: nothing is substituted or included here.
name: "1.5"
components:
  - id: small
    className: pool
    properties:
      size: 3
  - id: "big: one"
    className: pool
    properties:
      - name: size
        value: 9
      - name: parent
        ref: small
  - id: name
    className: label
    constructorArgs: ["yes"]
spouts:
  - id: a
    className: lines
    properties:
      path: x
bolts:
  - id: b
    className: lookup
    constructorArgs:
      - ref: small
      - reflist: [small, "big: one"]
    configMethods:
      - name: withPool
        args:
          - ref: "big: one"
  - id: c
    className: lookup
    properties:
      pool:
        ref: "big: one"
      others:
        reflist: [small]
  - id: d
    className: split
    factory: "on"
    factoryArgs: [!set "5"]
    configMethods:
      - name: lowercase
        args: [true]
streams:
  - from: a
    to: b
    grouping:
      type: ALL
  - from: a
    to: c
    grouping:
      type: ALL
  - from: a
    to: d
    grouping:
      type: ALL
"#);
}

#[test]
fn what_was_substituted_keeps_the_kind_that_its_place_asked_for() {
    let all = "    properties:\n      text: \"${n}\"\n      count: ${n}\n      ratio: \"${n}\"\n      words: [\"${n}\", \"${e}\"]\n      \
               anything: ${n}";
    let given = probed_with(all, |flux| flux.set("n", "007").set("e", "")).unwrap();
    assert_eq!(
        given,
        r#"text: Some("007"), count: Some(7), ratio: Some(7.0), words: ["007", ""], anything: Some(Int(7))"#
    );
    let quoted = probed_with("    properties: {anything: \"${n}\"}", |flux| flux.set("n", "007")).unwrap();
    assert_eq!(quoted, r#"anything: Some(Text("007"))"#);
}

#[test]
fn dollars_and_includes_in_a_resolved_file_are_not_looked_at() {
    let literal = probed_with("    properties: {text: \"$${input} ${x}\"}", |flux| flux.set("x", "${y}")).unwrap();
    assert_eq!(literal, r#"text: Some("${input} ${y}")"#);
    let error = Flux::resolved("name: t\nincludes: [{file: /etc/passwd}]\n").build(&registry()).unwrap_err();
    assert!(error.to_string().contains("a topology with everything resolved includes nothing"), "{error}");
    let error = read("name: !set t\n").build(&registry()).unwrap_err();
    assert!(error.to_string().contains("the tag `!set` means nothing here"), "{error}");
}

/// Shows its paths as the names of fields.
#[derive(Deserialize, Debug, Clone)]
#[allow(dead_code, reason = "read by Debug only")]
struct Reads {
    path: PathBuf,
    #[serde(default)]
    label: String,
    #[serde(default)]
    more: Vec<PathBuf>,
    #[serde(default)]
    tls: BTreeMap<String, Option<PathBuf>>,
}

impl Bolt for Reads {
    fn output(&self) -> Streams {
        Streams::default_fields([format!("{self:?}")])
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[test]
fn relative_paths_become_absolute_and_are_listed_and_other_text_is_left() {
    let registry = registry().bolt::<Reads>("reads").component::<Reads>("read").config_method(
        "reads",
        "also",
        |reads: &mut Reads, path: PathBuf| reads.more.push(path),
    );
    let yaml = "\
name: t
components: [{id: shared, className: read, properties: {path: shared.txt}}]
spouts: [{id: a, className: lines, properties: {path: lines.txt}}]
bolts:
  - &b
    id: b
    className: reads
    properties: {path: &p ./data/x.txt, label: data/x.txt, more: [/abs/y, ../y], tls: {ca: \"${ca}\", key: ~}}
    configMethods: [{name: also, args: [a b]}]
  - {<<: *b, id: c, properties: {path: \"${topology.dir}/z\", label: *p}}
  - {id: d, className: reads, constructorArgs: [e]}
streams:
  - {from: a, to: b, grouping: {type: ALL}}
  - {from: a, to: c, grouping: {type: ALL}}
  - {from: a, to: d, grouping: {type: ALL}}
";
    let flux = Flux::from_text("sub/topology.yaml", yaml).set("ca", "7");
    assert_eq!(flux.load(&registry).unwrap().made_absolute, []);
    let flux = flux.absolute_paths("/work dir");
    let loaded = flux.load(&registry).unwrap();
    let told: Vec<_> = loaded.made_absolute.iter().map(|path| format!("{path}\n")).collect();
    insta::assert_snapshot!(told.concat(), @r#"
`shared.path`: `shared.txt` is sent as `/work dir/shared.txt`
`b.path`: `./data/x.txt` is sent as `/work dir/data/x.txt`
`b.more[1]`: `../y` is sent as `/work dir/../y`
`b.tls.ca`: `7` is sent as `/work dir/7`
`b.also[0]`: `a b` is sent as `/work dir/a b`
`c.also[0]`: `a b` is sent as `/work dir/a b`
`d.constructorArgs[0]`: `e` is sent as `/work dir/e`
"#);
    let sent = Flux::resolved(&loaded.definition).absolute_paths("/elsewhere").load(&registry).unwrap();
    assert_eq!((sent.definition, sent.made_absolute), (loaded.definition, Vec::new()));
    let given = |id: &str| sent.topology.component(id).unwrap().output.get("default").unwrap().fields.to_string();
    insta::assert_snapshot!(format!("{}\n{}\n{}", given("b"), given("c"), given("d")), @r#"
[Reads { path: "/work dir/data/x.txt", label: "data/x.txt", more: ["/abs/y", "/work dir/../y", "/work dir/a b"], tls: {"ca": Some("/work dir/7"), "key": None} }]
[Reads { path: "/work dir/sub/z", label: "./data/x.txt", more: ["/work dir/a b"], tls: {} }]
[Reads { path: "/work dir/e", label: "", more: [], tls: {} }]
"#);
}

/// Texts that YAML might take for something else.
fn awkward() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "007", "yes", "null", "~", "true", "1e3", ".inf", "0x1F", "${a}", "$${", "- ", ": ", "#", " #", "\n", "\n\n",
        "\r", "\t", " ", "  ", "'", "\"", "\\", "|", ">", "!set ", "&a", "*a", "<<", "{", "}", "[", "]", ",", "%", "@",
        "`", "---", "...", "?", "é", "\u{85}", "\u{2028}", "\u{feff}", "\u{0}", "\u{7f}", "\u{fffe}", "🌪", "word",
        "a b",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat()),
        any::<String>(),
        "[a-z \n]{0,40}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_survives_as_value_as_key_and_substituted(
        texts in prop::collection::vec(awkward(), 1..4), length in 0..2_000usize, number in any::<f64>(), integer in any::<i64>(),
    ) {
        let json = |text: &str| serde_json::to_string(text).unwrap().replace("${", "$${");
        let lists = texts.iter().map(|text| json(text)).collect::<Vec<_>>().join(", ");
        let long = json(&format!("{}{}", texts[0], "k".repeat(length)));
        let yaml = format!(
            "name: t\nconfig: {{? {long} : [{lists}], b: {{? {long} : {number:?}}}, c: {integer}, d: {{e: [[], {{}}, [{lists}]]}}}}\n\
             spouts: [{{id: a, className: lines, properties: {{path: \"${{x}}\"}}}}]\n\
             bolts: [{{id: p, className: probe, properties: {{text: {}, words: [\"${{x}}\", {lists}], table: {{? {long} : 1}}}}}}]\n\
             streams: [{{from: a, to: p, name: {}, grouping: {{type: ALL}}}}]\n",
            json(&texts[0]), json(&texts[0]),
        );
        let flux = read(&yaml).set("x", texts[texts.len() - 1].as_str());
        prop_assume!(flux.load(&registry()).is_ok());
        read_again(&flux, &registry());
    }
}
