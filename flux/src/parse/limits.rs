//! How large a file may be, before and after its aliases are expanded.

use crate::problems::Fault;
use crate::source::Span;

/// The longest text.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// The deepest nesting.
pub(crate) const MOST_DEPTH: usize = 64;
/// The most scalars, lists and maps once aliases are expanded.
const MOST_NODES: usize = 100_000;
/// The most text in scalars once aliases are expanded.
const MOST_TEXT: usize = 4 * MOST_BYTES;

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

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: MOST_NODES, text: MOST_TEXT }
    }
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
