//! The YAML file with options: the long names of options, and what each is to be.

use std::collections::BTreeMap;
use std::fmt;

use clap::{Arg, Command};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

/// The values of each option, by the argument's id in `command`. An empty file says nothing.
///
/// # Errors
/// When it is no YAML, or names something that is no option that a file can have.
pub(super) fn read(text: &str, command: &Command) -> Result<BTreeMap<String, Vec<String>>, serde_yaml::Error> {
    File { command }.deserialize(serde_yaml::Deserializer::from_str(text))
}

struct File<'a> {
    command: &'a Command,
}

impl<'de> DeserializeSeed<'de> for File<'_> {
    type Value = BTreeMap<String, Vec<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for File<'_> {
    type Value = BTreeMap<String, Vec<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options with their values")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut options = BTreeMap::new();
        let known: Vec<&Arg> = self.command.get_arguments().filter(|known| known.get_id() != "config").collect();
        while let Some(name) = entries.next_key::<String>()? {
            let Some(option) = known.iter().find(|known| known.get_long() == Some(&name)) else {
                return Err(A::Error::custom(unknown(&name, &known)));
            };
            // As it is written: a password of digits is no number.
            let values = match option.get_value_delimiter() {
                Some(delimiter) => entries.next_value::<Option<OneOrMany>>()?.map(|values| values.split(delimiter)),
                None => entries.next_value::<Option<String>>()?.map(|value| vec![value]),
            };
            let Some(values) = values else { continue };
            if options.insert(option.get_id().to_string(), values).is_some() {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
        }
        Ok(options)
    }
}

fn unknown(name: &str, known: &[&Arg]) -> String {
    let known: Vec<String> = known.iter().filter_map(|known| Some(format!("`{}`", known.get_long()?))).collect();
    format!("unknown option `{name}`, expected one of {}", known.join(", "))
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a value or a list of values")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn split(self, delimiter: char) -> Vec<String> {
        match self {
            Self::One(values) => values.split(delimiter).map(|value| value.trim().to_owned()).collect(),
            Self::Many(values) => values,
        }
    }
}
