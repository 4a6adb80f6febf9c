//! A serde deserializer over all that an object's definition gives: its properties, and its
//! constructor's arguments as the fields of its config in the order of their declaration.

use serde::de::{Deserializer, Visitor};

use super::Scope;
use super::access::{Items, Pair, Pairs};
use super::node::NodeReader;
use crate::definition::Recipe;
use crate::node::{Kind, Node};
use crate::problems::{Fault, shown};

/// What a maker is given.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    /// The type's name.
    pub(crate) name: &'a str,
    pub(crate) recipe: &'a Recipe,
    pub(crate) scope: &'a Scope<'a>,
}

impl<'a> Given<'a> {
    /// The fields of a struct, by argument or property.
    fn fields(&self, fields: &'static [&'static str]) -> Result<Vec<Pair<'a>>, Fault> {
        let Recipe { arguments, properties, .. } = self.recipe;
        if let Some(extra) = arguments.get(fields.len()) {
            let names = fields.join(", ");
            let message =
                format!("`{}` takes {} constructor arguments, found {}", self.name, fields.len(), arguments.len());
            return Err(Fault::new(extra.at, message).help(format!("they are: {names}")));
        }
        let named = fields.iter().zip(arguments);
        let mut pairs: Vec<_> = named.map(|(key, value)| Pair { key, at: value.at, value }).collect();
        for entry in properties {
            let pair = Pair::from(entry);
            if !fields.contains(&pair.key) {
                self.scope.unknown_property(pair.key, pair.at, fields);
            } else if pairs.iter().any(|known| known.key == pair.key) {
                let message = format!("property `{}` is given by `constructorArgs` already", shown(pair.key));
                self.scope.fault(Fault::new(pair.at, message));
            } else {
                pairs.push(pair);
            }
        }
        Ok(pairs)
    }

    fn without_arguments(&self) -> Result<(), Fault> {
        match self.recipe.arguments.first() {
            Some(argument) => {
                let message = format!("`{}` takes no `constructorArgs`: its fields have no order", self.name);
                Err(Fault::new(argument.at, message).help("give them by name, in `properties`"))
            }
            None => Ok(()),
        }
    }

    fn without_properties(&self) {
        for entry in &self.recipe.properties {
            self.scope.unknown_property(&entry.key.text, entry.key.at, &[]);
        }
    }

    /// The only argument, or the properties as a map.
    fn as_node(&self) -> Result<Node, Fault> {
        if let ([argument], []) = (self.recipe.arguments.as_slice(), self.recipe.properties.as_slice()) {
            return Ok(argument.clone());
        }
        self.without_arguments()?;
        Ok(Node { at: self.recipe.at, kind: Kind::Map(self.recipe.properties.clone()) })
    }

    fn placed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.or_at(self.recipe.at))
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.without_properties();
        let name = format!("an argument of `{}`", self.name);
        let items = Items { items: self.recipe.arguments.iter(), name, scope: self.scope };
        self.placed(visitor.visit_seq(items))
    }
}

macro_rules! as_node {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let name = format!("`{}`", self.name);
            NodeReader { node: &self.as_node()?, name: &name, scope: self.scope }.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Given<'_> {
    type Error = Fault;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let pairs = Pairs::outermost(self.fields(fields)?, self.scope);
        self.placed(visitor.visit_map(pairs))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.without_arguments()?;
        let pairs = self.recipe.properties.iter().map(Pair::from).collect();
        self.placed(visitor.visit_map(Pairs::new(pairs, self.scope)))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(argument) = self.recipe.arguments.first() {
            return Err(Fault::new(argument.at, format!("`{}` takes no arguments", self.name)));
        }
        self.without_properties();
        self.placed(visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.placed(visitor.visit_newtype_struct(self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.placed(visitor.visit_some(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let shown = format!("`{}`", self.name);
        NodeReader { node: &self.as_node()?, name: &shown, scope: self.scope }.deserialize_enum(name, variants, visitor)
    }

    as_node! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_identifier deserialize_ignored_any
    }
}
