//! How large a file may be, before and after its aliases are expanded.

use crate::problems::Fault;
use crate::source::Span;

/// The longest text.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// The deepest nesting.
const MOST_DEPTH: usize = 64;
/// The most scalars, lists and maps once aliases are expanded.
const MOST_NODES: usize = 100_000;
/// The most text in scalars once aliases are expanded.
const MOST_TEXT: usize = 4 * MOST_BYTES;

/// How a text came about, which says what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// By people.
    Written,
    /// By ourselves, from files that each kept to the limits: what they have together, with
    /// aliases expanded.
    Resolved,
}

/// How many times more a resolved text may be than a file.
const RESOLVED: usize = 8;

impl Form {
    pub(crate) fn most_bytes(self) -> usize {
        match self {
            Self::Written => MOST_BYTES,
            Self::Resolved => RESOLVED * MOST_BYTES,
        }
    }

    pub(crate) fn most_depth(self) -> usize {
        match self {
            Self::Written => MOST_DEPTH,
            // What `-c` sets may itself be that deep.
            Self::Resolved => MOST_DEPTH + 2,
        }
    }

    pub(super) fn budget(self) -> Budget {
        let times = match self {
            Self::Written => 1,
            Self::Resolved => RESOLVED,
        };
        Budget { nodes: times * MOST_NODES, text: times * MOST_TEXT }
    }
}

/// How much a node is with all that lies in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) text: usize,
    /// Levels of lists and maps.
    pub(super) depth: usize,
}

impl Size {
    /// An empty list or map.
    pub(super) const ONE: Self = Self { nodes: 1, text: 0, depth: 1 };

    pub(super) fn of_scalar(text: &str) -> Self {
        Self { nodes: 1, text: text.len(), depth: 0 }
    }

    pub(super) fn of(node: &crate::node::Node) -> Self {
        use crate::node::Kind;
        match &node.kind {
            Kind::Scalar(scalar) => Self::of_scalar(&scalar.text),
            Kind::Ref(_) | Kind::Unknown => Self::of_scalar(""),
            Kind::List(items) => items.iter().fold(Self::ONE, |sum, item| sum.with(Self::of(item))),
            Kind::Map(entries) => entries.iter().fold(Self::ONE, |sum, entry| sum.with(Self::of(&entry.value))),
        }
    }

    /// With one more node inside.
    pub(super) fn with(self, inner: Self) -> Self {
        Self { nodes: self.nodes + inner.nodes, text: self.text + inner.text, depth: self.depth.max(inner.depth + 1) }
    }
}

/// What a file has left.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    nodes: usize,
    text: usize,
}

impl Budget {
    /// Takes a node's size off.
    pub(super) fn spend(&mut self, size: Size, at: Span) -> Result<(), Fault> {
        let nodes = self.nodes.checked_sub(size.nodes);
        let text = self.text.checked_sub(size.text);
        match (nodes, text) {
            (Some(nodes), Some(text)) => {
                *self = Self { nodes, text };
                Ok(())
            }
            (None, _) => Err(Fault::new(at, format!("more than {MOST_NODES} values once aliases are expanded"))),
            (_, None) => Err(Fault::new(at, format!("more than {MOST_TEXT} bytes of text once aliases are expanded"))),
        }
    }
}
