//! Notes what a type asks for, and stops it there.

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Kind;
use super::error::Seen;
use crate::construct::{REF, in_our_words};

/// The fields of a struct; none for a type without; nothing for a type that takes any.
pub(super) fn fields_of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    let found = RefCell::new(None);
    let _ = T::deserialize(FieldsOf(&found));
    found.into_inner()
}

struct FieldsOf<'a>(&'a RefCell<Option<&'static [&'static str]>>);

impl<'de> Deserializer<'de> for FieldsOf<'_> {
    type Error = Seen;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Seen> {
        *self.0.borrow_mut() = Some(fields);
        Err(Seen::Other)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        *self.0.borrow_mut() = Some(&[]);
        Err(Seen::Other)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen::Other)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option seq tuple
        tuple_struct map enum identifier ignored_any
    }
}

/// Notes what one field asks for.
#[derive(Clone, Copy)]
pub(super) struct Recorder<'a> {
    noted: &'a RefCell<Noted>,
}

#[derive(Default)]
struct Noted {
    kind: Option<Kind>,
    is_optional: bool,
    /// Lists around the kind.
    lists: usize,
}

impl<'a> Recorder<'a> {
    /// What a field of `T` takes, and whether it is an `Option`.
    pub(super) fn watch<T: DeserializeOwned>(field: &'static str) -> (Kind, bool) {
        let noted = RefCell::default();
        let _ = T::deserialize(OnlyField { field, is_given: false, recorder: Recorder { noted: &noted } });
        let Noted { kind, is_optional, lists } = noted.into_inner();
        let kind = kind.unwrap_or_else(|| Kind::Other("any".to_owned()));
        ((0..lists).fold(kind, |kind, _| Kind::List(Box::new(kind))), is_optional)
    }

    fn note<T>(self, kind: Kind) -> Result<T, Seen> {
        self.noted.borrow_mut().kind = Some(kind);
        Err(Seen::Other)
    }
}

macro_rules! note {
    ($($kind:expr => $($method:ident)*;)*) => {
        $($(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
            self.note($kind)
        })*)*
    };
}

impl<'de> Deserializer<'de> for Recorder<'_> {
    type Error = Seen;

    note! {
        Kind::Bool => deserialize_bool;
        Kind::Integer => deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
            deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        Kind::Number => deserialize_f32 deserialize_f64;
        Kind::Text => deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
            deserialize_identifier;
        Kind::Map => deserialize_map;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        let expected = in_our_words(&visitor);
        let expected = expected.split(';').next().unwrap_or_default();
        let expected = expected.strip_prefix("a ").or_else(|| expected.strip_prefix("an ")).unwrap_or(expected);
        self.note(Kind::Other(expected.to_owned()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        if self.noted.borrow().lists == 0 {
            self.noted.borrow_mut().is_optional = true;
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Seen> {
        if name == REF { self.note(Kind::Reference) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        // A type that holds lists of itself would go on for ever.
        if self.noted.borrow().lists >= 4 {
            return self.note(Kind::Other("any".to_owned()));
        }
        self.noted.borrow_mut().lists += 1;
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Seen> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Seen> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Seen> {
        self.note(Kind::Map)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Seen> {
        self.note(Kind::OneOf(variants))
    }

    forward_to_deserialize_any! { unit unit_struct ignored_any }
}

impl<'de> SeqAccess<'de> for Recorder<'_> {
    type Error = Seen;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Seen> {
        seed.deserialize(*self).map(Some)
    }
}

/// A struct of which one field is given.
struct OnlyField<'a> {
    field: &'static str,
    is_given: bool,
    recorder: Recorder<'a>,
}

impl<'de> Deserializer<'de> for OnlyField<'_> {
    type Error = Seen;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_map(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for OnlyField<'_> {
    type Error = Seen;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Seen> {
        if std::mem::replace(&mut self.is_given, true) {
            return Ok(None);
        }
        seed.deserialize(StrDeserializer::new(self.field)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Seen> {
        seed.deserialize(self.recorder)
    }
}
