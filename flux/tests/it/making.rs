//! Components are made by their own serde types, and what these refuse is told at its place.

use galerna_topology_api::{BatchBolt, BatchEmitter, BoltResult, Fields, Streams, TupleBatch};

use crate::components::{error, probed, read, registry, told};

fn refused(properties: &str) -> String {
    told(&probed(properties).unwrap_err().diagnostics)
}

#[test]
fn properties_take_the_types_of_their_fields() {
    let given = probed(
        "    properties: {text: \"5\", count: 5, ratio: 2, isOn: true, words: [a, no], format: json-lines, wait: 5s}",
    );
    insta::assert_snapshot!(given.unwrap(), @r#"text: Some("5"), count: Some(5), ratio: Some(2.0), is_on: Some(true), words: ["a", "no"], format: Some(JsonLines), wait: Some(HumanDuration(5s))"#);
    let given = probed("    properties: {table: {a: 1, 'b': 2}, retries: {limit: 3}, anything: [1, 'x', true]}");
    insta::assert_snapshot!(given.unwrap(), @r#"table: {"a": 1, "b": 2}, retries: Some(Retries { limit: 3, backoff: None }), anything: Some(List([Int(1), Text("x"), Bool(true)]))"#);
    let list = "    properties:\n      - {name: count, value: 7}\n      - name: text\n        value: |\n          two\n          lines\n";
    insta::assert_snapshot!(probed(list).unwrap(), @r#"text: Some("two\nlines\n"), count: Some(7)"#);
}

#[test]
fn wrong_properties_are_told_with_place_and_expectation() {
    insta::assert_snapshot!(refused("    properties: {txt: a}"), @r#"7:18: unknown property `txt`; did you mean `text`?"#);
    insta::assert_snapshot!(refused("    properties: {text: 5}"), @r#"
7:24: `text` is the integer `5`, expected a string
  write "5" for the string
"#);
    insta::assert_snapshot!(refused("    properties: {count: 70000}"), @r#"7:25: `count` is the integer `70000`, expected a whole number from 0 to 65535"#);
    insta::assert_snapshot!(refused("    properties: {count: \"5\"}"), @r#"7:25: `count` is the string `5`, expected a whole number from 0 to 65535"#);
    insta::assert_snapshot!(refused("    properties: {ratio: much}"), @r#"7:25: `ratio` is the string `much`, expected a number"#);
    insta::assert_snapshot!(refused("    properties: {isOn: yes}"), @r#"
7:24: `isOn` is the string `yes`, expected true or false
  YAML 1.2 has only `true` and `false` as booleans
"#);
    insta::assert_snapshot!(refused("    properties: {words: a}"), @r#"7:25: `words` is the string `a`, expected a list"#);
    insta::assert_snapshot!(refused("    properties: {words: [a, [b]]}"), @r#"7:29: an item of `words` is a list, expected a string"#);
    insta::assert_snapshot!(refused("    properties: {format: tvs}"), @r#"
7:26: unknown value `tvs`
  expected `text`, `tsv` or `json-lines`
"#);
    insta::assert_snapshot!(refused("    properties: {wait: soon}"), @r#"7:24: `soon` is not a duration; write for example 100ms, 5s, 2m or 1h30m"#);
    insta::assert_snapshot!(refused("    properties: {table: {a: b}}"), @r#"7:29: `a` is the string `b`, expected a whole number"#);
    insta::assert_snapshot!(refused("    properties: {retries: {limits: 3, limit: 1}}"), @r#"7:28: unknown property `limits`; did you mean `limit`?"#);
    insta::assert_snapshot!(refused("    properties: {retries: {}}"), @r#"7:27: property `limit` is missing"#);
    insta::assert_snapshot!(refused("    properties: {anything: {a: 1}}"), @r#"7:28: this has none of the forms that are accepted here"#);
    insta::assert_snapshot!(refused("    properties: {text: {ref: pool}}"), @r#"7:24: `text` is a map, expected a string"#);
}

#[test]
fn several_mistakes_in_one_component_are_told_together() {
    insta::assert_snapshot!(refused("    properties: {txt: a, count: x, isOn: no, retries: {limits: 3}}"), @r#"
7:18: unknown property `txt`; did you mean `text`?
7:33: `count` is the string `x`, expected a whole number from 0 to 65535
7:42: `isOn` is the string `no`, expected true or false
  YAML 1.2 has only `true` and `false` as booleans
7:56: unknown property `limits`; did you mean `limit`?
"#);
}

#[test]
fn bolts_that_take_many_tuples_are_made_of_their_properties_or_by_a_factory() {
    #[derive(serde::Deserialize)]
    struct Gather {
        fields: Vec<String>,
    }
    impl BatchBolt for Gather {
        fn output(&self) -> Streams {
            Streams::default_fields(self.fields.clone())
        }
        async fn execute_batch(&mut self, _: &TupleBatch<'_>, _: &mut BatchEmitter<'_>) -> BoltResult {
            Ok(())
        }
    }
    let of_text = |text: String| Ok(Gather { fields: text.split('-').map(str::to_owned).collect() });
    let registry = registry().batch_bolt::<Gather>("gather").batch_bolt_factory("gather-text", of_text);
    for bolt in ["className: gather, properties: {fields: [a, b]}", "className: gather-text, constructorArgs: [a-b]"] {
        let text = format!(
            "name: t\nspouts: [{{id: s, className: lines, properties: {{path: x}}}}]\nbolts: [{{id: g, {bolt}}}]\n\
             streams: [{{from: s, to: g, grouping: {{type: shuffle}}}}]\n"
        );
        let topology = read(&text).build(&registry).unwrap();
        assert_eq!(topology.component("g").unwrap().output.get("default").unwrap().fields, Fields::from(["a", "b"]));
    }
}

/// A topology of one bolt with these lines.
fn bolt(lines: &str) -> String {
    format!(
        "name: t\ncomponents:\n  - {{id: pool, className: pool, properties: {{size: 3}}}}\n  - {{id: big, className: pool, \
         properties: {{size: 9, parent: {{ref: pool}}}}}}\n  - {{id: name, className: label, constructorArgs: [x]}}\nspouts: \
         [{{id: a, className: lines, properties: {{path: x}}}}]\nstreams: [{{from: a, to: b, grouping: {{type: all}}}}]\nbolts:\n  - id: b\n{lines}"
    )
}

fn declared(lines: &str) -> String {
    let topology = crate::resolved::read_again(&read(&bolt(lines)), &registry());
    topology.component("b").unwrap().output.iter().map(|stream| stream.fields.to_string()).collect::<Vec<_>>().join(" ")
}

fn told_of(lines: &str) -> String {
    told(&error(&bolt(lines)).diagnostics)
}

#[test]
fn constructor_arguments_are_the_fields_in_their_order() {
    assert_eq!(declared("    className: split\n    constructorArgs: [a, true]"), "[word] [a, true]");
    assert_eq!(
        declared("    className: split\n    constructorArgs: [a]\n    properties: {lowercase: true}"),
        "[word] [a, true]"
    );
    insta::assert_snapshot!(told_of("    className: split\n    constructorArgs: [a, true, 3]"), @r#"
11:32: `split` takes 2 constructor arguments, found 3
  they are: field, lowercase
"#);
    insta::assert_snapshot!(told_of("    className: split\n    constructorArgs: [a, yes]"), @r#"
11:26: `lowercase` is the string `yes`, expected true or false
  YAML 1.2 has only `true` and `false` as booleans
"#);
    insta::assert_snapshot!(told_of("    className: split\n    constructorArgs: [a]\n    properties: {field: b}"), @r#"12:18: property `field` is given by `constructorArgs` already"#);
    insta::assert_snapshot!(told_of("    className: split"), @r#"10:16: property `field` is missing"#);
    insta::assert_snapshot!(told_of("    className: print\n    properties: {a: 1}"), @r#"
11:18: unknown property `a`
  there are no properties here
"#);
}

#[test]
fn factories_and_config_methods_are_called_by_name() {
    assert_eq!(declared("    className: split\n    factory: on\n    factoryArgs: [a]"), "[word] [a, false]");
    let with_method = "    className: split\n    factory: on\n    factoryArgs: [a]\n    configMethods:\n      - {name: lowercase, args: [true]}";
    assert_eq!(declared(with_method), "[word] [a, true]");
    insta::assert_snapshot!(told_of("    className: split\n    factory: onn\n    factoryArgs: [a]"), @r#"
11:14: `split` has no factory `onn`; did you mean `on`?
  expected `never` or `on`
"#);
    insta::assert_snapshot!(told_of("    className: split\n    factory: on"), @r#"11:14: `on` takes 1 argument, found 0"#);
    insta::assert_snapshot!(told_of("    className: split\n    factory: on\n    factoryArgs: [5]"), @r#"
12:19: the argument of `on` is the integer `5`, expected a string
  write "5" for the string
"#);
    insta::assert_snapshot!(told_of("    className: split\n    factory: never"), @r#"11:14: `never` failed: not this way"#);
    insta::assert_snapshot!(told_of("    className: split\n    factoryArgs: [a]"), @r#"11:5: `factoryArgs` without the `factory` that takes them"#);
    insta::assert_snapshot!(told_of("    className: split\n    factory: on\n    factoryArgs: [a]\n    properties: {field: a}"), @r#"13:18: `constructorArgs` and `properties` have no effect on what a factory makes"#);
    insta::assert_snapshot!(told_of("    className: print\n    configMethods: [{name: loud}]"), @r#"
11:28: `print` has no config method `loud`
  it declares none; use `properties`, or have the program register the config method
"#);
    insta::assert_snapshot!(told_of("    className: probe\n    configMethods: [{name: withLimits, args: [x]}]"), @r#"11:47: `least` is the string `x`, expected a whole number from 0 to 4294967295"#);
}

#[test]
fn references_receive_the_shared_component() {
    let lookup = |rest: &str| format!("    className: lookup\n    {rest}");
    assert!(declared(&lookup("properties: {pool: {ref: pool}}")).starts_with("[[3]]"));
    assert!(
        declared(&lookup("properties: [{name: pool, ref: big}, {name: others, reflist: [pool, big]}]"))
            .starts_with("[[3, 109, 109]]")
    );
    assert!(declared(&lookup("constructorArgs: [{ref: pool}, {reflist: [pool]}]")).starts_with("[[3, 3]]"));
    assert!(
        declared(&lookup("constructorArgs: [{ref: pool}]\n    configMethods: [{name: withPool, args: [{ref: big}]}]"))
            .starts_with("[[109, 3]]")
    );
    assert!(declared(&lookup("properties: {pool: {ref: pool}, others: {reflist: [big]}}")).starts_with("[[109, 3]]"));
}

#[test]
fn component_is_made_once_for_all_tasks() {
    let topology =
        read(&bolt("    className: lookup\n    properties: {pool: {ref: pool}}")).build(&registry()).unwrap();
    let galerna_topology_api::ComponentKind::Bolt(make) = &topology.component("b").unwrap().kind else { panic!() };
    let at = || make().unwrap().output().get("at").unwrap().fields.to_string();
    assert_eq!(at(), at());
}

#[test]
fn wrong_references_are_told_at_their_place() {
    let lookup = |rest: &str| told_of(&format!("    className: lookup\n    {rest}"));
    insta::assert_snapshot!(lookup("properties: {pool: {ref: pol}}"), @r#"11:30: `components:` has no entry `pol`; did you mean `pool`?"#);
    insta::assert_snapshot!(lookup("properties: [{name: pool, ref: pol}]"), @r#"11:36: `components:` has no entry `pol`; did you mean `pool`?"#);
    insta::assert_snapshot!(lookup("properties: {pool: {ref: name}}"), @r#"11:30: this refers to a `label`, expected a component of Rust type `it::components::Pool`"#);
    insta::assert_snapshot!(lookup("properties: {pool: 5}"), @r#"
11:24: `pool` is the integer `5`, expected a reference to an entry of `components:`
  write `{ref: id}`, or `ref: id` in place of `value:`
"#);
    insta::assert_snapshot!(lookup("properties: [{name: pool, ref: pool, value: 1}]"), @r#"11:31: property `pool` has more than one of `value`, `ref` and `reflist`"#);
    insta::assert_snapshot!(lookup("properties: [{name: pool}]"), @r#"
11:18: property `pool` has no value
  add one of `value`, `ref` and `reflist`
"#);
    insta::assert_snapshot!(told_of("    className: probe\n    properties: [{name: text, ref: pool}]"), @r#"11:36: `text` takes no reference, expected a string"#);
    insta::assert_snapshot!(told_of("    className: probe\n    properties: [{name: text, ref: nobody}]"), @r#"11:36: `components:` has no entry `nobody`"#);
}

#[test]
fn components_that_need_each_other_are_refused_with_the_path() {
    let text = bolt("    className: print").replace(
        "{id: pool, className: pool, properties: {size: 3}}",
        "{id: pool, className: pool, properties: {size: 3, parent: {ref: big}}}",
    );
    insta::assert_snapshot!(told(&error(&text).diagnostics), @r#"3:69: component `big` needs itself: big -> pool -> big"#);
}

#[test]
fn panic_while_a_component_is_made_is_a_message() {
    insta::assert_snapshot!(told_of("    className: panics\n    properties: {field: 1}"), @r#"10:16: `panics` panicked while it was made: boom"#);
}

#[test]
fn component_that_refuses_its_config_is_told_at_its_class() {
    insta::assert_snapshot!(told_of("    className: fails"), @r#"10:16: `fails` cannot be made: no luck today"#);
}

#[test]
fn type_with_flattened_parts_takes_properties_only() {
    let flat = |rest: &str| {
        let text = bolt(&format!("    className: flat\n    {rest}"));
        let registry = registry().bolt::<crate::components::Flat>("flat");
        read(&text).build(&registry).map_or_else(|error| told(&error.diagnostics), |_| "made".to_owned())
    };
    assert_eq!(flat("properties: {name: a, limit: 3}"), "made");
    insta::assert_snapshot!(flat("constructorArgs: [a]"), @r#"
11:23: `flat` takes no `constructorArgs`: its fields have no order
  give them by name, in `properties`
"#);
    insta::assert_snapshot!(flat("properties: {name: a, limit: x}"), @r#"10:16: expected a whole number from 0 on, found the string `x`"#);
}
