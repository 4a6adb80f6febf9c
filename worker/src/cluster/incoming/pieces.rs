//! Puts frames together that come in pieces.

use bytes::{Bytes, BytesMut};

/// What a packet brings or completes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// Frames.
    Frames(Vec<Bytes>),
    /// Nothing yet: a piece is missing.
    Missing,
    /// A frame of so many bytes, which is longer than frames may be.
    TooLong(usize),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pieces {
    /// What has come of a frame, unless that is too long already.
    bytes: BytesMut,
    /// How many bytes of a frame have come.
    len: usize,
    longest: usize,
}

impl Pieces {
    /// Frames may have up to `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self { bytes: BytesMut::new(), len: 0, longest }
    }

    /// Takes the frames of a packet, or a piece of a frame.
    pub(super) fn add(&mut self, frames: Vec<Bytes>, is_piece: bool) -> Whole {
        if !is_piece && self.len == 0 {
            return Whole::Frames(frames);
        }
        self.len += frames.iter().map(Bytes::len).sum::<usize>();
        let is_too_long = self.len > self.longest;
        if is_too_long {
            self.bytes = BytesMut::new();
        } else {
            frames.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        }
        if is_piece {
            return Whole::Missing;
        }
        let len = std::mem::take(&mut self.len);
        if is_too_long { Whole::TooLong(len) } else { Whole::Frames(vec![self.bytes.split().freeze()]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(len: usize) -> Vec<Bytes> {
        vec![Bytes::from(vec![7; len])]
    }

    #[test]
    fn frame_that_is_too_long_is_told_with_its_last_piece_and_the_next_frame_is_whole() {
        let mut pieces = Pieces::new(10);
        assert_eq!(pieces.add(piece(6), true), Whole::Missing);
        assert_eq!(pieces.add(piece(6), true), Whole::Missing);
        assert_eq!(pieces.add(piece(6), false), Whole::TooLong(18));
        assert_eq!(pieces.add(piece(6), true), Whole::Missing);
        assert_eq!(pieces.add(piece(4), false), Whole::Frames(piece(10)));
        assert_eq!(pieces.add(piece(3), false), Whole::Frames(piece(3)));
    }
}
