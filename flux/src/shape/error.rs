//! How a type's deserialization ended while it was watched.

use std::fmt::Display;

use serde::de;

/// What was seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// It missed this field.
    Missing(&'static str),
    /// Nothing of interest: it was stopped, or refused a value that was made up.
    Other,
}

impl Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("watched only")
    }
}

impl std::error::Error for Seen {}

impl de::Error for Seen {
    fn custom<T: Display>(_: T) -> Self {
        Self::Other
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}
