//! Everything that is wrong with a file is told at its place, in one run.

use crate::components::{error, read, registry, told};

/// A good file, to be spoilt.
const GOOD: &str = "\
name: good
spouts:
  - id: lines
    className: lines
    properties: {path: a.txt}
bolts:
  - id: split
    className: split
    properties: {field: line}
streams:
  - from: lines
    to: split
    grouping: {type: SHUFFLE}
";

fn spoilt(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    let text = GOOD.replacen(from, to, 1);
    match read(&text).load(&registry()) {
        Ok(loaded) => told(&loaded.warnings),
        Err(error) => told(&error.diagnostics),
    }
}

#[test]
fn ten_different_mistakes_give_ten_located_messages_in_one_run() {
    let error = error(
        "\
name: ten
config:
  topology.wrkers: 2
  topology.debug: yes
nmae: other
spouts:
  - id: lines
    className: lines
    parallelism: two
    properties: {path: a.txt, folow: true}
bolts:
  - id: split
    className: splt
  - id: count
    className: split
    type: split
  - id: print
    className: print
    paralelism: 2
streams:
  - from: lines
    to: split
    grouping: {type: SHUFLE}
  - from: lines
    to: print
    grouping: {type: FIELDS, args: [lines]}
  - from: lines
    to: prnt
    grouping: {type: SHUFFLE}
",
    );
    insta::assert_snapshot!(error, @r#"
error: unknown config key `topology.wrkers`; did you mean `topology.workers`?
 --> topology.yaml:3:3
  |
3 |   topology.wrkers: 2
  |   ^^^^^^^^^^^^^^^

error: `topology.debug` is string `yes`, expected true or false
 --> topology.yaml:4:19
  |
4 |   topology.debug: yes
  |                   ^^^
  = help: YAML 1.2 has only `true` and `false` as booleans

error: unknown key `nmae` in a topology; did you mean `name`?
 --> topology.yaml:5:1
  |
5 | nmae: other
  | ^^^^

error: `parallelism` is the string `two`, expected a whole number from 1 on
 --> topology.yaml:9:18
  |
9 |     parallelism: two
  |                  ^^^

error: unknown property `folow`; did you mean `follow`?
  --> topology.yaml:10:31
   |
10 |     properties: {path: a.txt, folow: true}
   |                               ^^^^^

error: no bolt type `splt` is registered; did you mean `split`?
  --> topology.yaml:13:16
   |
13 |     className: splt
   |                ^^^^
   = help: `types` on the command line lists what this program registers

error: bolt `count` has no input
  --> topology.yaml:14:9
   |
14 |   - id: count
   |         ^^^^^

error: both `className` and `type`; they mean the same, keep one
  --> topology.yaml:16:5
   |
16 |     type: split
   |     ^^^^

error: unknown key `paralelism` in a bolt; did you mean `parallelism`?
  --> topology.yaml:19:5
   |
19 |     paralelism: 2
   |     ^^^^^^^^^^

error: unknown grouping `SHUFLE`; did you mean `SHUFFLE`?
  --> topology.yaml:23:22
   |
23 |     grouping: {type: SHUFLE}
   |                      ^^^^^^
   = help: expected `SHUFFLE`, `FIELDS`, `GLOBAL`, `ALL`, `LOCAL_OR_SHUFFLE`, `NONE`, `DIRECT`, `PARTIAL_KEY` or `CUSTOM`

error: stream `default` of `lines` has no field `lines`; did you mean `line`? (fields: [line])
  --> topology.yaml:26:37
   |
26 |     grouping: {type: FIELDS, args: [lines]}
   |                                     ^^^^^

error: the stream leads to unknown bolt `prnt`; did you mean `print`?
  --> topology.yaml:28:9
   |
28 |     to: prnt
   |         ^^^^

12 errors
"#);
}

#[test]
fn graph_problems_are_told_at_what_they_are_about() {
    insta::assert_snapshot!(spoilt("name: good", "name: so good"), @r#"1:7: `so good` is no name for a topology; allowed are letters, digits, `-`, `_` and `.`, up to 200 of them, not starting with `.`"#);
    insta::assert_snapshot!(spoilt("name: good\n", ""), @r#"
1:1: a topology without `name`
  add for example `name: word-count`
"#);
    insta::assert_snapshot!(spoilt("from: lines", "from: line"), @r#"11:11: `split` receives from unknown component `line`; did you mean `lines`?"#);
    insta::assert_snapshot!(spoilt("from: lines", "from: split"), @r#"7:9: a cycle: split -> split; graphs with cycles are refused"#);
    insta::assert_snapshot!(spoilt("to: split", "to: lines"), @r#"
7:9: bolt `split` has no input
12:9: `lines` is a spout and receives nothing; a stream leads to a bolt
"#);
    insta::assert_snapshot!(spoilt("id: split", "id: lines"), @r#"
7:9: a second component with the id `lines`
12:9: the stream leads to unknown bolt `split`
"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: SHUFFLE, streamId: rests}"), @r#"13:41: `lines` declares no stream `rests` (declared: `default`)"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: FIELDS, args: [line, word]}"), @r#"13:43: stream `default` of `lines` has no field `word` (fields: [line])"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: FIELDS}"), @r#"13:22: FIELDS grouping names no field"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: SHUFFLE, args: [line]}"), @r#"13:31: `args` have no effect: SHUFFLE grouping takes no fields"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: CUSTOM}"), @r#"
13:22: CUSTOM grouping without `customClass`
  name one that the program registers: `customClass: {className: ...}`
"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: CUSTOM, customClass: {className: nht}}"), @r#"
13:55: no grouping type `nht` is registered
  `types` on the command line lists what this program registers
"#);
    insta::assert_snapshot!(spoilt("{type: SHUFFLE}", "{type: ALL, customClass: {className: nth}}"), @r#"13:27: `customClass` with ALL grouping, expected CUSTOM"#);
    insta::assert_snapshot!(spoilt("    grouping: {type: SHUFFLE}\n", ""), @r#"
11:5: a stream without `grouping`
  add for example `grouping: {type: SHUFFLE}`
"#);
    insta::assert_snapshot!(spoilt("    properties: {path", "    parallelism: 0\n    properties: {path"), @r#"5:18: `lines` has parallelism 0, expected at least 1"#);
    insta::assert_snapshot!(spoilt("    properties: {path", "    parallelism: 4\n    numTasks: 2\n    properties: {path"), @r#"6:15: `lines` has 4 executors for 2 tasks; an executor needs a task"#);
}

#[test]
fn yaml_problems_are_told_at_their_place() {
    insta::assert_snapshot!(spoilt("name: good", "name: good\nname: better"), @r#"
2:1: duplicate key `name`
  its first value stands on line 1
"#);
    insta::assert_snapshot!(spoilt("name: good", "name: [good"), @r#"2:7: not valid YAML: illegal placement of ':' indicator"#);
    insta::assert_snapshot!(spoilt("name: good", "name:\tgood\n\tx: y"), @r#"1:7: not valid YAML: ':' must be followed by a valid YAML whitespace"#);
    insta::assert_snapshot!(spoilt("name: good", "name: *good"), @r#"1:7: not valid YAML: while parsing node, found unknown anchor"#);
    insta::assert_snapshot!(spoilt("name: good", "name: !java good"), @r#"1:7: the tag `!java` means nothing here"#);
    insta::assert_snapshot!(spoilt("name: good", "{a: b}: good"), @r#"
1:1: a map as a key; keys are text
  a value that starts with `{` or `[` needs quotes, as in "{...}"
"#);
    insta::assert_snapshot!(spoilt("name: good", "name: good\n---\nname: other"), @r#"2:1: a second document; a file holds one topology"#);
    insta::assert_snapshot!(spoilt("name: good", "<<: good"), @r#"
1:1: a topology without `name`
  add for example `name: word-count`
1:5: `<<` takes a map or a list of maps, found the string `good`
  name an anchored map, as in `<<: *defaults`
"#);
    insta::assert_snapshot!(told(&error("").diagnostics), @r#"1:1: the file is empty; a topology has `name`, `spouts`, `bolts` and `streams`"#);
    insta::assert_snapshot!(told(&error("- 1\n- 2\n").diagnostics), @r#"1:1: a topology is a list, expected a map"#);
}

#[test]
fn wrong_kinds_are_told_with_what_is_expected() {
    insta::assert_snapshot!(spoilt("name: good", "name: 5"), @r#"
1:7: `name` is the integer `5`, expected a string
  write "5" for the string
"#);
    insta::assert_snapshot!(spoilt("name: good", "name: good\nconfig: [1]"), @r#"2:9: `config` is a list, expected a map"#);
    insta::assert_snapshot!(spoilt("name: good", "name: good\nworkerHooks: none"), @r#"2:14: `workerHooks` is the string `none`, expected a list"#);
    insta::assert_snapshot!(spoilt("    properties: {path", "    blocking: on\n    properties: {path"), @r#"
5:15: `blocking` is the string `on`, expected true or false
  YAML 1.2 has only `true` and `false` as booleans
"#);
    insta::assert_snapshot!(spoilt("    properties: {path", "    cpuLoad: -1\n    properties: {path"), @r#"5:14: `cpuLoad` is the integer `-1`, expected a number from 0 on"#);
    insta::assert_snapshot!(spoilt("properties: {path: a.txt}", "properties: a.txt"), @r#"5:17: `properties` is the string `a.txt`, expected a map, or a list of {name, value}"#);
    insta::assert_snapshot!(spoilt("id: lines", "id:"), @r#"3:5: `id` is empty"#);
    insta::assert_snapshot!(spoilt("className: lines", "className: split"), @r#"4:16: `split` is a bolt type, expected a spout type"#);
    insta::assert_snapshot!(spoilt("className: lines", "parallelism: 1"), @r#"3:5: a spout without `className`"#);
}

#[test]
fn topology_source_says_what_to_do_instead() {
    let text = GOOD.replace("name: good", "name: good\ntopologySource: {className: com.example.Source}");
    insta::assert_snapshot!(error(&text), @r#"
error: `topologySource` names Java code that builds the topology
 --> topology.yaml:2:1
  |
2 | topologySource: {className: com.example.Source}
  | ^^^^^^^^^^^^^^
  = help: write the graph here as `spouts`, `bolts` and `streams`, or build it in Rust by `TopologyBuilder`

1 error
"#);
}

#[test]
fn columns_are_counted_in_characters() {
    let text = GOOD.replace("{path: a.txt}", "{path: \"größe/日本語\", pth: 1}");
    insta::assert_snapshot!(error(&text), @r#"
error: unknown property `pth`; did you mean `path`?
 --> topology.yaml:5:37
  |
5 |     properties: {path: "größe/日本語", pth: 1}
  |                                     ^^^

1 error
"#);
}

#[test]
fn long_lines_are_shown_around_the_place() {
    let text = GOOD.replace("{path: a.txt}", &format!("{{path: \"{}\", pth: 1, z: \"{0}\"}}", "x".repeat(1000)));
    let error = error(&text).to_string();
    assert!(error.lines().all(|line| line.chars().count() < 140), "{error}");
    assert!(error.contains("pth: 1"), "{error}");
}

#[test]
fn unreadable_file_is_told() {
    let error = galerna_flux::Flux::read("/nowhere/topology.yaml").build(&registry()).unwrap_err();
    insta::assert_snapshot!(error, @r#"
error: cannot read `/nowhere/topology.yaml`: No such file or directory (os error 2)
 --> /nowhere/topology.yaml

1 error
"#);
}

#[test]
fn problems_are_data_for_scripts() {
    let found = serde_json::to_value(&error(&GOOD.replace("to: split", "to: splt")).diagnostics).unwrap();
    insta::assert_snapshot!(found, @r#"[{"file":"topology.yaml","line":12,"column":9,"severity":"error","message":"the stream leads to unknown bolt `splt`; did you mean `split`?"}]"#);
}

#[test]
fn byte_order_mark_and_carriage_returns_move_no_place() {
    let text = format!("\u{feff}nmae: x\n{GOOD}").replace('\n', "\r\n");
    insta::assert_snapshot!(error(&text), @r#"
error: unknown key `nmae` in a topology; did you mean `name`?
 --> topology.yaml:1:1
  |
1 | nmae: x
  | ^^^^

1 error
"#);
}

#[test]
fn file_that_is_no_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("topology.yaml");
    std::fs::write(&file, b"name: a\nspouts: \xff\n").unwrap();
    let error = galerna_flux::Flux::read(&file).build(&registry()).unwrap_err();
    assert!(error.diagnostics[0].message.ends_with("it is not UTF-8 text (line 2)"), "{error}");
}

#[test]
fn stream_given_twice_counts_once_with_a_warning() {
    let stream = "  - {from: lines, to: split, grouping: {type: shuffle, streamId: default}}\n";
    let loaded = read(&format!("{GOOD}{stream}{stream}")).load(&registry()).unwrap();
    assert_eq!(loaded.topology.component("split").unwrap().inputs.len(), 1);
    insta::assert_snapshot!(told(&loaded.warnings), @r"
14:5: `split` receives `lines` already, by the same grouping (topology.yaml:11:5); this stream has no effect
15:5: `split` receives `lines` already, by the same grouping (topology.yaml:11:5); this stream has no effect
");
    let nth = |n| {
        format!(
            "  - {{from: split, to: split2, grouping: {{type: CUSTOM, customClass: {{className: nth, properties: {{n: {n}}}}}}}}}\n"
        )
    };
    let split2 = "  - {id: split2, className: split, properties: {field: word}}\nstreams:\n";
    let text = GOOD.replace("streams:\n", split2);
    let same = read(&format!("{text}{}{}", nth(1), nth(1))).load(&registry()).unwrap();
    assert_eq!((same.topology.component("split2").unwrap().inputs.len(), same.warnings.len()), (1, 1));
    insta::assert_snapshot!(error(&format!("{text}{}{}", nth(1), nth(2))), @r"
error: `split2` receives `split` by two groupings: CUSTOM nth and CUSTOM nth
  --> topology.yaml:16:48
   |
16 |   - {from: split, to: split2, grouping: {type: CUSTOM, customClass: {className: nth, properties: {n: 2}}}}
   |                                                ^^^^^^
   = help: keep one; the other is at topology.yaml:15:5

1 error
");
}

#[test]
fn stream_given_twice_by_different_groupings_is_an_error() {
    let stream = "  - {from: lines, to: split, grouping: {type: FIELDS, args: [line]}}\n";
    insta::assert_snapshot!(error(&format!("{GOOD}{stream}")), @r"
error: `split` receives `lines` by two groupings: SHUFFLE and FIELDS [line]
  --> topology.yaml:14:47
   |
14 |   - {from: lines, to: split, grouping: {type: FIELDS, args: [line]}}
   |                                               ^^^^^^
   = help: keep one; the other is at topology.yaml:11:5

1 error
");
}
