//! Entries of `spouts:` and `bolts:`.

use super::config::settings;
use super::object::{self, object};
use super::reader::Reader;
use crate::definition::Vertex;
use crate::node::Node;

const KEYS: [&str; 8] =
    ["id", "parallelism", "numTasks", "cpuLoad", "onHeapMemoryLoad", "offHeapMemoryLoad", "config", "blocking"];

pub(super) fn spout(node: &Node, reader: &mut Reader<'_>) -> Option<Vertex> {
    vertex(node, "a spout", reader)
}

pub(super) fn bolt(node: &Node, reader: &mut Reader<'_>) -> Option<Vertex> {
    vertex(node, "a bolt", reader)
}

fn vertex(node: &Node, what: &'static str, reader: &mut Reader<'_>) -> Option<Vertex> {
    let keys: Vec<_> = KEYS.into_iter().chain(object::KEYS).collect();
    let section = reader.section(node, what, &keys, &[])?;
    let id = reader.required_text(&section, "id");
    let object = object(&section, id, reader);
    let mut number = |key: &str| section.get(key).and_then(|node| reader.number(node, &format!("`{key}`")));
    let cpu = number("cpuLoad");
    let (on_heap, off_heap) = (number("onHeapMemoryLoad"), number("offHeapMemoryLoad"));
    let memory = on_heap.unwrap_or(0.0) + off_heap.unwrap_or(0.0);
    Some(Vertex {
        object,
        parallelism: section.get("parallelism").and_then(|node| reader.count(node, "`parallelism`")),
        tasks: section.get("numTasks").and_then(|node| reader.count(node, "`numTasks`")),
        is_blocking: section.get("blocking").and_then(|node| reader.boolean(node, "`blocking`")).unwrap_or(false),
        cpu,
        memory_mb: on_heap.or(off_heap).map(|_| memory),
        config: section.get("config").map(|node| settings(node, reader)).unwrap_or_default(),
    })
}
