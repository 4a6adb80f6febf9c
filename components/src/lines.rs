//! Lines of text out of bytes: what all spouts that read lines have in common.

mod buffer;
mod feed;

use galerna_topology_api::Error;
use galerna_topology_api::human::ByteSize;
use serde::Deserialize;
use smol_str::SmolStr;

pub(crate) use buffer::{Cut, Line, LineBuffer};
pub(crate) use feed::{Chunk, LineFeed, pump, pump_blocking};

/// How to handle bytes that are not UTF-8: an older form of `on_bad_line: lossy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Encoding {
    /// See [`OnBadLine`].
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// U+FFFD in their place, counted as `lines_replaced`.
    #[serde(rename = "lossy")]
    Lossy,
}

/// What happens to a line that is not UTF-8 or is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnBadLine {
    /// The spout ends with an error that names the byte.
    Fail,
    /// The line is left out and counted as `lines_refused`; the first of a source is listed.
    Skip,
    /// As [`Encoding::Lossy`]. For lines that are too long, the default of the spout.
    Lossy,
}

/// What becomes of lines that cannot be emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// The spout fails: its only input is not as declared.
    AreFatal,
    /// They are counted as `lines_refused`, and the first of a source is listed: one sender's fault is
    /// not another's.
    AreListed,
}

/// Why a line, or all of a source, cannot be emitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    /// It goes on beyond the limit.
    #[error("the line at byte {offset} of {origin} is longer than {limit} bytes (`max_line`)")]
    TooLong { origin: String, offset: u64, limit: usize },
    /// It is not text.
    #[error("byte {offset} of {origin} is not UTF-8 text")]
    NotUtf8 { origin: String, offset: u64 },
    /// The byte order mark of another encoding.
    #[error("{origin} is UTF-16 text by its byte order mark; only UTF-8 can be read")]
    Utf16 { origin: String },
}

impl LineError {
    /// The error that ends a spout, with what would avoid it.
    pub(crate) fn into_fatal(self) -> Error {
        Error::fatal(match &self {
            Self::TooLong { .. } => format!("{self}; `on_bad_line: skip` would leave the line out"),
            Self::NotUtf8 { .. } => {
                format!("{self}; `on_bad_line: skip` would leave the line out, `lossy` would replace such bytes")
            }
            Self::Utf16 { .. } => self.to_string(),
        })
    }

    /// The text under which the first refusal of a source is listed.
    pub(crate) fn as_first_refusal(&self) -> String {
        match self {
            Self::Utf16 { .. } => format!("{self}; all of it is left out"),
            _ => format!("{self}; the line is left out, and further ones of this source are only counted"),
        }
    }
}

/// How lines are told apart and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineSettings {
    pub(crate) is_lossy: bool,
    pub(crate) max_line: usize,
    pub(crate) refusals: Refusals,
}

impl LineSettings {
    /// The settings of a spout with these properties. `refusals`: its default.
    pub(crate) fn new(
        encoding: Encoding,
        on_bad_line: Option<OnBadLine>,
        max_line: ByteSize,
        refusals: Refusals,
    ) -> Self {
        let refusals = match on_bad_line {
            Some(OnBadLine::Fail) => Refusals::AreFatal,
            Some(OnBadLine::Skip) => Refusals::AreListed,
            Some(OnBadLine::Lossy) | None => refusals,
        };
        let is_lossy = encoding == Encoding::Lossy || on_bad_line == Some(OnBadLine::Lossy);
        Self { is_lossy, max_line: usize::try_from(max_line.0).unwrap_or(usize::MAX), refusals }
    }

    /// The line that starts at `offset` of a source as text, and whether bytes had to be replaced. A
    /// byte order mark at the start of a source belongs to no line.
    pub(crate) fn text(
        &self,
        bytes: &[u8],
        offset: u64,
        origin: impl Fn() -> String,
    ) -> Result<(SmolStr, bool), LineError> {
        let mut mark = 0;
        if offset == 0 && bytes.starts_with(b"\xef\xbb\xbf") {
            mark = 3;
        } else if offset == 0 && (bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff")) {
            return Err(LineError::Utf16 { origin: origin() });
        }
        match std::str::from_utf8(&bytes[mark..]) {
            Ok(text) => Ok((SmolStr::new(text), false)),
            Err(_) if self.is_lossy => Ok((SmolStr::new(String::from_utf8_lossy(&bytes[mark..])), true)),
            Err(error) => {
                let offset = offset + (mark + error.valid_up_to()) as u64;
                Err(LineError::NotUtf8 { origin: origin(), offset })
            }
        }
    }
}

/// The longest line unless a spout is told otherwise: 16 MiB.
pub(crate) const fn default_max_line() -> ByteSize {
    ByteSize(16 << 20)
}

/// The name of the field that lines are emitted in, unless a spout is told otherwise.
pub(crate) const fn default_output() -> SmolStr {
    SmolStr::new_static("line")
}
