//! A topology as its files define it: read and placed, not yet checked against the registry.

use galerna_topology_api::Value;

use crate::node::{Entry, Node, Text};
use crate::source::Span;

/// All that a file, with what it includes, defines.
#[derive(Debug, Default)]
pub(crate) struct Definition {
    /// What to point at when something is missing.
    pub(crate) at: Span,
    pub(crate) name: Option<Text>,
    pub(crate) config: Vec<Setting>,
    pub(crate) components: Vec<Object>,
    pub(crate) spouts: Vec<Vertex>,
    pub(crate) bolts: Vec<Vertex>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) worker_hooks: Vec<Object>,
    /// Whether something that was wrong may have hidden a definition, so that its absence is no
    /// news.
    pub(crate) is_incomplete: bool,
    /// Whether there is a name that is none.
    pub(crate) is_name_wrong: bool,
}

/// A key of a config.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) key: Text,
    pub(crate) value: Value,
    pub(crate) value_at: Span,
}

/// Something made by the name of its type.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) at: Span,
    /// Nothing if it has none or that was wrong.
    pub(crate) id: Option<Text>,
    /// Nothing if it was wrong.
    pub(crate) class: Option<Text>,
    pub(crate) recipe: Recipe,
}

/// How something is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recipe {
    /// What to point at when something is missing.
    pub(crate) at: Span,
    pub(crate) arguments: Vec<Node>,
    pub(crate) properties: Vec<Entry>,
    pub(crate) factory: Option<Call>,
    pub(crate) methods: Vec<Call>,
    /// Where the object stands: that of no other, while a class may come by `<<` from elsewhere.
    pub(crate) object: Span,
    /// Whether something in it was wrong, so that trying it makes no sense.
    pub(crate) is_broken: bool,
}

/// A function called by its name.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: Text,
    pub(crate) arguments: Vec<Node>,
}

/// A spout or a bolt.
#[derive(Clone, Debug)]
pub(crate) struct Vertex {
    pub(crate) object: Object,
    pub(crate) parallelism: Option<(u32, Span)>,
    pub(crate) tasks: Option<(u32, Span)>,
    pub(crate) is_blocking: bool,
    pub(crate) cpu: Option<f64>,
    pub(crate) memory_mb: Option<f64>,
    pub(crate) config: Vec<Setting>,
}

/// An edge. Where something was wrong there is nothing.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) at: Span,
    /// A label for people.
    pub(crate) name: Option<Text>,
    pub(crate) from: Option<Text>,
    pub(crate) to: Option<Text>,
    pub(crate) grouping: Option<GroupingDefinition>,
}

#[derive(Clone, Debug)]
pub(crate) struct GroupingDefinition {
    pub(crate) at: Span,
    pub(crate) kind: GroupingKind,
    pub(crate) arguments: Vec<Text>,
    pub(crate) stream: Option<Text>,
    pub(crate) custom: Option<Object>,
}

/// Storm's names, and ours for partial keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupingKind {
    Shuffle,
    Fields,
    Global,
    All,
    LocalOrShuffle,
    None,
    Direct,
    PartialKey,
    Custom,
}

impl GroupingKind {
    pub(crate) const ALL: [(&str, Self); 9] = [
        ("SHUFFLE", Self::Shuffle),
        ("FIELDS", Self::Fields),
        ("GLOBAL", Self::Global),
        ("ALL", Self::All),
        ("LOCAL_OR_SHUFFLE", Self::LocalOrShuffle),
        ("NONE", Self::None),
        ("DIRECT", Self::Direct),
        ("PARTIAL_KEY", Self::PartialKey),
        ("CUSTOM", Self::Custom),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}
