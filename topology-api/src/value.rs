//! The values that tuples are made of.

mod convert;
mod de;
mod order;
mod ser;
mod timestamp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

pub use de::from_value;
pub use ser::{RowError, to_value};
pub use timestamp::Timestamp;

pub(crate) use de::RowDeserializer;
pub(crate) use ser::append_row;

/// One field of a tuple.
///
/// 24 bytes; strings of up to 23 bytes lie in place, everything longer is shared, so cloning never
/// copies more than the 24 bytes. Equality, order and hash are total: `-0.0` equals `0.0`, all NaN
/// are one, and values of different kinds are never equal.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A signed 64-bit integer.
    Int(i64),
    /// A 64-bit float.
    Float(f64),
    /// UTF-8 text.
    Str(SmolStr),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list of values.
    List(Arc<[Value]>),
    /// Values by name, in the order of the names.
    Map(Arc<BTreeMap<SmolStr, Value>>),
    /// A point in time.
    Timestamp(Timestamp),
}

const _: () = assert!(size_of::<Value>() == 24);

/// The kind of a [`Value`], as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is named after the value's variant")]
pub enum ValueKind {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Bytes,
    List,
    Map,
    Timestamp,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "i64",
            Self::Float => "f64",
            Self::Str => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
            Self::Timestamp => "timestamp",
        })
    }
}

impl Value {
    /// Text, copied in place when short and shared when long.
    pub fn str(text: impl Into<SmolStr>) -> Self {
        Self::Str(text.into())
    }

    /// A map with these entries; of equal names the last one stays.
    pub fn map(entries: impl IntoIterator<Item = (impl Into<SmolStr>, impl Into<Value>)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect()))
    }

    /// A list of these values.
    pub fn list(items: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }

    /// What kind of value this is.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Bool(_) => ValueKind::Bool,
            Self::Int(_) => ValueKind::Int,
            Self::Float(_) => ValueKind::Float,
            Self::Str(_) => ValueKind::Str,
            Self::Bytes(_) => ValueKind::Bytes,
            Self::List(_) => ValueKind::List,
            Self::Map(_) => ValueKind::Map,
            Self::Timestamp(_) => ValueKind::Timestamp,
        }
    }

    /// Whether this is [`Value::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The bool, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The integer, if it is one.
    #[inline]
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The float, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is text.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(value) = self { Some(value) } else { None }
    }

    /// The bytes, if they are bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(value) = self { Some(value) } else { None }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<SmolStr, Value>> {
        if let Self::Map(value) = self { Some(value) } else { None }
    }

    /// The point in time, if it is one.
    pub fn as_timestamp(&self) -> Option<Timestamp> {
        if let Self::Timestamp(value) = self { Some(*value) } else { None }
    }

    /// Bytes that this value holds outside its 24: what back pressure counts besides rows.
    #[inline]
    pub fn heap_size(&self) -> usize {
        match self {
            Self::Str(text) if text.is_heap_allocated() => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(_) | Self::Map(_) => self.nested_size(),
            _ => 0,
        }
    }

    fn nested_size(&self) -> usize {
        match self {
            Self::List(items) => items.iter().map(|item| size_of::<Self>() + item.heap_size()).sum(),
            Self::Map(entries) => {
                entries.iter().map(|(key, value)| 2 * size_of::<Self>() + key.len() + value.heap_size()).sum()
            }
            _ => 0,
        }
    }
}

/// As a person would read it: text bare, bytes in hexadecimal, lists and maps in brackets.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Str(value) => f.pad(value),
            Self::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Map(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("}")
            }
            Self::Timestamp(value) => value.fmt(f),
        }
    }
}

/// A row of values: `values!["word", 1]`.
///
/// Each item may be anything that converts into a [`Value`].
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::Value::from($value)),*] };
}
