//! Good files become the topologies that they describe.

use galerna_flux::{Flux, Registry};
use galerna_topology_api::{Grouping, GroupingContext, Topology, Value};

use crate::components::{read, registry};

const EVERYTHING: &str = include_str!("good.yaml");

fn everything() -> Topology {
    read(EVERYTHING).build(&registry()).unwrap()
}

#[test]
fn file_with_every_key_becomes_the_topology_it_describes() {
    let topology = everything();
    assert_eq!(topology.name(), "everything");
    assert_eq!(topology.config().workers(), 2);
    let three = Value::map([("three", 3.5)]);
    assert_eq!(topology.config().get("mine"), Some(&Value::list([Value::Int(1), Value::str("two"), three])));
    assert_eq!(topology.worker_hooks().len(), 1);
    let components = topology.components();
    let sizes: Vec<_> = components.iter().map(|c| (c.id.as_str(), c.executors, c.task_count())).collect();
    assert_eq!(sizes, [("lines", 2, 5), ("split", 1, 1), ("again", 1, 1), ("print", 1, 1)]);
    let types: Vec<_> = components.iter().map(|c| c.type_name.as_deref().unwrap()).collect();
    assert_eq!(types, ["lines", "split", "split", "org.apache.storm.flux.wrappers.bolts.LogInfoBolt"]);
    assert!(components[0].config.tick_interval().is_some());
    assert!(components[1].is_blocking && components[2].is_blocking, "`<<` takes over what is not said anew");
    assert_eq!((components[1].load.cpu, components[1].load.memory_mb), (Some(50.0), Some(128.5)));
    assert_eq!(components[1].output.get("rest").unwrap().fields.to_string(), "[line, true]");
    assert_eq!(components[2].output.get("rest").unwrap().fields.to_string(), "[word, false]");
}

#[test]
fn streams_become_inputs_with_their_groupings() {
    let topology = everything();
    let inputs = |id: &str| {
        let inputs = &topology.component(id).unwrap().inputs;
        inputs.iter().map(|i| format!("{} {} {}", i.from, i.stream, i.grouping.name())).collect::<Vec<_>>()
    };
    assert_eq!(inputs("split"), ["lines default LOCAL_OR_SHUFFLE"]);
    assert_eq!(inputs("again"), ["split default FIELDS", "split rest PARTIAL_KEY"]);
    assert_eq!(inputs("print"), ["again default CUSTOM", "lines default GLOBAL"]);
    let Grouping::Custom(factory) = &topology.component("print").unwrap().inputs[0].grouping else { panic!() };
    let context =
        GroupingContext { source_component: "again".into(), source_task: 1, fields: ["a"].into(), targets: [4].into() };
    let mut chosen = Vec::new();
    factory.make(&context).choose(&[], &mut chosen);
    assert_eq!(chosen, [4]);
}

#[test]
fn each_task_is_made_anew_from_the_definition() {
    let topology = everything();
    let galerna_topology_api::ComponentKind::Bolt(make) = &topology.component("split").unwrap().kind else { panic!() };
    for _ in 0..3 {
        assert_eq!(make().unwrap().output().get("rest").unwrap().fields.to_string(), "[line, true]");
    }
}

#[test]
fn config_given_beside_the_file_wins_and_is_checked_like_the_files() {
    let topology =
        read(EVERYTHING).config("topology.workers", "3").config("more", "[a, 1]").build(&registry()).unwrap();
    assert_eq!(topology.config().workers(), 3);
    assert_eq!(topology.config().get("more"), Some(&Value::list([Value::str("a"), Value::Int(1)])));
    let wrong = read(EVERYTHING).config("topology.workers", "many").config("topology.debugg", "true");
    insta::assert_snapshot!(wrong.build(&registry()).unwrap_err(), @r#"
error: `topology.workers` is string `many`, expected a whole number from 1 on
 --> -c:1:18
  |
1 | topology.workers=many
  |                  ^^^^

error: unknown config key `topology.debugg`; did you mean `topology.debug`?
 --> -c:1:1
  |
1 | topology.debugg=true
  | ^^^^^^^^^^^^^^^

2 errors
"#);
}

#[test]
fn name_in_the_config_wins() {
    let topology = read(EVERYTHING).config("topology.name", "other").build(&registry()).unwrap();
    assert_eq!(topology.name(), "other");
}

#[test]
fn warnings_do_not_keep_a_topology_from_being_built() {
    let text = EVERYTHING.replace("mine:", "worker.childopts: -Xmx1g\n  mine:");
    let loaded = read(&text).load(&registry()).unwrap();
    insta::assert_snapshot!(loaded.warnings[0], @r#"
warning: `worker.childopts` has no effect here: there is no Java virtual machine to configure
 --> topology.yaml:5:3
  |
5 |   worker.childopts: -Xmx1g
  |   ^^^^^^^^^^^^^^^^
"#);
    assert_eq!((loaded.warnings.len(), loaded.files.len()), (1, 0));
}

#[test]
fn types_tell_their_properties() {
    let types = registry().types();
    let line = |info: &galerna_flux::TypeInfo| {
        let property =
            |p: &galerna_flux::PropertyInfo| format!("{}{}: {}", p.name, if p.is_required { "" } else { "?" }, p.kind);
        let properties: Vec<_> = info.properties.iter().map(property).collect();
        format!("{} {} ({}) {}\n", info.kind, info.name, properties.join("; "), info.summary)
    };
    insta::assert_snapshot!(types.iter().map(line).collect::<String>(), @r#"
spout lines (path: string; follow?: bool) 
bolt fails () 
bolt lookup (pool: reference; others: list of reference) 
bolt panics () 
bolt print () 
bolt probe (text?: string; count?: integer; ratio?: number; isOn?: bool; words?: list of string; format?: one of text, tsv, json-lines; wait?: duration; table?: map; retries?: map; anything?: any value) 
bolt split (field: string; lowercase?: bool) splits lines into words
component label () 
component pool (size: integer; parent?: reference) 
grouping nth (n: integer) 
worker hook hook ()
"#);
    let print = types.iter().find(|info| info.name == "print").unwrap();
    assert_eq!(print.aliases, ["org.apache.storm.flux.wrappers.bolts.LogInfoBolt"]);
}

#[test]
fn schema_names_the_types_and_their_properties() {
    let schema = galerna_flux::schema(&registry());
    let bolt = &schema["properties"]["bolts"]["items"];
    let names = bolt["properties"]["className"]["anyOf"][0]["enum"].as_array().unwrap();
    assert!(names.contains(&"split".into()) && !names.contains(&"lines".into()));
    let split = bolt["allOf"].as_array().unwrap().iter().find(|c| c["if"].to_string().contains("\"split\"")).unwrap();
    let properties = &split["then"]["properties"]["properties"]["then"]["properties"];
    assert_eq!(properties.as_object().unwrap().keys().collect::<Vec<_>>(), ["field", "lowercase"]);
}

#[test]
fn merged_registries_hold_both_and_the_later_one_wins() {
    let merged = Registry::new().bolt::<crate::components::Probe>("split").merge(registry());
    assert!(Flux::parse(EVERYTHING).build(&merged).is_ok());
    let merged = registry().merge(Registry::new().bolt::<crate::components::Probe>("split"));
    assert!(Flux::parse(EVERYTHING).build(&merged).is_err());
}
