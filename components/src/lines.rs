//! Lines of text out of bytes: what all spouts that read lines have in common.

mod buffer;
mod feed;

use serde::Deserialize;
use smol_str::SmolStr;

pub(crate) use buffer::{Cut, Line, LineBuffer};
pub(crate) use feed::{Chunk, LineFeed, Refusals, pump, pump_blocking};

/// What bytes that are not UTF-8 come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Encoding {
    /// An error that names the place of the first such byte.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// U+FFFD in their place, counted as `lines_replaced`.
    #[serde(rename = "lossy")]
    Lossy,
}

/// Why a line cannot be emitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// It goes on beyond the limit.
    #[error("the line at byte {offset} of {origin} is longer than {limit} bytes (`max_line`)")]
    TooLong { origin: String, offset: u64, limit: usize },
    /// It is not text.
    #[error("byte {offset} of {origin} is not UTF-8 text; `encoding: lossy` would replace such bytes")]
    NotUtf8 { origin: String, offset: u64 },
}

/// How lines are told apart and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineSettings {
    pub(crate) encoding: Encoding,
    pub(crate) max_line: usize,
}

/// The longest line unless a spout is told otherwise: 16 MiB.
pub(crate) const fn default_max_line() -> galerna_topology_api::human::ByteSize {
    galerna_topology_api::human::ByteSize(16 << 20)
}

/// The name of the field that lines are emitted in, unless a spout is told otherwise.
pub(crate) const fn default_output() -> SmolStr {
    SmolStr::new_static("line")
}

/// A line as text, and whether bytes had to be replaced; or the place in `bytes` of the first one
/// that is not UTF-8.
pub(crate) fn decode(bytes: &[u8], encoding: Encoding) -> Result<(SmolStr, bool), usize> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((SmolStr::new(text), false)),
        Err(error) if encoding == Encoding::Utf8 => Err(error.valid_up_to()),
        Err(_) => Ok((SmolStr::new(String::from_utf8_lossy(bytes)), true)),
    }
}
