//! [`Node`]s -> [`Definition`]s: the schema of the file, read strictly and to the end, whatever is
//! wrong on the way.

mod config;
mod object;
mod reader;
mod stream;
mod vertex;

pub(crate) use config::settings;
pub(crate) use reader::Reader;
use reader::Section;

use galerna_topology_api::nearest;

use crate::definition::{Definition, Vertex};
use crate::node::{Kind, Node, Text};
use crate::problems::Problems;

/// What a file of a topology may say.
const KEYS: [&str; 8] = ["name", "config", "components", "includes", "spouts", "bolts", "streams", "workerHooks"];

/// A file to be included.
pub(crate) struct Include {
    pub(crate) file: Text,
    pub(crate) is_override: bool,
}

/// Reads a file's tree; what it includes is for the caller to read.
pub(crate) fn definition(root: &Node, problems: &mut Problems) -> (Definition, Vec<Include>) {
    let mut reader = Reader::new(problems);
    let mut definition = Definition::default();
    let Some(section) = reader.section(root, "a topology", &KEYS, &["topologySource"]) else {
        definition.is_incomplete = true;
        definition.is_name_wrong = true;
        return (definition, Vec::new());
    };
    if let Some(entry) = section.entry("topologySource") {
        reader.fault(
            crate::problems::Fault::new(entry.key.at, "`topologySource` names Java code that builds the topology")
                .help(
                    "write the graph here as `spouts`, `bolts` and `streams`, or build it in Rust by `TopologyBuilder`",
                ),
        );
    }
    definition.name = section.get("name").and_then(|node| reader.text(node, "`name`"));
    definition.config = section.get("config").map(|node| settings(node, &mut reader)).unwrap_or_default();
    definition.components = reader.items(section.get("components"), "`components`", object::component);
    definition.spouts = reader.items(section.get("spouts"), "`spouts`", vertex::spout);
    definition.bolts = reader.items(section.get("bolts"), "`bolts`", vertex::bolt);
    definition.streams = reader.items(section.get("streams"), "`streams`", stream::stream);
    definition.worker_hooks = reader.items(section.get("workerHooks"), "`workerHooks`", object::hook);
    let includes = reader.items(section.get("includes"), "`includes`", include);
    definition.is_name_wrong = definition.name.is_none() && section.get("name").is_some();
    let with_id = |vertices: &[Vertex]| vertices.iter().filter(|vertex| vertex.object.id.is_some()).count();
    definition.is_incomplete = with_id(&definition.spouts) != listed(&section, "spouts")
        || with_id(&definition.bolts) != listed(&section, "bolts")
        || includes.len() != listed(&section, "includes")
        || section.unknown_keys(&KEYS).any(|key| matches!(nearest(key, KEYS), Some("spouts" | "bolts" | "includes")));
    (definition, includes)
}

/// How many items a list has; what is no list might hold any number.
fn listed(section: &Section<'_>, key: &str) -> usize {
    match section.get(key).map(|node| &node.kind) {
        None => 0,
        Some(Kind::List(items)) => items.len(),
        Some(_) => usize::MAX,
    }
}

fn include(node: &Node, reader: &mut Reader<'_>) -> Option<Include> {
    let section = reader.section(node, "an include", &["file", "resource", "override"], &[])?;
    // There is no class path; a resource is looked for where a file is.
    section.get("resource").and_then(|node| reader.boolean(node, "`resource`"));
    let is_override = section.get("override").and_then(|node| reader.boolean(node, "`override`"));
    let file = reader.required_text(&section, "file")?;
    Some(Include { file, is_override: is_override.unwrap_or(false) })
}
