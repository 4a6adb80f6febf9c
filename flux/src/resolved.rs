//! Definition -> a file that says the same with everything resolved: nothing is left to substitute
//! or to include, so that another machine reads it to the same topology.

mod paths;
mod print;

pub use paths::AbsolutePath;
pub(crate) use paths::{PathUse, absolute, make_absolute};
pub(crate) use print::SET;

use galerna_topology_api::Value;

use crate::definition::{Call, Definition, GroupingDefinition, Object, Recipe, Setting, Stream, Vertex};
use crate::node::{Entry, Key, Kind, Node};
use crate::scalar::Scalar;
use crate::source::Span;

/// Comes first, for people who look into the store.
const HEADER: &str = "# Everything is resolved: nothing is substituted or included here.\n";

/// The text of a definition that was found right. Equal definitions have equal texts.
pub(crate) fn text_of(definition: &Definition) -> String {
    format!("{HEADER}{}", print::print(&node_of(definition)))
}

/// Whether two groupings deal tuples alike, whatever streams they belong to.
pub(crate) fn is_same_grouping(one: &GroupingDefinition, other: &GroupingDefinition) -> bool {
    let text = |of: &GroupingDefinition| print::print(&grouping(&GroupingDefinition { stream: None, ..of.clone() }));
    text(one) == text(other)
}

fn node_of(definition: &Definition) -> Node {
    let mut entries = Vec::new();
    entries.extend(definition.name.as_ref().map(|name| entry("name", text(&name.text))));
    entries.extend(config(&definition.config));
    let sections = [
        ("components", list(&definition.components, |of| map(object(of)))),
        ("workerHooks", list(&definition.worker_hooks, |of| map(object(of)))),
        ("spouts", list(&definition.spouts, vertex)),
        ("bolts", list(&definition.bolts, vertex)),
        ("streams", list(&definition.streams, stream)),
    ];
    entries.extend(sections.into_iter().filter_map(|(key, items)| Some(entry(key, items?))));
    map(entries)
}

fn object(of: &Object) -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(of.id.as_ref().map(|id| entry("id", text(&id.text))));
    entries.extend(of.class.as_ref().map(|class| entry("className", text(&class.text))));
    let Recipe { arguments, properties, factory, methods, .. } = &of.recipe;
    entries.extend(list(arguments, argument).map(|items| entry("constructorArgs", items)));
    if !properties.is_empty() {
        entries.push(entry("properties", self::properties(properties)));
    }
    if let Some(Call { name, arguments }) = factory {
        entries.push(entry("factory", text(&name.text)));
        entries.extend(list(arguments, argument).map(|items| entry("factoryArgs", items)));
    }
    entries.extend(list(methods, method).map(|items| entry("configMethods", items)));
    entries
}

fn method(call: &Call) -> Node {
    let mut entries = vec![entry("name", text(&call.name.text))];
    entries.extend(list(&call.arguments, argument).map(|items| entry("args", items)));
    map(entries)
}

fn argument(node: &Node) -> Node {
    match reference(node) {
        Some((key, value)) => map(vec![entry(key, value)]),
        None => node.clone(),
    }
}

/// A map, or Flux's list where something is referred to: only there `ref` has that meaning for sure.
fn properties(properties: &[Entry]) -> Node {
    if properties.iter().all(|property| reference(&property.value).is_none()) {
        return map(properties.to_vec());
    }
    let item = |property: &Entry| {
        let (key, value) = reference(&property.value).unwrap_or_else(|| ("value", property.value.clone()));
        map(vec![entry("name", text(&property.key.text)), entry(key, value)])
    };
    node(Kind::List(properties.iter().map(item).collect()))
}

/// How a reference, or a list of them, is written.
fn reference(node: &Node) -> Option<(&'static str, Node)> {
    let id = |node: &Node| match &node.kind {
        Kind::Ref(id) => Some(text(id)),
        _ => None,
    };
    match &node.kind {
        Kind::Ref(_) => Some(("ref", id(node)?)),
        Kind::List(items) if items.iter().any(|item| matches!(item.kind, Kind::Ref(_))) => {
            Some(("reflist", self::node(Kind::List(items.iter().filter_map(id).collect()))))
        }
        _ => None,
    }
}

fn vertex(of: &Vertex) -> Node {
    let mut entries = object(&of.object);
    let count = |key, count: Option<(u32, Span)>| count.map(|(count, _)| entry(key, plain(count.to_string())));
    entries.extend(count("parallelism", of.parallelism));
    entries.extend(count("numTasks", of.tasks));
    if of.is_blocking {
        entries.push(entry("blocking", plain("true")));
    }
    entries.extend(of.cpu.map(|cpu| entry("cpuLoad", float(cpu))));
    entries.extend(of.memory_mb.map(|memory| entry("onHeapMemoryLoad", float(memory))));
    entries.extend(config(&of.config));
    map(entries)
}

fn stream(of: &Stream) -> Node {
    let texts = [("name", &of.name), ("from", &of.from), ("to", &of.to)];
    let mut entries: Vec<_> =
        texts.into_iter().filter_map(|(key, of)| Some(entry(key, text(&of.as_ref()?.text)))).collect();
    entries.extend(of.grouping.as_ref().map(|of| entry("grouping", grouping(of))));
    map(entries)
}

fn grouping(of: &GroupingDefinition) -> Node {
    let mut entries = vec![entry("type", text(of.kind.name()))];
    entries.extend(list(&of.arguments, |field| text(&field.text)).map(|items| entry("args", items)));
    entries.extend(of.stream.as_ref().map(|stream| entry("streamId", text(&stream.text))));
    entries.extend(of.custom.as_ref().map(|custom| entry("customClass", map(object(custom)))));
    map(entries)
}

fn config(settings: &[Setting]) -> Option<Entry> {
    let setting = |setting: &Setting| entry(&setting.key.text, value(&setting.value));
    (!settings.is_empty()).then(|| entry("config", map(settings.iter().map(setting).collect())))
}

fn value(of: &Value) -> Node {
    match of {
        Value::Null => plain("null"),
        Value::Bool(value) => plain(value.to_string()),
        Value::Int(value) => plain(value.to_string()),
        Value::Float(value) => float(*value),
        Value::Str(value) => text(value),
        Value::List(items) => node(Kind::List(items.iter().map(value).collect())),
        Value::Map(entries) => map(entries.iter().map(|(key, of)| entry(key, value(of))).collect()),
        // Files have no other kinds.
        other => text(&other.to_string()),
    }
}

/// A number that is read back as this float, and never as an integer.
fn float(value: f64) -> Node {
    plain(match value {
        value if value.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        value => format!("{value:?}"),
    })
}

fn list<T>(items: &[T], of: impl Fn(&T) -> Node) -> Option<Node> {
    (!items.is_empty()).then(|| node(Kind::List(items.iter().map(of).collect())))
}

fn map(entries: Vec<Entry>) -> Node {
    node(Kind::Map(entries))
}

fn entry(key: &str, value: Node) -> Entry {
    Entry { key: Key { at: Span::default(), text: key.to_owned(), is_merge: false }, value }
}

fn text(text: &str) -> Node {
    node(Kind::Scalar(Scalar { text: text.into(), is_plain: false, is_open: false }))
}

fn plain(text: impl Into<std::sync::Arc<str>>) -> Node {
    node(Kind::Scalar(Scalar::plain(text)))
}

fn node(kind: Kind) -> Node {
    Node { at: Span::default(), kind }
}
