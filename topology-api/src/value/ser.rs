//! From serde to values: [`to_value`], and rows from structs.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{self, Serialize};
use smol_str::SmolStr;

use super::{Timestamp, Value};
use crate::fields::Fields;

/// Why something could not become a value, or a value could not become something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RowError(pub(crate) String);

impl ser::Error for RowError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl serde::de::Error for RowError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl Serialize for Value {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(items) => serializer.collect_seq(items.iter()),
            Self::Map(entries) => serializer.collect_map(entries.iter()),
            Self::Timestamp(value) if serializer.is_human_readable() => serializer.collect_str(value),
            Self::Timestamp(value) => value.serialize(serializer),
        }
    }
}

/// Turns anything serializable into a value: structs become maps, unit variants their name, other
/// variants a map of their name to their content.
///
/// # Errors
/// For an integer beyond 64 bits signed, and a map whose keys are not text.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, RowError> {
    value.serialize(ValueSerializer)
}

/// Appends the row of `fields` that `row` (a struct, a map, or a sequence in the fields' order)
/// describes. On an error nothing is appended.
pub(crate) fn append_row<T: Serialize + ?Sized>(
    row: &T,
    fields: &Fields,
    values: &mut Vec<Value>,
) -> Result<(), RowError> {
    match to_value(row)? {
        Value::Map(entries) => {
            if let Some(unknown) = entries.keys().find(|key| fields.index_of(key).is_none()) {
                return Err(RowError(format!("`{unknown}` is not a field of {fields}")));
            }
            let missing = fields.iter().find(|field| !entries.contains_key(*field));
            if let Some(missing) = missing {
                return Err(RowError(format!("field `{missing}` of {fields} is missing")));
            }
            values.extend(fields.iter().map(|field| entries[field].clone()));
        }
        Value::List(items) => values.extend(items.iter().cloned()),
        single => values.push(single),
    }
    Ok(())
}

struct ValueSerializer;

macro_rules! serialize_int {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<Value, RowError> { Ok(Value::Int(value.into())) })*
    };
}

impl ser::Serializer for ValueSerializer {
    type Ok = Value;
    type Error = RowError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ListSerializer;
    type SerializeMap = MapSerializer;
    type SerializeStruct = MapSerializer;
    type SerializeStructVariant = MapSerializer;

    serialize_int! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<Value, RowError> {
        Ok(Value::Bool(value))
    }

    fn serialize_u64(self, value: u64) -> Result<Value, RowError> {
        i64::try_from(value)
            .map(Value::Int)
            .map_err(|_| RowError(format!("{value} does not fit a signed 64-bit value")))
    }

    fn serialize_f32(self, value: f32) -> Result<Value, RowError> {
        Ok(Value::Float(value.into()))
    }

    fn serialize_f64(self, value: f64) -> Result<Value, RowError> {
        Ok(Value::Float(value))
    }

    fn serialize_char(self, value: char) -> Result<Value, RowError> {
        Ok(Value::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<Value, RowError> {
        Ok(Value::from(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, RowError> {
        Ok(Value::from(value))
    }

    fn serialize_none(self) -> Result<Value, RowError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, RowError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, RowError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, RowError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, RowError> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, RowError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, RowError> {
        Ok(Value::map([(variant, value.serialize(self)?)]))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListSerializer, RowError> {
        Ok(ListSerializer { items: Vec::with_capacity(len.unwrap_or(0).min(1024)), variant: None })
    }

    fn serialize_tuple(self, len: usize) -> Result<ListSerializer, RowError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<ListSerializer, RowError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<ListSerializer, RowError> {
        Ok(ListSerializer { items: Vec::new(), variant: Some(variant) })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapSerializer, RowError> {
        Ok(MapSerializer { entries: BTreeMap::new(), key: None, variant: None })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<MapSerializer, RowError> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<MapSerializer, RowError> {
        Ok(MapSerializer { entries: BTreeMap::new(), key: None, variant: Some(variant) })
    }
}

/// Wraps an enum variant's content in a map of its name.
fn tagged(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        Some(variant) => Value::map([(variant, content)]),
        None => content,
    }
}

struct ListSerializer {
    items: Vec<Value>,
    variant: Option<&'static str>,
}

impl ListSerializer {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), RowError> {
        self.items.push(to_value(item)?);
        Ok(())
    }

    fn into_value(self) -> Value {
        tagged(self.variant, Value::from(self.items))
    }
}

macro_rules! serialize_list {
    ($($trait:ident::$method:ident),*) => {
        $(impl ser::$trait for ListSerializer {
            type Ok = Value;
            type Error = RowError;
            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), RowError> { self.push(item) }
            fn end(self) -> Result<Value, RowError> { Ok(self.into_value()) }
        })*
    };
}

serialize_list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

struct MapSerializer {
    entries: BTreeMap<SmolStr, Value>,
    key: Option<SmolStr>,
    variant: Option<&'static str>,
}

impl ser::SerializeMap for MapSerializer {
    type Ok = Value;
    type Error = RowError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), RowError> {
        match to_value(key)? {
            Value::Str(key) => self.key = Some(key),
            other => return Err(RowError(format!("a map's key is {}, expected string", other.kind()))),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), RowError> {
        let key = self.key.take().ok_or_else(|| RowError("a map's value came before its key".to_owned()))?;
        self.entries.insert(key, to_value(value)?);
        Ok(())
    }

    fn end(self) -> Result<Value, RowError> {
        Ok(tagged(self.variant, Value::from(self.entries)))
    }
}

macro_rules! serialize_struct {
    ($($trait:ident),*) => {
        $(impl ser::$trait for MapSerializer {
            type Ok = Value;
            type Error = RowError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), RowError> {
                self.entries.insert(key.into(), to_value(value)?);
                Ok(())
            }
            fn end(self) -> Result<Value, RowError> { Ok(tagged(self.variant, Value::from(self.entries))) }
        })*
    };
}

serialize_struct!(SerializeStruct, SerializeStructVariant);

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.as_nanos()
    }
}
