//! Names of fields and declarations of streams.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

/// The stream that is meant where none is named.
pub const DEFAULT_STREAM: &str = "default";

/// The names of a stream's fields, in the order of a row's values. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fields(Arc<[SmolStr]>);

impl Fields {
    /// Fields of these names, in this order.
    pub fn new(names: impl IntoIterator<Item = impl Into<SmolStr>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// How many values a row of this stream has.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether rows have no values.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the field `name` in a row.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|field| field == name)
    }

    /// The names, in order.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.0.iter().map(SmolStr::as_str)
    }
}

impl<N: Into<SmolStr>, const LEN: usize> From<[N; LEN]> for Fields {
    fn from(names: [N; LEN]) -> Self {
        Self::new(names)
    }
}

impl<N: Into<SmolStr>> From<Vec<N>> for Fields {
    fn from(names: Vec<N>) -> Self {
        Self::new(names)
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, name) in self.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// One declared output stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSpec {
    /// The stream's name, unique within its component.
    pub id: SmolStr,
    /// The fields of its rows.
    pub fields: Fields,
    /// Whether each emit names the task that receives it.
    pub is_direct: bool,
    /// Whether some bolt must receive the stream. The tuples of any other stream are dropped if no bolt does.
    pub needs_receiver: bool,
}

/// The streams that a component declares as its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams(Vec<StreamSpec>);

impl Streams {
    /// No output at all: the component is a sink.
    pub fn none() -> Self {
        Self::default()
    }

    /// One stream, named `default`, with these fields.
    pub fn default_fields(fields: impl Into<Fields>) -> Self {
        Self::none().stream(DEFAULT_STREAM, fields)
    }

    /// Adds a stream. Declaring one name twice is found by validation.
    #[must_use]
    pub fn stream(self, id: impl Into<SmolStr>, fields: impl Into<Fields>) -> Self {
        self.push(id.into(), fields.into(), false, false)
    }

    /// Adds a stream that some bolt must receive: validation fails if none does.
    #[must_use]
    pub fn stream_with_receiver(self, id: impl Into<SmolStr>, fields: impl Into<Fields>) -> Self {
        self.push(id.into(), fields.into(), false, true)
    }

    /// Adds a direct stream: each emit on it names the task that receives the tuple.
    #[must_use]
    pub fn direct_stream(self, id: impl Into<SmolStr>, fields: impl Into<Fields>) -> Self {
        self.push(id.into(), fields.into(), true, false)
    }

    fn push(mut self, id: SmolStr, fields: Fields, is_direct: bool, needs_receiver: bool) -> Self {
        self.0.push(StreamSpec { id, fields, is_direct, needs_receiver });
        self
    }

    /// The stream of this name.
    pub fn get(&self, id: &str) -> Option<&StreamSpec> {
        self.0.iter().find(|stream| stream.id == id)
    }

    /// The place of the stream of this name among the declared ones.
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|stream| stream.id == id)
    }

    /// The declared streams, in order.
    #[inline]
    pub fn iter(&self) -> std::slice::Iter<'_, StreamSpec> {
        self.0.iter()
    }

    /// How many streams are declared.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no output.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Streams {
    type Item = &'a StreamSpec;
    type IntoIter = std::slice::Iter<'a, StreamSpec>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
