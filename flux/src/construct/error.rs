//! serde's errors in our words. Their place is added by the innermost node that they pass.

use std::fmt::Display;

use serde::de::{self, Expected, Unexpected};

use crate::problems::{Fault, did_you_mean, one_of, shown};

impl std::error::Error for Fault {}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        let message = message.to_string();
        if message.starts_with("data did not match any variant of untagged enum") {
            return Self::unplaced("this has none of the forms that are accepted here");
        }
        Self::unplaced(message)
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::unplaced(format!("expected {}, found {}", in_our_words(expected), named(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::unplaced(format!("expected {}, found {length} items", in_our_words(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let near = did_you_mean(variant, expected.iter().copied());
        let fault = Self::unplaced(format!("unknown value `{}`{near}", shown(variant)));
        fault.help(format!("expected {}", one_of(expected.iter().copied())))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        unknown_property(field, expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::unplaced(missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::unplaced(format!("property `{field}` is given twice, by two of its names"))
    }
}

/// Says that a property is missing.
pub(super) fn missing(field: &str) -> String {
    format!("property `{field}` is missing")
}

/// Says that a property is none of those that its type has.
pub(super) fn unknown_property(name: &str, known: &[&str]) -> Fault {
    let near = did_you_mean(name, known.iter().copied());
    let fault = Fault::unplaced(format!("unknown property `{}`{near}", shown(name)));
    match (known.is_empty(), near.is_empty()) {
        (true, _) => fault.help("there are no properties here"),
        (false, true) => fault.help(format!("known here: {}", known.join(", "))),
        (false, false) => fault,
    }
}

/// What a visitor expects, without serde's and Rust's own words.
pub(crate) fn in_our_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a sequence" => "a list".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "an integer".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number from 0 on".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        _ => match text.strip_prefix("struct ") {
            Some(_) => "a map".to_owned(),
            None => text,
        },
    }
}

/// Whether a visitor reads a path. serde has no other sign of it than what the visitors of `PathBuf`
/// and its like say that they expect.
pub(super) fn is_path(expected: &dyn Expected) -> bool {
    expected.to_string().ends_with("path string")
}

fn named(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("the boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("the integer `{value}`"),
        Unexpected::Signed(value) => format!("the integer `{value}`"),
        Unexpected::Float(value) => format!("the number `{value}`"),
        Unexpected::Str(text) => format!("the string `{}`", shown(text)),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}
