//! Hands the items of lists and the entries of maps to serde's visitors.

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::Scope;
use super::node::NodeReader;
use crate::node::{Entry, Kind, Node};
use crate::problems::Fault;
use crate::scalar::Scalar;
use crate::source::Span;

/// The items of a list.
pub(super) struct Items<'a> {
    pub(super) items: std::slice::Iter<'a, Node>,
    /// As messages name an item.
    pub(super) name: String,
    pub(super) scope: &'a Scope<'a>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(NodeReader { node, name: &self.name, scope: self.scope }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// A key, its place and its value.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) key: &'a str,
    pub(super) at: Span,
    pub(super) value: &'a Node,
}

impl<'a> From<&'a Entry> for Pair<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { key: &entry.key.text, at: entry.key.at, value: &entry.value }
    }
}

/// The entries of a map.
pub(super) struct Pairs<'a> {
    pairs: std::vec::IntoIter<Pair<'a>>,
    current: Option<Pair<'a>>,
    scope: &'a Scope<'a>,
    /// Whether these are an object's own properties.
    is_outermost: bool,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(pairs: Vec<Pair<'a>>, scope: &'a Scope<'a>) -> Self {
        Self { pairs: pairs.into_iter(), current: None, scope, is_outermost: false }
    }

    /// The properties of an object. Those that were refused before are left out; one that is
    /// refused now is noted.
    pub(super) fn outermost(mut pairs: Vec<Pair<'a>>, scope: &'a Scope<'a>) -> Self {
        pairs.retain(|pair| !scope.is_left_out(pair.key));
        Self { is_outermost: true, ..Self::new(pairs, scope) }
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.pairs.next();
        let Some(pair) = self.current else { return Ok(None) };
        // A key may be text or a number, as its type has it.
        let scalar = Scalar { text: pair.key.into(), is_plain: false, is_open: true };
        let node = Node { at: pair.at, kind: Kind::Scalar(scalar) };
        seed.deserialize(NodeReader { node: &node, name: "the key", scope: self.scope }).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(pair) = self.current.take() else {
            return Err(Fault::unplaced("a value was asked for before its key"));
        };
        let name = format!("`{}`", pair.key);
        let value = seed.deserialize(NodeReader { node: pair.value, name: &name, scope: self.scope });
        if self.is_outermost && value.is_err() {
            *self.scope.refused.borrow_mut() = Some(pair.key.to_owned());
        }
        value
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}

/// A variant: its name, and what it holds.
pub(super) struct Variant<'a> {
    pub(super) name: &'a str,
    pub(super) at: Span,
    pub(super) value: Option<&'a Node>,
    pub(super) scope: &'a Scope<'a>,
}

impl<'a> Variant<'a> {
    fn content(&self) -> Result<NodeReader<'a>, Fault> {
        let missing = || Fault::new(self.at, format!("`{}` needs a value, as in `{{{}: ...}}`", self.name, self.name));
        let node = self.value.ok_or_else(missing)?;
        Ok(NodeReader { node, name: self.name, scope: self.scope })
    }
}

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name = serde::de::value::StrDeserializer::<Fault>::new(self.name);
        let variant = seed.deserialize(name).map_err(|fault| fault.or_at(self.at))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.value {
            Some(node) if !node.is_null() => Err(Fault::new(node.at, format!("`{}` takes no value", self.name))),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content()?.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}
