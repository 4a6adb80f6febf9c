//! The JSON Schema of a topology's file, by which editors complete and check it.

use serde_json::{Map, Value, json};

use crate::definition::GroupingKind;
use crate::registry::{Registry, TypeKind};
use crate::shape::{Kind, Shape};

/// What `${…}` stands for is known only when the file is read.
const SUBSTITUTION: &str = r"\$\{";

/// The schema (draft 2020-12) of files that name this registry's types.
pub fn schema(registry: &Registry) -> Value {
    let settings = json!({"type": "object"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Galerna topology (Flux)",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "name": text("The topology's name."),
            "config": settings,
            "components": list(object(registry, TypeKind::Component, json!({"id": text("What `ref` names.")}), &["id"])),
            "includes": list(strict(json!({
                "file": text("The file, from this file's folder."),
                "resource": or_substituted(json!({"type": "boolean"})),
                "override": or_substituted(json!({"type": "boolean"})),
            }), &["file"])),
            "spouts": list(vertex(registry, TypeKind::Spout)),
            "bolts": list(vertex(registry, TypeKind::Bolt)),
            "streams": list(stream(registry)),
            "workerHooks": list(object(registry, TypeKind::WorkerHook, json!({"id": text("A label.")}), &[])),
        },
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn list(items: Value) -> Value {
    let mut schema = json!({"type": ["array", "null"]});
    schema["items"] = items;
    schema
}

fn or_substituted(schema: Value) -> Value {
    let substituted = json!({"type": "string", "pattern": SUBSTITUTION});
    json!({"anyOf": Value::Array(vec![schema, substituted])})
}

/// An object without other keys.
fn strict(properties: Value, required: &[&str]) -> Value {
    let mut schema = json!({"type": "object", "additionalProperties": false, "required": required});
    schema["properties"] = properties;
    schema
}

fn vertex(registry: &Registry, kind: TypeKind) -> Value {
    let count = || or_substituted(json!({"type": "integer", "minimum": 1}));
    let load = || or_substituted(json!({"type": "number", "minimum": 0}));
    let own = json!({
        "id": text("The component's id, unique in the topology."),
        "parallelism": count(),
        "numTasks": count(),
        "cpuLoad": load(),
        "onHeapMemoryLoad": load(),
        "offHeapMemoryLoad": load(),
        "blocking": or_substituted(json!({"type": "boolean"})),
        "config": {"type": "object"},
    });
    object(registry, kind, own, &["id"])
}

fn stream(registry: &Registry) -> Value {
    let names: Vec<_> =
        GroupingKind::ALL.iter().flat_map(|(name, _)| [name.to_string(), name.to_lowercase()]).collect();
    let grouping = strict(
        json!({
            "type": or_substituted(json!({"enum": names})),
            "args": {"type": "array", "items": {"type": "string"}},
            "streamId": text("The stream, if it is not the default one."),
            "customClass": object(registry, TypeKind::Grouping, json!({}), &[]),
        }),
        &["type"],
    );
    let properties = json!({
        "name": text("A label."),
        "from": text("The component that emits."),
        "to": text("The bolt that receives."),
        "grouping": grouping,
    });
    strict(properties, &["from", "to", "grouping"])
}

/// What is made by the name of its type.
fn object(registry: &Registry, kind: TypeKind, own: Value, required: &[&str]) -> Value {
    let names = registry.names(kind);
    let class = or_substituted(json!({"enum": names}));
    let arguments = || json!({"type": "array"});
    let common = json!({
        "className": class,
        "type": class,
        "constructorArgs": arguments(),
        "properties": {"anyOf": [
            {"type": "object"},
            list(strict(json!({"name": {"type": "string"}, "value": {}, "ref": {"type": "string"}, "reflist": {
                "type": "array", "items": {"type": "string"},
            }}), &["name"])),
        ]},
        "configMethods": list(strict(json!({"name": {"type": "string"}, "args": arguments()}), &["name"])),
        "factory": {"type": "string"},
        "factoryArgs": arguments(),
    });
    let mut properties = Map::new();
    for part in [own, common] {
        if let Value::Object(part) = part {
            properties.extend(part);
        }
    }
    let mut schema = strict(Value::Object(properties), required);
    schema["oneOf"] = json!([{"required": ["className"]}, {"required": ["type"]}]);
    let conditions: Vec<_> = names.iter().filter_map(|name| condition(registry, name)).collect();
    if !conditions.is_empty() {
        schema["allOf"] = Value::Array(conditions);
    }
    schema
}

/// If the type is this one, then its properties are these.
fn condition(registry: &Registry, name: &str) -> Option<Value> {
    let shape = registry.shape(name).filter(|shape| !shape.is_open)?;
    let is_this = |key: &str| json!({"properties": {key: {"const": name}}, "required": [key]});
    Some(json!({
        "if": {"anyOf": [is_this("className"), is_this("type")]},
        "then": {"properties": {"properties": {"if": {"type": "object"}, "then": properties_of(&shape)}}},
    }))
}

fn properties_of(shape: &Shape) -> Value {
    // What is required may also be given by `constructorArgs`, so nothing is required here.
    let properties: Map<_, _> =
        shape.properties.iter().map(|property| (property.name.to_owned(), kind(&property.kind))).collect();
    json!({"additionalProperties": false, "properties": properties})
}

fn kind(kind: &Kind) -> Value {
    let plain = |name: &str| or_substituted(json!({"type": [name, "null"]}));
    match kind {
        Kind::Text => plain("string"),
        Kind::Integer => plain("integer"),
        Kind::Number => plain("number"),
        Kind::Bool => plain("boolean"),
        Kind::Map | Kind::List(_) | Kind::OneOf(_) | Kind::Reference | Kind::Other(_) => json!({}),
    }
}
