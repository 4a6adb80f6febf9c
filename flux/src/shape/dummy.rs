//! Makes values up, so that a type goes on to ask for the next field.

use std::cell::Cell;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::Seen;

/// Texts and numbers to try, for types that accept only some.
const TEXTS: [&str; 7] = ["", "1", "1s", "/", "127.0.0.1:1", "a", "true"];

/// Types in types, at most.
const MOST_DEPTH: usize = 8;

/// A made-up value: of a struct at the top the given fields, of anything further inside all.
#[derive(Clone, Copy)]
pub(super) struct Dummy<'a> {
    attempt: usize,
    given: Option<&'a [&'static str]>,
    /// Set once the struct at the top has all that it requires.
    is_complete: Option<&'a Cell<bool>>,
    depth: usize,
}

impl<'a> Dummy<'a> {
    /// Different ways to make values up.
    pub(super) fn attempts() -> std::ops::Range<usize> {
        0..TEXTS.len()
    }

    pub(super) fn of(attempt: usize, given: &'a [&'static str], is_complete: &'a Cell<bool>) -> Self {
        Self { attempt, given: Some(given), is_complete: Some(is_complete), depth: 0 }
    }

    fn inner(self) -> Result<Dummy<'static>, Seen> {
        if self.depth >= MOST_DEPTH {
            return Err(Seen::Other);
        }
        Ok(Dummy { attempt: self.attempt, given: None, is_complete: None, depth: self.depth + 1 })
    }

    fn text(self) -> &'static str {
        TEXTS.get(self.attempt).copied().unwrap_or_default()
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
            visitor.visit_u64(1)
        })*
    };
}

impl<'de> Deserializer<'de> for Dummy<'_> {
    type Error = Seen;

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        match self.attempt {
            1 => visitor.visit_u64(1),
            3 => visitor.visit_map(Fields { names: [].iter(), dummy: self.inner()? }),
            4 => visitor.visit_seq(Items { left: 0, dummy: self.inner()? }),
            6 => visitor.visit_bool(true),
            _ => visitor.visit_str(self.text()),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_bool(true)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_f64(1.0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_f64(1.0)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_str(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_str(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        // Some types refuse an empty list.
        let left = usize::from(self.attempt >= 2);
        visitor.visit_seq(Items { left, dummy: self.inner()? })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_seq(Items { left: len, dummy: self.inner()? })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Seen> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Seen> {
        visitor.visit_map(Fields { names: [].iter(), dummy: self.inner()? })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen> {
        let names = self.given.unwrap_or(fields).iter();
        let value = visitor.visit_map(Fields { names, dummy: self.inner()? })?;
        if let Some(is_complete) = self.is_complete {
            is_complete.set(true);
        }
        Ok(value)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Seen> {
        let name = variants.get(self.attempt % variants.len().max(1)).ok_or(Seen::Other)?;
        visitor.visit_enum(Variant { name, dummy: self.inner()? })
    }

    forward_to_deserialize_any! { bytes byte_buf identifier ignored_any }
}

struct Items {
    left: usize,
    dummy: Dummy<'static>,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = Seen;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Seen> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.dummy).map(Some)
    }
}

struct Fields<'a> {
    names: std::slice::Iter<'a, &'static str>,
    dummy: Dummy<'static>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Seen;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Seen> {
        self.names.next().map(|name| seed.deserialize(StrDeserializer::new(name))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Seen> {
        seed.deserialize(self.dummy)
    }
}

struct Variant {
    name: &'static str,
    dummy: Dummy<'static>,
}

impl<'de> EnumAccess<'de> for Variant {
    type Error = Seen;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Seen> {
        Ok((seed.deserialize(StrDeserializer::new(self.name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = Seen;

    fn unit_variant(self) -> Result<(), Seen> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Seen> {
        seed.deserialize(self.dummy)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Seen> {
        self.dummy.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Seen> {
        self.dummy.deserialize_struct("", fields, visitor)
    }
}
