//! Definition + registry -> topology: makes every component, wires them, has it all checked, and
//! tells whatever is wrong at its place in the files.

mod edges;
mod makers;
mod subjects;

use std::collections::BTreeSet;
use std::sync::Arc;

use galerna_topology_api::engine::{BoltFactory, SpoutFactory};
use galerna_topology_api::{
    BoltDeclarer, Fields, Grouping, ResourceLoad, SpoutDeclarer, Topology, TopologyBuilder, Value,
};

use crate::construct::Shared;
use crate::definition::{Definition, GroupingDefinition, GroupingKind, Stream, Vertex};
use crate::problems::{Fault, Problems, did_you_mean, shown};
use crate::registry::Registry;
use crate::resolved::PathUse;
use edges::Wiring;
pub(crate) use makers::pool;
use makers::{Makers, Placeholder};
use subjects::{Part, Subjects, Wired};

/// A topology, and what its components read as paths.
pub(crate) struct Assembled {
    pub(crate) topology: Topology,
    pub(crate) paths: BTreeSet<PathUse>,
}

/// What a definition becomes. Nothing if there are errors among the problems.
pub(crate) fn assemble(
    definition: &Definition,
    registry: &Registry,
    shared: Arc<Shared>,
    problems: &mut Problems,
) -> Option<Assembled> {
    let mut makers = Makers { registry, shared, problems, paths: BTreeSet::new() };
    makers.make_components();
    let parts = parts(definition, &mut makers);
    let wirings = wirings(definition, &parts, &mut makers);
    let hooks = definition.worker_hooks.iter().filter_map(|hook| makers.hook(hook)).collect::<Vec<_>>();
    let Makers { problems, paths, .. } = makers;

    let mut builder = TopologyBuilder::new(name(definition, problems));
    for setting in &definition.config {
        builder.config(setting.key.text.as_str(), setting.value.clone());
    }
    for hook in hooks {
        builder.add_worker_hook(hook);
    }
    let mut subjects = Subjects { definition, parts: Vec::new(), wired: Vec::new() };
    for part in parts {
        let vertex = part.vertex;
        let id = part.id.text.as_str();
        let mut wired = Vec::new();
        match part.made {
            Made::Spout(factory) => drop(described_spout(builder.add_spout(id, factory), vertex)),
            Made::Bolt(factory) => {
                let mut declarer = described_bolt(builder.add_bolt(id, factory), vertex);
                for wiring in wirings.iter().filter(|wiring| wiring.to == id && part.is_first) {
                    declarer = declarer.input(wiring.from.text.as_str(), wiring.stream(), wiring.grouping.clone());
                    wired.push(Wired { from: wiring.from, grouping: wiring.definition });
                }
            }
        }
        subjects.parts.push(Part { vertex, id: part.id, is_placeholder: part.is_placeholder, is_first: part.is_first });
        subjects.wired.push(wired);
    }
    subjects.tell_config_warnings(problems);
    match builder.build() {
        Ok(topology) => {
            subjects.tell_warnings(topology.warnings(), problems);
            (!problems.has_errors()).then_some(Assembled { topology, paths })
        }
        Err(invalid) => {
            subjects.tell(invalid, problems);
            None
        }
    }
}

/// The topology's name, which its config can override.
fn name(definition: &Definition, problems: &mut Problems) -> String {
    let configured = definition.config.iter().rev().find(|setting| setting.key.text == "topology.name");
    match (configured.map(|setting| &setting.value), &definition.name) {
        (Some(Value::Str(name)), _) => name.to_string(),
        (_, Some(name)) => name.text.clone(),
        _ => {
            // Whoever wrote one that is wrong was told already; a good one keeps the builder quiet.
            if !definition.is_name_wrong {
                let fault = Fault::new(definition.at, "a topology without `name`");
                problems.fault(fault.help("add for example `name: word-count`"));
            }
            "unnamed".to_owned()
        }
    }
}

/// A spout or bolt that can be declared.
struct Declared<'a> {
    vertex: &'a Vertex,
    id: &'a crate::node::Text,
    made: Made,
    /// Whether it stands in for one that could not be made.
    is_placeholder: bool,
    /// Whether no other of this id came before.
    is_first: bool,
}

enum Made {
    Spout(SpoutFactory),
    Bolt(BoltFactory),
}

fn parts<'a>(definition: &'a Definition, makers: &mut Makers<'_>) -> Vec<Declared<'a>> {
    let spouts = definition.spouts.iter().map(|vertex| (vertex, true));
    let bolts = definition.bolts.iter().map(|vertex| (vertex, false));
    let mut parts: Vec<Declared<'a>> = Vec::new();
    for (vertex, is_spout) in spouts.chain(bolts) {
        let made = match is_spout {
            true => makers.spout(&vertex.object).map(Made::Spout),
            false => makers.bolt(&vertex.object).map(Made::Bolt),
        };
        let Some(id) = &vertex.object.id else { continue };
        let is_placeholder = made.is_none();
        let stand_in = || if is_spout { Made::Spout(Placeholder::spout()) } else { Made::Bolt(Placeholder::bolt()) };
        let is_first = !parts.iter().any(|part| part.id.text == id.text);
        parts.push(Declared { vertex, id, made: made.unwrap_or_else(stand_in), is_placeholder, is_first });
    }
    parts
}

fn wirings<'a>(definition: &'a Definition, parts: &[Declared<'a>], makers: &mut Makers<'_>) -> Vec<Wiring<'a>> {
    let mut wirings = Vec::new();
    for Stream { at, from, to, grouping, .. } in &definition.streams {
        let kind = grouping.as_ref().and_then(|grouping| self::grouping(grouping, makers));
        let Some(to) = to else { continue };
        match parts.iter().find(|part| part.id.text == to.text).map(|part| &part.made) {
            Some(Made::Bolt(_)) => {}
            Some(Made::Spout(_)) => {
                let message = format!("`{}` is a spout and receives nothing; a stream leads to a bolt", to.text);
                makers.problems.error(to.at, message);
                continue;
            }
            None if definition.is_incomplete => continue,
            None => {
                let is_bolt = |part: &&Declared<'_>| matches!(part.made, Made::Bolt(_));
                let bolts = parts.iter().filter(is_bolt).map(|part| part.id.text.as_str());
                let near = did_you_mean(&to.text, bolts);
                makers.problems.error(to.at, format!("the stream leads to unknown bolt `{}`{near}", shown(&to.text)));
                continue;
            }
        }
        if let (Some(from), Some(definition), Some(grouping)) = (from, grouping, kind) {
            wirings.push(Wiring { at: *at, from, to: &to.text, grouping, definition });
        }
    }
    let sources = &makers.shared.sources;
    edges::without_repetitions(wirings, sources, makers.problems)
}

fn grouping(definition: &GroupingDefinition, makers: &mut Makers<'_>) -> Option<Grouping> {
    let fields = || Fields::new(definition.arguments.iter().map(|field| field.text.as_str()));
    Some(match definition.kind {
        GroupingKind::Shuffle => Grouping::Shuffle,
        GroupingKind::Fields => Grouping::Fields(fields()),
        GroupingKind::Global => Grouping::Global,
        GroupingKind::All => Grouping::All,
        GroupingKind::LocalOrShuffle => Grouping::LocalOrShuffle,
        GroupingKind::None => Grouping::None,
        GroupingKind::Direct => Grouping::Direct,
        GroupingKind::PartialKey => Grouping::PartialKey(fields()),
        GroupingKind::Custom => Grouping::Custom(makers.grouping(definition.custom.as_ref()?)?),
    })
}

macro_rules! described {
    ($name:ident, $declarer:ident) => {
        fn $name<'a>(declarer: $declarer<'a>, vertex: &Vertex) -> $declarer<'a> {
            let load = ResourceLoad { cpu: vertex.cpu, memory_mb: vertex.memory_mb };
            let mut declarer = declarer.load(load).parallelism(vertex.parallelism.map_or(1, |(count, _)| count));
            if let Some((tasks, _)) = vertex.tasks {
                declarer = declarer.tasks(tasks);
            }
            if vertex.is_blocking {
                declarer = declarer.blocking();
            }
            if let Some(class) = &vertex.object.class {
                declarer = declarer.type_name(class.text.as_str());
            }
            vertex
                .config
                .iter()
                .fold(declarer, |declarer, setting| declarer.config(setting.key.text.as_str(), setting.value.clone()))
        }
    };
}

described!(described_spout, SpoutDeclarer);
described!(described_bolt, BoltDeclarer);
