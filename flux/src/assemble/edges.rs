//! The streams that lead to bolts: each component and stream leads to a bolt once.

use galerna_topology_api::{DEFAULT_STREAM, Grouping};

use crate::definition::GroupingDefinition;
use crate::node::Text;
use crate::problems::{Fault, Problems, shown};
use crate::resolved::is_same_grouping;
use crate::source::{Sources, Span};

/// A stream that leads to a bolt.
pub(super) struct Wiring<'a> {
    pub(super) at: Span,
    pub(super) from: &'a Text,
    pub(super) to: &'a str,
    pub(super) grouping: Grouping,
    pub(super) definition: &'a GroupingDefinition,
}

impl Wiring<'_> {
    /// The name of the stream.
    pub(super) fn stream(&self) -> &str {
        self.definition.stream.as_ref().map_or(DEFAULT_STREAM, |stream| &stream.text)
    }

    fn is_same_stream(&self, other: &Self) -> bool {
        self.to == other.to && self.from.text == other.from.text && self.stream() == other.stream()
    }
}

/// Leaves out each stream that leads to its bolt already: with a warning, or with an error if the groupings differ.
pub(super) fn without_repetitions<'a>(
    wirings: Vec<Wiring<'a>>,
    sources: &Sources,
    problems: &mut Problems,
) -> Vec<Wiring<'a>> {
    let mut kept: Vec<Wiring<'a>> = Vec::with_capacity(wirings.len());
    for wiring in wirings {
        let Some(first) = kept.iter().find(|known| known.is_same_stream(&wiring)) else {
            kept.push(wiring);
            continue;
        };
        let place = sources.place(first.at);
        let stream = match wiring.stream() {
            DEFAULT_STREAM => String::new(),
            other => format!("stream `{}` of ", shown(other)),
        };
        let edge = format!("`{}` receives {stream}`{}`", shown(wiring.to), shown(&wiring.from.text));
        if is_same_grouping(first.definition, wiring.definition) {
            problems.warning(
                wiring.at,
                format!("{edge} already, by the same grouping ({place}); this stream has no effect"),
            );
        } else {
            let message = format!("{edge} by two groupings: {} and {}", first.grouping, wiring.grouping);
            problems
                .fault(Fault::new(wiring.definition.at, message).help(format!("keep one; the other is at {place}")));
        }
    }
    kept
}
