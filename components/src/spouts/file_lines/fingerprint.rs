//! Recognizing a file by its content: its first bytes, and the last bytes before an offset.
//!
//! Device and inode do not tell a file that was cut off and has grown again (logrotate's
//! `copytruncate`) from one that was only appended to. The bytes in front of an offset do, for two
//! reads of half a kilobyte, however large the file is.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::content::Content;
use crate::lines::LineBuffer;

/// Bytes that are remembered of each end.
pub(super) const LEN: usize = 512;

/// Some bytes of a file, by their hash. Of a compressed file: bytes of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stretch {
    start: u64,
    len: u64,
    hash: u64,
}

impl Stretch {
    fn of(start: u64, bytes: &[u8]) -> Self {
        Self { start, len: bytes.len() as u64, hash: xxh3_64(bytes) }
    }

    /// Compares the bytes of `content`, which was read up to `at`.
    fn compare(self, content: &mut Content, at: u64) -> io::Result<Likeness> {
        // A position file is input: its numbers are not trusted.
        if self.len > LEN as u64 || self.start < at {
            return Ok(Likeness::Different);
        }
        let mut bytes = [0; LEN];
        let bytes = &mut bytes[..self.len as usize];
        match content.skip(at, self.start).and_then(|()| content.fill(bytes)) {
            Ok(()) if xxh3_64(bytes) == self.hash => Ok(Likeness::Same),
            Ok(()) => Ok(Likeness::Different),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Likeness::TooShort),
            Err(error) => Err(error),
        }
    }
}

/// Whether a file has the content that another one had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    Same,
    Different,
    /// It does as far as it goes.
    TooShort,
}

/// What a file is recognized by in a later run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    first: Stretch,
    last: Stretch,
}

impl Fingerprint {
    /// Compares the content of a file.
    pub(super) fn compare(&self, mut content: Content) -> io::Result<Likeness> {
        let first = self.first.compare(&mut content, 0)?;
        if first != Likeness::Same {
            return Ok(first);
        }
        let at = self.first.len;
        if self.last.start >= at {
            return self.last.compare(&mut content, at);
        }
        // The two overlap in a small file.
        self.last.compare(&mut content.reopened()?, 0)
    }

    /// Whether a file that begins with `head` can have this content.
    pub(super) fn may_begin_with(&self, head: &[u8]) -> bool {
        match head.get(..self.first.len as usize) {
            Some(head) => xxh3_64(head) == self.first.hash,
            // It may still be written.
            None => true,
        }
    }

    /// How many bytes of content are compared, at least.
    pub(super) fn evidence(&self) -> u64 {
        self.first.len.max(self.last.len)
    }
}

/// The first and the last bytes of all lines that were cut from a file.
#[derive(Debug, Default)]
pub(super) struct Trail {
    first: Vec<u8>,
    last: Vec<u8>,
    /// Up to where lines were cut.
    end: u64,
}

impl Trail {
    /// The trail of a file that is read from `offset` on. `content` is at its start and gets there.
    pub(super) fn up_to(offset: u64, content: &mut Content) -> io::Result<Self> {
        let mut trail = Self { first: vec![0; LEN.min(offset as usize)], last: Vec::new(), end: 0 };
        content.fill(&mut trail.first)?;
        trail.end = trail.first.len() as u64;
        trail.last.clone_from(&trail.first);
        let tail = offset.saturating_sub(LEN as u64).max(trail.end);
        content.skip(trail.end, tail)?;
        let mut last = vec![0; (offset - tail) as usize];
        content.fill(&mut last)?;
        trail.push(&last);
        trail.end = offset;
        Ok(trail)
    }

    /// Takes up the lines that were cut since the last call. To be called before the buffer lets go
    /// of their bytes.
    pub(super) fn follow(&mut self, buffer: &LineBuffer) {
        let cut = buffer.cut_bytes();
        let new = cut.len() - ((buffer.offset() - self.end) as usize).min(cut.len());
        let new = &cut[new..];
        if self.first.len() < LEN && self.first.len() as u64 == self.end {
            self.first.extend_from_slice(&new[..new.len().min(LEN - self.first.len())]);
        }
        self.push(new);
        self.end = buffer.offset();
    }

    fn push(&mut self, bytes: &[u8]) {
        self.last.extend_from_slice(&bytes[bytes.len().saturating_sub(LEN)..]);
        self.last.drain(..self.last.len().saturating_sub(LEN));
    }

    /// Whether the file still has these bytes where they were read.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        Ok(is_at(file, 0, &self.first)? && is_at(file, self.end - self.last.len() as u64, &self.last)?)
    }

    /// Whether a file that begins with `head` can have these bytes.
    pub(super) fn may_begin_with(&self, head: &[u8]) -> bool {
        let both = head.len().min(self.first.len());
        head[..both] == self.first[..both]
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let start = self.end - self.last.len() as u64;
        Fingerprint { first: Stretch::of(0, &self.first), last: Stretch::of(start, &self.last) }
    }
}

/// Whether the bytes at `offset` of a file are these. Of many, the last are compared.
pub(super) fn is_at(file: &File, offset: u64, expected: &[u8]) -> io::Result<bool> {
    let skipped = expected.len().saturating_sub(LEN);
    let expected = &expected[skipped..];
    let mut bytes = [0; LEN];
    let bytes = &mut bytes[..expected.len()];
    match file.read_exact_at(bytes, offset + skipped as u64) {
        Ok(()) => Ok(bytes == expected),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
