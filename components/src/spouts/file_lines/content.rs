//! The content of a file: its bytes, or what they decompress to.
//!
//! The first bytes decide which, not the name: a rotated log may be compressed under any name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Where content comes from. Offsets count bytes of the content.
pub(super) enum Content {
    /// Nothing was read yet: an empty file may still become anything.
    Unknown(File),
    Plain(File),
    /// Not a regular file: it cannot be read at an offset.
    Device(File),
    Gzip(Box<MultiGzDecoder<Source>>),
    Zstd(Box<Frames>),
}

/// The compressed formats that are recognized in order to be refused by name.
const UNREADABLE: [(&[u8], &str); 3] = [(b"\xfd7zXZ\0", "xz"), (b"BZh", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")];

impl Content {
    /// The content of a file from its start.
    pub(super) fn of(file: File, is_regular: bool) -> Self {
        if is_regular { Self::Unknown(file) } else { Self::Device(file) }
    }

    /// The file, if it is a regular one that is not compressed.
    pub(super) fn plain(&self) -> Option<&File> {
        match self {
            Self::Unknown(file) | Self::Plain(file) => Some(file),
            Self::Device(_) | Self::Gzip(_) | Self::Zstd(_) => None,
        }
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Gzip(_) | Self::Zstd(_))
    }

    /// The same content from its start again.
    pub(super) fn reopened(self) -> io::Result<Self> {
        let mut file = match self {
            Self::Unknown(file) | Self::Plain(file) => file,
            Self::Device(file) => return Ok(Self::Device(file)),
            Self::Gzip(decoder) => decoder.into_inner().file.into_inner(),
            Self::Zstd(frames) => frames.source.file.into_inner(),
        };
        file.rewind()?;
        Ok(Self::Unknown(file))
    }

    /// Reads what comes next; 0 bytes at the end. A compressed file that ends too early is an
    /// [`ErrorKind::UnexpectedEof`], one that cannot be decompressed here an
    /// [`ErrorKind::Unsupported`].
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recognize()?;
        let (read, source) = match self {
            Self::Unknown(file) | Self::Plain(file) | Self::Device(file) => return file.read(buffer),
            Self::Gzip(decoder) => (decoder.read(buffer), decoder.get_ref()),
            Self::Zstd(frames) => (frames.read(buffer), &frames.source),
        };
        let is_cut_short = source.is_at_end;
        read.map_err(|error| match error.kind() {
            ErrorKind::Interrupted => error,
            _ if is_cut_short => io::Error::new(ErrorKind::UnexpectedEof, "its compressed data ends too early"),
            _ => io::Error::new(error.kind(), format!("its compressed data is damaged: {error}")),
        })
    }

    /// Reads as many bytes as there is room for.
    pub(super) fn fill(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => buffer = &mut buffer[bytes..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves on from offset `at` to offset `to`. What is compressed has to be decompressed up to there.
    pub(super) fn skip(&mut self, at: u64, to: u64) -> io::Result<()> {
        self.recognize()?;
        if let Self::Plain(file) = self {
            return file.seek(SeekFrom::Start(to)).map(|_| ());
        }
        let mut left = to - at;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let bytes = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.fill(&mut buffer[..bytes])?;
            left -= bytes as u64;
        }
        Ok(())
    }

    /// Finds out by the first bytes of a file whether it is compressed, once there are any.
    fn recognize(&mut self) -> io::Result<()> {
        let Self::Unknown(file) = self else { return Ok(()) };
        let mut start = [0; 6];
        let bytes = file.read_at(&mut start, 0)?;
        let start = &start[..bytes];
        if start.is_empty() {
            return Ok(());
        }
        let is_text = start.starts_with(b"BZh") && !start.get(3).is_some_and(u8::is_ascii_digit);
        let unreadable = UNREADABLE.iter().find(|(magic, _)| start.starts_with(magic) && !is_text);
        if let Some((_, name)) = unreadable {
            let message = format!("it is compressed by {name}; only gzip and zstd can be read");
            return Err(io::Error::new(ErrorKind::Unsupported, message));
        }
        let file = file.try_clone()?;
        *self = if start.starts_with(b"\x1f\x8b") {
            Self::Gzip(Box::new(MultiGzDecoder::new(Source::new(file))))
        } else if start.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable_frame(start) {
            Self::Zstd(Box::new(Frames { source: Source::new(file), decoder: FrameDecoder::new(), is_in_frame: false }))
        } else {
            Self::Plain(file)
        };
        Ok(())
    }
}

/// Some compressors begin with a frame of their own notes.
fn is_skippable_frame(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == *b"\x2a\x4d\x18"
}

/// A compressed file, and whether it was read to its end.
pub(super) struct Source {
    file: BufReader<File>,
    is_at_end: bool,
}

impl Source {
    fn new(file: File) -> Self {
        Self { file: BufReader::with_capacity(64 << 10, file), is_at_end: false }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.is_at_end |= bytes == 0 && !buffer.is_empty();
        Ok(bytes)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let bytes = self.file.fill_buf()?;
        self.is_at_end |= bytes.is_empty();
        Ok(bytes)
    }

    fn consume(&mut self, bytes: usize) {
        self.file.consume(bytes);
    }
}

/// The frames of a zstd file, one after the other.
pub(super) struct Frames {
    source: Source,
    decoder: FrameDecoder,
    is_in_frame: bool,
}

impl Frames {
    /// Reads some bytes; 0 at the end of the last frame. A frame may be empty.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            while !self.is_in_frame || (self.decoder.is_finished() && self.decoder.can_collect() == 0) {
                let expected = self.decoder.get_checksum_from_data().filter(|_| self.is_in_frame);
                if expected.is_some() && expected != self.decoder.get_calculated_checksum() {
                    return Err(io::Error::new(ErrorKind::InvalidData, "a checksum differs"));
                }
                self.is_in_frame = false;
                if self.source.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin_frame()?;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(io::Error::other)?;
            }
            let bytes = self.decoder.read(buffer)?;
            if bytes > 0 || buffer.is_empty() {
                return Ok(bytes);
            }
        }
    }

    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.is_in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let length = u64::from(length);
                if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(io::Error::other(error)),
        }
        Ok(())
    }
}
