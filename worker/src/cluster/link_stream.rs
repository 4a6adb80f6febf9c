//! The two streams of a link, and which of them carries a frame.

use galerna_protocol as protocol;

use crate::link::Frame;

/// A stream of a link. Each stream numbers, confirms and repeats its own frames, over a connection of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkStream {
    /// Tuples, and what must not overtake tuples.
    Data,
    /// Acks and credit: they never wait behind tuples, and mean the same in any order relative to them.
    Control,
}

impl LinkStream {
    pub(super) const ALL: [Self; 2] = [Self::Data, Self::Control];

    /// The stream that carries a frame.
    ///
    /// `Hold` follows the tuples that it holds back. `Released` follows the last tuples and markers of the task:
    /// the successor opens the edges again, and an old end of an edge that arrived later would close them. `Lost`
    /// follows `Released`: it concerns the tasks that the lost worker had taken over.
    pub(super) fn of(frame: &Frame) -> Self {
        match frame {
            Frame::Rows { .. } | Frame::Mark(_) | Frame::Hold { .. } | Frame::Released { .. } | Frame::Lost { .. } => {
                Self::Data
            }
            Frame::Acks(_) | Frame::Credit { .. } => Self::Control,
        }
    }
}

impl From<LinkStream> for protocol::LinkStream {
    fn from(stream: LinkStream) -> Self {
        match stream {
            LinkStream::Data => Self::Data,
            LinkStream::Control => Self::Control,
        }
    }
}

impl TryFrom<protocol::LinkStream> for LinkStream {
    type Error = &'static str;

    fn try_from(stream: protocol::LinkStream) -> Result<Self, Self::Error> {
        match stream {
            protocol::LinkStream::Data => Ok(Self::Data),
            protocol::LinkStream::Control => Ok(Self::Control),
            protocol::LinkStream::Unspecified => {
                Err("a hello names the stream that it opens: expected data or control")
            }
        }
    }
}
