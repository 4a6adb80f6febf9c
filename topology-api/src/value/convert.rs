//! Conversions into values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{Timestamp, Value};

macro_rules! from {
    ($($from:ty => |$value:ident| $into:expr),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self { $into }
        })*
    };
}

from! {
    bool => |value| Self::Bool(value),
    i8 => |value| Self::Int(value.into()),
    i16 => |value| Self::Int(value.into()),
    i32 => |value| Self::Int(value.into()),
    i64 => |value| Self::Int(value),
    u8 => |value| Self::Int(value.into()),
    u16 => |value| Self::Int(value.into()),
    u32 => |value| Self::Int(value.into()),
    f32 => |value| Self::Float(value.into()),
    f64 => |value| Self::Float(value),
    &str => |value| Self::Str(value.into()),
    &String => |value| Self::Str(value.as_str().into()),
    String => |value| Self::Str(value.into()),
    char => |value| Self::Str(SmolStr::from_iter([value])),
    Cow<'_, str> => |value| Self::Str(value.into()),
    SmolStr => |value| Self::Str(value),
    Arc<str> => |value| Self::Str(value.into()),
    &[u8] => |value| Self::Bytes(value.into()),
    Arc<[u8]> => |value| Self::Bytes(value),
    Vec<Value> => |value| Self::List(value.into()),
    &[Value] => |value| Self::List(value.into()),
    BTreeMap<SmolStr, Value> => |value| Self::Map(Arc::new(value)),
    Timestamp => |value| Self::Timestamp(value),
    () => |_unit| Self::Null,
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Self {
        value.clone()
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}
