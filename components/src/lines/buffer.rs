//! A buffer that is filled with bytes and cut into lines. It does no reading of its own, so that
//! files, pipes and sockets share it.

use memchr::memchr;

/// Bytes that were read and not yet cut.
///
/// It grows with the longest line only, and never beyond the limit by more than one read.
#[derive(Debug)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the next line starts.
    start: usize,
    /// Up to where no line end was found.
    scanned: usize,
    /// Up to where bytes were read.
    end: usize,
    /// Where the next line starts in the source.
    offset: u64,
    limit: usize,
    /// How much is read at a time.
    read: usize,
    /// Whether the rest of a line that was too long is being dropped.
    is_dropping: bool,
}

/// What [`LineBuffer::cut`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A line; [`LineBuffer::bytes`] gives it until more is read.
    Line(Line),
    /// The line that starts at this offset is too long; the next call goes on behind it.
    TooLong(u64),
    /// No more lines until more is read.
    More,
}

/// Where a line stands, without its end (`\n` or `\r\n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it starts in the source.
    pub(crate) offset: u64,
    start: usize,
    end: usize,
}

impl LineBuffer {
    /// An empty buffer for a source that is read from `offset` on, `read` bytes at a time.
    pub(crate) fn new(offset: u64, limit: usize, read: usize) -> Self {
        Self { bytes: Vec::new(), start: 0, scanned: 0, end: 0, offset, limit, read, is_dropping: false }
    }

    /// Where the next line starts in the source.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Up to where the source was read.
    pub(crate) fn read_offset(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// The bytes of what was cut since the last call of [`space`](Self::space).
    pub(crate) fn cut_bytes(&self) -> &[u8] {
        &self.bytes[..self.start]
    }

    /// What was read of the line that is not whole yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Leaves out zero bytes in front of the next line.
    pub(crate) fn skip_zeros(&mut self) {
        let zeros = self.pending().iter().take_while(|&&byte| byte == 0).count();
        self.advance(self.start + zeros);
    }

    /// Room to read into; say by [`filled`](Self::filled) how much was.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.scanned -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.end < self.read {
            // Back to normal after a long line, rather than keeping its size for ever.
            self.bytes.truncate(2 * self.read);
            self.bytes.shrink_to(2 * self.read);
        }
        if self.bytes.len() < self.end + self.read {
            // Doubling, so that a long line is not copied at every read.
            self.bytes.resize((self.end + self.read).max(2 * self.end), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that this many bytes were read into the room.
    pub(crate) fn filled(&mut self, bytes: usize) {
        self.end += bytes;
    }

    /// The next whole line.
    pub(crate) fn cut(&mut self) -> Cut {
        loop {
            match memchr(b'\n', &self.bytes[self.scanned..self.end]) {
                Some(at) => {
                    let (start, line_end) = (self.start, self.scanned + at);
                    let offset = self.advance(line_end + 1);
                    if std::mem::take(&mut self.is_dropping) {
                        continue;
                    }
                    if line_end - start > self.limit {
                        return Cut::TooLong(offset);
                    }
                    return self.line(offset, start, line_end);
                }
                None if self.end - self.start > self.limit => {
                    let offset = self.advance(self.end);
                    if !std::mem::replace(&mut self.is_dropping, true) {
                        return Cut::TooLong(offset);
                    }
                }
                None => {
                    if self.is_dropping {
                        self.advance(self.end);
                    }
                    self.scanned = self.end;
                    return Cut::More;
                }
            }
        }
    }

    /// What stands behind the last line end, when the source has ended: a line of its own unless it
    /// is empty.
    pub(crate) fn rest(&mut self) -> Cut {
        let (start, end) = (self.start, self.end);
        let offset = self.advance(end);
        if std::mem::take(&mut self.is_dropping) || start == end {
            return Cut::More;
        }
        self.line(offset, start, end)
    }

    /// Moves behind a line; where it started in the source.
    fn advance(&mut self, to: usize) -> u64 {
        let offset = self.offset;
        self.offset += (to - self.start) as u64;
        self.start = to;
        self.scanned = to;
        offset
    }

    /// The bytes of a line that was just cut.
    pub(crate) fn bytes(&self, line: Line) -> &[u8] {
        &self.bytes[line.start..line.end]
    }

    fn line(&self, offset: u64, start: usize, end: usize) -> Cut {
        let has_carriage_return = self.bytes[start..end].ends_with(b"\r");
        Cut::Line(Line { offset, start, end: end - usize::from(has_carriage_return) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All cuts of `text` with a limit of 8, fed in reads of `read` bytes.
    fn cuts(text: &[u8], read: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut buffer = LineBuffer::new(0, 8, 64);
        let mut found = Vec::new();
        let mut note = |buffer: &LineBuffer, cut| match cut {
            Cut::Line(line) => found.push((line.offset, Some(buffer.bytes(line).to_vec()))),
            Cut::TooLong(offset) => found.push((offset, None)),
            Cut::More => {}
        };
        for part in text.chunks(read) {
            buffer.space()[..part.len()].copy_from_slice(part);
            buffer.filled(part.len());
            loop {
                let cut = buffer.cut();
                if cut == Cut::More {
                    break;
                }
                note(&buffer, cut);
            }
        }
        let rest = buffer.rest();
        note(&buffer, rest);
        assert_eq!(buffer.offset(), text.len() as u64);
        found
    }

    #[test]
    fn lines_are_cut_alike_however_they_arrive() {
        let text = b"one\r\n\ntwo\n123456789\n12345678\nvery very long\r\nlast";
        let line = |offset, text: &str| (offset, Some(text.as_bytes().to_vec()));
        let expected = [
            line(0, "one"),
            line(5, ""),
            line(6, "two"),
            (10, None),
            line(20, "12345678"),
            (29, None),
            line(45, "last"),
        ];
        for read in [1, 2, 3, 7, 100] {
            assert_eq!(cuts(text, read), expected, "in reads of {read}");
        }
    }

    #[test]
    fn a_line_without_end_is_never_kept_beyond_the_limit() {
        let mut buffer = LineBuffer::new(0, 100, 64);
        for _ in 0..100 {
            let space = buffer.space();
            space.fill(b'x');
            let bytes = space.len();
            buffer.filled(bytes);
            while buffer.cut() != Cut::More {}
        }
        assert!(buffer.bytes.len() <= 4 * 64);
        assert_eq!(buffer.rest(), Cut::More);
    }
}
