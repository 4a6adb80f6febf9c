//! One file, read line by line.
//!
//! Reads are plain blocking calls of 256 KiB: what is in the page cache comes in some 30 µs, far
//! less than handing the read to another thread and back would take, and a disk is read ahead.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use super::source::{Found, Identity};
use crate::lines::{Cut, LineBuffer};

const READ: usize = 256 << 10;

/// An open file.
pub(super) struct Reader {
    /// Names it in message ids.
    pub(super) id: u32,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) buffer: LineBuffer,
    file: File,
    /// Whether another file has its name now, so that nothing more is written to it.
    is_superseded: bool,
}

/// What has become of a file that was read to its end.
pub(super) enum Tail {
    /// Nothing yet.
    Same,
    /// It has another name or none now; what was written to it in between is still to be read.
    ReadOn,
    /// It was read to its end, and another file has its name.
    Replaced(Found),
    /// It is shorter than what was read of it: it begins anew.
    CutOff(Found),
    /// Its name is gone.
    Gone,
}

impl Reader {
    /// Opens a file to read from `offset` on, or from its start if it is shorter.
    pub(super) fn open(found: &Found, id: u32, offset: u64, max_line: usize) -> io::Result<Self> {
        let kind = fs::metadata(&found.path)?.file_type();
        if kind.is_fifo() || kind.is_socket() {
            // Opening it would wait, maybe for ever, on a thread that others need.
            let message = "it is not a file; use stdin-lines, socket-lines or exec-lines instead";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut file = File::open(&found.path)?;
        let metadata = file.metadata()?;
        let offset = if metadata.len() < offset { 0 } else { offset };
        if offset > 0 {
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(Self {
            id,
            path: found.path.clone(),
            identity: Identity::of(&metadata),
            buffer: LineBuffer::new(offset, max_line, READ),
            file,
            is_superseded: false,
        })
    }

    /// The next line that is whole, or [`Cut::More`] at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Cut> {
        loop {
            match self.buffer.cut() {
                Cut::More => {}
                cut => return Ok(cut),
            }
            let bytes = match self.file.read(self.buffer.space()) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes == 0 {
                return Ok(Cut::More);
            }
            self.buffer.filled(bytes);
        }
    }

    /// Looks, at the end of the file, whether its name means another file now.
    pub(super) fn look(&mut self) -> io::Result<Tail> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tail::Gone),
            Err(error) => return Err(error),
        };
        let found = Found { path: self.path.clone(), identity: Identity::of(&metadata) };
        if found.identity != self.identity {
            // Between the last read and the renaming something may have been written.
            let is_first_look = !std::mem::replace(&mut self.is_superseded, true);
            return Ok(if is_first_look { Tail::ReadOn } else { Tail::Replaced(found) });
        }
        if metadata.is_file() && metadata.len() < self.buffer.read_offset() {
            return Ok(Tail::CutOff(found));
        }
        Ok(Tail::Same)
    }
}
