//! The properties of a config type, found out by watching what it asks of a serde deserializer.

mod dummy;
mod error;
mod recorder;

use std::cell::Cell;
use std::fmt;

use serde::de::DeserializeOwned;

use crate::construct::guarded;
use dummy::Dummy;
use error::Seen;
use recorder::{Recorder, fields_of};

/// What a config type takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) properties: Vec<Property>,
    /// Whether it takes others too, as types with `#[serde(flatten)]` do.
    pub(crate) is_open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
}

/// What a property takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Number,
    Bool,
    List(Box<Kind>),
    Map,
    OneOf(&'static [&'static str]),
    Reference,
    /// What its type says that it expects.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("string"),
            Self::Integer => f.write_str("integer"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(item) => write!(f, "list of {item}"),
            Self::Map => f.write_str("map"),
            Self::OneOf(names) => write!(f, "one of {}", names.join(", ")),
            Self::Reference => f.write_str("reference"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Watches how `T` is deserialized. A type whose own code panics meanwhile has no known properties.
pub(crate) fn shape<T: DeserializeOwned>() -> Shape {
    guarded(trace::<T>).unwrap_or_else(|_| Shape { properties: Vec::new(), is_open: true })
}

fn trace<T: DeserializeOwned>() -> Shape {
    let Some(fields) = fields_of::<T>() else { return Shape { properties: Vec::new(), is_open: true } };
    let required = required::<T>(fields);
    let property = |name: &'static str| {
        let (kind, is_optional) = Recorder::watch::<T>(name);
        let is_required = match &required {
            Required::Known(names) => names.contains(&name),
            Required::UpTo(names, unknown_from) => {
                let is_known = fields.iter().position(|field| *field == name) < Some(*unknown_from);
                names.contains(&name) || (!is_known && !is_optional)
            }
        };
        Property { name, kind, is_required }
    };
    Shape { properties: fields.iter().map(|name| property(name)).collect(), is_open: false }
}

/// Which fields must be given.
enum Required {
    Known(Vec<&'static str>),
    /// As far as could be found out: these, and nothing is known of the fields from this one on.
    UpTo(Vec<&'static str>, usize),
}

/// Leaves fields out and hears which one is missed first; gives that one too, and so on.
fn required<T: DeserializeOwned>(fields: &'static [&'static str]) -> Required {
    let mut given: Vec<&'static str> = Vec::new();
    loop {
        let is_complete = Cell::new(false);
        let outcome = Dummy::attempts().find_map(|attempt| {
            match T::deserialize(Dummy::of(attempt, &given, &is_complete)) {
                Ok(_) => Some(None),
                Err(Seen::Missing(name)) if !given.contains(&name) => Some(Some(name)),
                // What it was made into (`try_from`) refuses these values; none of its fields is missed.
                Err(_) if is_complete.get() => Some(None),
                Err(_) => None,
            }
        });
        match outcome {
            Some(None) => return Required::Known(given),
            Some(Some(name)) => given.push(name),
            None => {
                // The last one given has no value that could be made up; it was missed, so it is
                // required, and hides what follows it.
                let last = given.last().and_then(|name| fields.iter().position(|field| field == name));
                return Required::UpTo(given, last.map_or(0, |index| index + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Written {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "limit", default)]
        _limit: u32,
        #[serde(rename = "mode")]
        _mode: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(try_from = "Written")]
    struct Choosy;

    impl TryFrom<Written> for Choosy {
        type Error = &'static str;

        fn try_from(_: Written) -> Result<Self, &'static str> {
            Err("no value that was made up will do")
        }
    }

    #[test]
    fn what_is_refused_only_as_a_whole_requires_no_more_than_its_fields_do() {
        let required: Vec<_> = shape::<Choosy>().properties.iter().map(|of| (of.name, of.is_required)).collect();
        assert_eq!(required, [("name", true), ("limit", false), ("mode", false)]);
    }
}
