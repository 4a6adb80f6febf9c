//! The entry for fuzzing: what a worker does with the bytes of a link.

use std::sync::LazyLock;

use crate::graph::{Graph, example};
use crate::wire;

/// The frames of a spout with three tasks and a bolt with four.
static GRAPH: LazyLock<Graph> = LazyLock::new(|| example::graph(3, 4));

/// Decodes bytes as a frame of a link, for the fuzz target `frames`.
///
/// # Panics
/// When the bytes give a frame whose parts do not fit together.
pub fn decode_frame(bytes: &[u8]) {
    wire::check_bytes(bytes, &GRAPH);
}
