//! What is made by the name of its type: `className` and all that says how.

use super::reader::{Reader, Section};
use crate::definition::{Call, Object, Recipe};
use crate::node::{Entry, Key, Kind, Node, Text};
use crate::problems::{Fault, shown};

/// The keys that say how an object is made.
pub(super) const KEYS: [&str; 7] =
    ["className", "type", "constructorArgs", "properties", "configMethods", "factory", "factoryArgs"];

/// An entry of `components:`.
pub(super) fn component(node: &Node, reader: &mut Reader<'_>) -> Option<Object> {
    let section = reader.section(node, "a component", &with_keys(["id"]), &[])?;
    let id = reader.required_text(&section, "id");
    Some(object(&section, id, reader))
}

/// An entry of `workerHooks:`.
pub(super) fn hook(node: &Node, reader: &mut Reader<'_>) -> Option<Object> {
    let section = reader.section(node, "a worker hook", &with_keys(["id"]), &[])?;
    let id = section.get("id").and_then(|node| reader.text(node, "`id`"));
    Some(object(&section, id, reader))
}

/// The `customClass` of a grouping.
pub(super) fn custom_class(node: &Node, reader: &mut Reader<'_>) -> Option<Object> {
    let section = reader.section(node, "a `customClass`", &KEYS, &[])?;
    Some(object(&section, None, reader))
}

fn with_keys<const N: usize>(first: [&'static str; N]) -> Vec<&'static str> {
    first.into_iter().chain(KEYS).collect()
}

/// Reads the keys above from a section.
pub(super) fn object(section: &Section<'_>, id: Option<Text>, reader: &mut Reader<'_>) -> Object {
    let class = class(section, reader);
    let (mut recipe, is_broken) = reader.watched(|reader| Recipe {
        at: class.as_ref().map_or(section.at, |class| class.at),
        arguments: arguments(section.get("constructorArgs"), "`constructorArgs`", reader),
        properties: section.get("properties").map(|node| properties(node, reader)).unwrap_or_default(),
        factory: factory(section, reader),
        methods: reader.items(section.get("configMethods"), "`configMethods`", method),
        object: section.at,
        is_broken: false,
    });
    recipe.is_broken = is_broken;
    Object { at: section.at, id, class, recipe }
}

fn class(section: &Section<'_>, reader: &mut Reader<'_>) -> Option<Text> {
    match (section.get("className"), section.get("type")) {
        (Some(_), Some(other)) => {
            let at = section.entry("type").map_or(other.at, |entry| entry.key.at);
            reader.error(at, "both `className` and `type`; they mean the same, keep one");
            None
        }
        (None, Some(node)) => reader.text(node, "`type`"),
        _ => reader.required_text(section, "className"),
    }
}

fn factory(section: &Section<'_>, reader: &mut Reader<'_>) -> Option<Call> {
    let arguments = arguments(section.get("factoryArgs"), "`factoryArgs`", reader);
    match section.get("factory") {
        Some(node) => reader.text(node, "`factory`").map(|name| Call { name, arguments }),
        None => {
            if let Some(entry) = section.entry("factoryArgs") {
                reader.error(entry.key.at, "`factoryArgs` without the `factory` that takes them");
            }
            None
        }
    }
}

fn method(node: &Node, reader: &mut Reader<'_>) -> Option<Call> {
    let section = reader.section(node, "a config method", &["name", "args"], &[])?;
    let arguments = arguments(section.get("args"), "`args`", reader);
    let name = reader.required_text(&section, "name")?;
    Some(Call { name, arguments })
}

fn arguments(node: Option<&Node>, what: &str, reader: &mut Reader<'_>) -> Vec<Node> {
    reader.items(node, what, |item, reader| Some(argument(item, reader)))
}

/// An argument: a value, `ref: id`, or `reflist: [id, id]`.
fn argument(node: &Node, reader: &mut Reader<'_>) -> Node {
    if let Some(id) = node.only("ref") {
        return reference(id, reader);
    }
    match node.only("reflist") {
        Some(ids) => references(ids, reader),
        None => node.clone(),
    }
}

fn reference(node: &Node, reader: &mut Reader<'_>) -> Node {
    let kind = reader.text(node, "`ref`").map_or(Kind::Unknown, |id| Kind::Ref(id.text));
    Node { at: node.at, kind }
}

fn references(node: &Node, reader: &mut Reader<'_>) -> Node {
    let ids = reader.items(Some(node), "`reflist`", |item, reader| Some(reference(item, reader)));
    Node { at: node.at, kind: Kind::List(ids) }
}

/// Properties: a plain map, or Flux's list of `{name, value}`, `{name, ref}`, `{name, reflist}`.
fn properties(node: &Node, reader: &mut Reader<'_>) -> Vec<Entry> {
    match &node.kind {
        Kind::Map(entries) => entries.clone(),
        Kind::List(items) => {
            let mut entries: Vec<Entry> = Vec::new();
            for item in items {
                let Some(entry) = property(item, reader) else { continue };
                if entries.iter().any(|known| known.key.text == entry.key.text) {
                    reader.error(entry.key.at, format!("a second property `{}`", shown(&entry.key.text)));
                } else {
                    entries.push(entry);
                }
            }
            entries
        }
        _ => {
            reader.mismatch(node, "`properties`", "a map, or a list of {name, value}");
            Vec::new()
        }
    }
}

fn property(node: &Node, reader: &mut Reader<'_>) -> Option<Entry> {
    let section = reader.section(node, "a property", &["name", "value", "ref", "reflist"], &[])?;
    let name = reader.required_text(&section, "name")?;
    let given: Vec<_> = ["value", "ref", "reflist"].into_iter().filter_map(|key| section.entry(key)).collect();
    let value = match given.as_slice() {
        [entry] if entry.key.text == "ref" => reference(&entry.value, reader),
        [entry] if entry.key.text == "reflist" => references(&entry.value, reader),
        [entry] => entry.value.clone(),
        [] => {
            reader.fault(
                Fault::new(section.at, format!("property `{}` has no value", shown(&name.text)))
                    .help("add one of `value`, `ref` and `reflist`"),
            );
            return None;
        }
        [_, second, ..] => {
            let message = format!("property `{}` has more than one of `value`, `ref` and `reflist`", shown(&name.text));
            reader.error(second.key.at, message);
            return None;
        }
    };
    Some(Entry { key: Key { at: name.at, text: name.text, is_merge: false }, value })
}
