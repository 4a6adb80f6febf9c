//! A serde deserializer over the arguments of a factory or a config method.

use serde::de::{Deserializer, Visitor};

use super::Scope;
use super::access::{Items, Pair, Pairs};
use super::node::NodeReader;
use crate::definition::Call;
use crate::node::{Kind, Node};
use crate::problems::Fault;

/// The arguments of a call: a tuple takes them one by one, a struct by the order of its fields,
/// anything else takes the only one.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    call: &'a Call,
    scope: &'a Scope<'a>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn of(call: &'a Call, scope: &'a Scope<'a>) -> Self {
        Self { call, scope }
    }

    /// What the called function itself refused.
    pub(crate) fn refused(&self, error: &galerna_topology_api::Error) -> Fault {
        Fault::new(self.call.name.at, format!("`{}` failed: {error}", self.call.name.text))
    }

    fn count(&self, expected: usize) -> Fault {
        let Call { name, arguments } = self.call;
        let s = if expected == 1 { "" } else { "s" };
        let message = format!("`{}` takes {expected} argument{s}, found {}", name.text, arguments.len());
        let at = arguments.get(expected).map_or(name.at, |extra| extra.at);
        Fault::new(at, message)
    }

    fn placed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.or_at(self.call.name.at))
    }

    fn only(&self) -> Result<&'a Node, Fault> {
        match self.call.arguments.as_slice() {
            [argument] => Ok(argument),
            _ => Err(self.count(1)),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, items: &'a [Node], visitor: V) -> Result<V::Value, Fault> {
        let name = format!("an argument of `{}`", self.call.name.text);
        self.placed(visitor.visit_seq(Items { items: items.iter(), name, scope: self.scope }))
    }
}

macro_rules! only {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let name = format!("the argument of `{}`", self.call.name.text);
            NodeReader { node: self.only()?, name: &name, scope: self.scope }.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Arguments<'_> {
    type Error = Fault;

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        if self.call.arguments.len() != len {
            return Err(self.count(len));
        }
        self.list(&self.call.arguments, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    /// The items of the only argument if it is a list, else all arguments.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.call.arguments.as_slice() {
            [Node { kind: Kind::List(items), .. }] => self.list(items, visitor),
            arguments => self.list(arguments, visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if self.call.arguments.len() > fields.len() {
            return Err(self.count(fields.len()));
        }
        let named = fields.iter().zip(&self.call.arguments);
        let pairs = named.map(|(key, value)| Pair { key, at: value.at, value }).collect();
        self.placed(visitor.visit_map(Pairs::new(pairs, self.scope)))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.call.arguments.is_empty() { self.placed(visitor.visit_unit()) } else { Err(self.count(0)) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name != super::REF {
            return self.placed(visitor.visit_newtype_struct(self));
        }
        let shown = format!("the argument of `{}`", self.call.name.text);
        NodeReader { node: self.only()?, name: &shown, scope: self.scope }.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.call.arguments.is_empty() {
            return self.placed(visitor.visit_none());
        }
        self.placed(visitor.visit_some(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let shown = format!("the argument of `{}`", self.call.name.text);
        NodeReader { node: self.only()?, name: &shown, scope: self.scope }.deserialize_enum(name, variants, visitor)
    }

    only! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_map deserialize_identifier deserialize_ignored_any
    }
}
