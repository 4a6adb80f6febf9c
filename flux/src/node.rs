//! The file as a tree in which everything knows its place.

use crate::scalar::Scalar;
use crate::source::Span;

/// A scalar, a list, a map, or a reference, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) at: Span,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// The id of an entry of `components:`; never made by the parser, only by whoever reads a place
    /// where `ref` has that meaning.
    Ref(String),
    /// Something that could not be made out and was told already; it causes no further messages.
    Unknown,
}

/// A key of a map and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) value: Node,
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) at: Span,
    pub(crate) text: String,
    /// Whether it is `<<` without quotes.
    pub(crate) is_merge: bool,
}

/// A string and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) at: Span,
    pub(crate) text: String,
}

impl Node {
    /// As messages name it.
    pub(crate) fn found(&self) -> String {
        match &self.kind {
            Kind::Scalar(scalar) => scalar.found(),
            Kind::List(items) if items.is_empty() => "an empty list".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Ref(id) => format!("a reference to `{id}`"),
            Kind::Unknown => "something unknown".to_owned(),
        }
    }

    pub(crate) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether it means that there is nothing.
    pub(crate) fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(Scalar::is_null)
    }

    /// The value of a map's only key, if it has this one.
    pub(crate) fn only(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => match entries.as_slice() {
                [entry] if entry.key.text == key => Some(&entry.value),
                _ => None,
            },
            _ => None,
        }
    }
}
