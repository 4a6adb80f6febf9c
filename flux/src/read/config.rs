//! Config: keys and their values, as the topology and its components see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::{ConfigKey, KeyStatus, Value};

use super::reader::Reader;
use crate::definition::Setting;
use crate::node::{Kind, Node, Text};
use crate::scalar::{Meaning, Scalar};

/// The settings of a `config:`.
pub(crate) fn settings(node: &Node, reader: &mut Reader<'_>) -> Vec<Setting> {
    let Kind::Map(entries) = &node.kind else {
        reader.mismatch(node, "`config`", "a map");
        return Vec::new();
    };
    let setting = |entry: &crate::node::Entry| {
        let key = Text { at: entry.key.at, text: entry.key.text.clone() };
        let value = value_of(&entry.value, asked(&key.text))?;
        Some(Setting { key, value, value_at: entry.value.at })
    };
    entries.iter().filter_map(setting).collect()
}

/// What the place asks for, where a substitution stands in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Text,
    NoText,
    Anything,
}

fn asked(key: &str) -> Asked {
    match ConfigKey::find(key).map(|key| key.status) {
        Some(KeyStatus::Text) => Asked::Text,
        Some(KeyStatus::Integer(_) | KeyStatus::Seconds | KeyStatus::Bool) => Asked::NoText,
        _ => Asked::Anything,
    }
}

/// Nothing if a part of it is unknown.
fn value_of(node: &Node, asked: Asked) -> Option<Value> {
    Some(match &node.kind {
        Kind::Scalar(scalar) => scalar_value(scalar, asked),
        Kind::List(items) => {
            Value::List(items.iter().map(|item| value_of(item, Asked::Anything)).collect::<Option<_>>()?)
        }
        Kind::Map(entries) => {
            let value = |entry: &crate::node::Entry| {
                Some((entry.key.text.as_str().into(), value_of(&entry.value, Asked::Anything)?))
            };
            Value::Map(Arc::new(entries.iter().map(value).collect::<Option<BTreeMap<_, _>>>()?))
        }
        Kind::Ref(_) | Kind::Unknown => return None,
    })
}

fn scalar_value(scalar: &Scalar, asked: Asked) -> Value {
    let meaning = match asked {
        Asked::Text if scalar.is_open => Meaning::Text,
        Asked::NoText => scalar.wanted_meaning(),
        _ => scalar.meaning(),
    };
    match meaning {
        Meaning::Null => Value::Null,
        Meaning::Bool(value) => Value::Bool(value),
        Meaning::Int(value) => i64::try_from(value).map_or(Value::Float(value as f64), Value::Int),
        Meaning::Float(value) => Value::Float(value),
        Meaning::Text => Value::str(&*scalar.text),
    }
}
