//! A serde deserializer over one node.

use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Scope;
use super::access::{Items, Pair, Pairs, Variant};
use super::error;
use super::reference::{self, REF};
use crate::node::{Kind, Node};
use crate::problems::{Fault, shown};
use crate::scalar::{Meaning, is_old_boolean};

/// Reads a node.
#[derive(Clone, Copy)]
pub(super) struct NodeReader<'a> {
    pub(super) node: &'a Node,
    /// As messages name it: `` `port` ``.
    pub(super) name: &'a str,
    pub(super) scope: &'a Scope<'a>,
}

impl<'a> NodeReader<'a> {
    /// Something else was expected.
    fn mismatch(&self, expected: &str) -> Fault {
        match &self.node.kind {
            Kind::Unknown => Fault::told(),
            Kind::Ref(_) => Fault::new(self.node.at, format!("{} takes no reference, expected {expected}", self.name)),
            _ => Fault::new(self.node.at, format!("{} is {}, expected {expected}", self.name, self.node.found())),
        }
    }

    fn wanted(&self) -> Option<Meaning> {
        self.node.as_scalar().map(|scalar| scalar.wanted_meaning())
    }

    /// An error from a visitor belongs here, unless it came from further inside.
    fn placed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.or_at(self.node.at))
    }

    fn integer<'de, V: Visitor<'de>>(self, visitor: V, least: i128, most: i128) -> Result<V::Value, Fault> {
        let value = match self.wanted() {
            Some(Meaning::Int(value)) if (least..=most).contains(&value) => value,
            // The most of the widest kinds says nothing to people.
            _ if most >= i128::from(i64::MAX) && least < 0 => return Err(self.mismatch("a whole number")),
            _ if most >= i128::from(i64::MAX) => return Err(self.mismatch(&format!("a whole number from {least} on"))),
            _ => return Err(self.mismatch(&format!("a whole number from {least} to {most}"))),
        };
        self.placed(match (i64::try_from(value), u64::try_from(value)) {
            (_, Ok(value)) => visitor.visit_u64(value),
            (Ok(value), _) => visitor.visit_i64(value),
            _ => visitor.visit_i128(value),
        })
    }

    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if error::is_path(&visitor) {
            self.scope.path(self.node.at);
        }
        match self.node.as_scalar().map(|scalar| (scalar, scalar.as_text())) {
            Some((_, Some(text))) => self.placed(visitor.visit_str(text)),
            Some((scalar, None)) if scalar.meaning() != Meaning::Null => {
                Err(self.mismatch("a string").help(format!("write \"{}\" for the string", shown(&scalar.text))))
            }
            _ => Err(self.mismatch("a string")),
        }
    }

    fn float<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.wanted() {
            Some(Meaning::Int(value)) => self.placed(visitor.visit_f64(value as f64)),
            Some(Meaning::Float(value)) => self.placed(visitor.visit_f64(value)),
            _ => Err(self.mismatch("a number")),
        }
    }

    /// The items of a list, or of `{reflist: [id, id]}`.
    fn items(&self, expected: &str) -> Result<&'a [Node], Fault> {
        match &self.node.only("reflist").unwrap_or(self.node).kind {
            Kind::List(items) => Ok(items),
            _ => Err(self.mismatch(expected)),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, items: &'a [Node], visitor: V) -> Result<V::Value, Fault> {
        let name = format!("an item of {}", self.name);
        self.placed(visitor.visit_seq(Items { items: items.iter(), name, scope: self.scope }))
    }

    fn pairs(&self) -> Result<Vec<Pair<'a>>, Fault> {
        match &self.node.kind {
            Kind::Map(entries) => Ok(entries.iter().map(Pair::from).collect()),
            _ => Err(self.mismatch("a map")),
        }
    }

    /// Of a `Ref<T>` only the id is read here; what it means is handed over beside serde.
    fn reference<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = |node: &'a Node| node.as_scalar().and_then(|scalar| scalar.as_text());
        let (id, at) = match (&self.node.kind, self.node.only("ref")) {
            (Kind::Ref(id), _) => (id.as_str(), self.node.at),
            (_, Some(node)) => (scalar(node).ok_or_else(|| self.mismatch("a reference"))?, node.at),
            // Items of `{reflist: [id, id]}`, and whoever writes the id alone.
            (Kind::Scalar(_), _) if scalar(self.node).is_some_and(|id| self.scope.pool.contains(id)) => {
                (scalar(self.node).unwrap_or_default(), self.node.at)
            }
            _ => {
                let expected = "a reference to an entry of `components:`";
                return Err(self.mismatch(expected).help("write `{ref: id}`, or `ref: id` in place of `value:`"));
            }
        };
        let component = self.scope.pool.resolve(id, at)?;
        let visited = reference::hand_over(component, || visitor.visit_unit::<Fault>());
        visited.map_err(|fault| fault.or_at(at))
    }
}

macro_rules! integers {
    ($($method:ident: $kind:ty;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.integer(visitor, <$kind>::MIN as i128, <$kind>::MAX as i128)
        })*
    };
}

impl<'de> Deserializer<'de> for NodeReader<'_> {
    type Error = Fault;

    integers! {
        deserialize_i8: i8;
        deserialize_i16: i16;
        deserialize_i32: i32;
        deserialize_i64: i64;
        deserialize_u8: u8;
        deserialize_u16: u16;
        deserialize_u32: u32;
        deserialize_u64: u64;
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let scalar = match &self.node.kind {
            Kind::Scalar(scalar) => scalar,
            Kind::List(items) => return self.list(items, visitor),
            Kind::Map(_) => return self.deserialize_map(visitor),
            Kind::Ref(_) => return Err(self.mismatch("a value")),
            Kind::Unknown => return Err(Fault::told()),
        };
        let visited = match scalar.meaning() {
            Meaning::Null => visitor.visit_unit(),
            Meaning::Bool(value) => visitor.visit_bool(value),
            Meaning::Int(_) => return self.integer(visitor, i128::MIN, i128::MAX),
            Meaning::Float(value) => visitor.visit_f64(value),
            Meaning::Text => visitor.visit_str(&scalar.text),
        };
        self.placed(visited)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if let Some(Meaning::Bool(value)) = self.wanted() {
            return self.placed(visitor.visit_bool(value));
        }
        let fault = self.mismatch("true or false");
        let is_old = self.node.as_scalar().is_some_and(|scalar| is_old_boolean(&scalar.text));
        Err(if is_old { fault.help("YAML 1.2 has only `true` and `false` as booleans") } else { fault })
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.float(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.float(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.as_scalar() {
            // `delimiter: 5` is as good as `"5"` where one character is asked for.
            Some(scalar) if scalar.text.chars().count() == 1 => self.placed(visitor.visit_str(&scalar.text)),
            _ => Err(self.mismatch("one character")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.text(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { self.placed(visitor.visit_none()) } else { self.placed(visitor.visit_some(self)) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.node.is_null() { self.placed(visitor.visit_unit()) } else { Err(self.mismatch("nothing")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.kind {
            Kind::Map(entries) if entries.is_empty() => self.placed(visitor.visit_unit()),
            _ => self.deserialize_unit(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == REF { self.reference(visitor) } else { self.placed(visitor.visit_newtype_struct(self)) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.list(self.items("a list")?, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        let expected = format!("a list of {len}");
        let items = self.items(&expected)?;
        if items.len() != len {
            let message = format!("{} is a list of {}, expected {expected}", self.name, items.len());
            return Err(Fault::new(self.node.at, message));
        }
        self.list(items, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let pairs = Pairs::new(self.pairs()?, self.scope);
        self.placed(visitor.visit_map(pairs))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (known, unknown): (Vec<_>, Vec<_>) = self.pairs()?.into_iter().partition(|pair| fields.contains(&pair.key));
        for pair in unknown {
            self.scope.unknown_property(pair.key, pair.at, fields);
        }
        self.placed(visitor.visit_map(Pairs::new(known, self.scope)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (name, at, value) = match &self.node.kind {
            Kind::Scalar(scalar) => (&*scalar.text, self.node.at, None),
            Kind::Map(entries) if entries.len() == 1 => {
                (entries[0].key.text.as_str(), entries[0].key.at, Some(&entries[0].value))
            }
            _ => return Err(self.mismatch(&crate::problems::one_of(variants.iter().copied()))),
        };
        self.placed(visitor.visit_enum(Variant { name, at, value, scope: self.scope }))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.as_scalar() {
            Some(scalar) => self.placed(visitor.visit_str(&scalar.text)),
            None => Err(self.mismatch("a string")),
        }
    }
}
