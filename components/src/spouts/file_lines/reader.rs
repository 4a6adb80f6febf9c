//! One file, read line by line.
//!
//! Reads are plain blocking calls of 256 KiB: what is in the page cache comes in some 30 µs, far
//! less than handing the read to another thread and back would take, and a disk is read ahead.
//!
//! After each read of a plain file the bytes before it are compared with what was read there
//! earlier ([`Trail`]): a file that was cut off and has grown again since would else go on in the
//! middle of a line.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;
use std::time::SystemTime;

use super::content::Content;
use super::fingerprint::{Fingerprint, Trail, is_at};
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
    /// Whether a line of it was left out and listed.
    pub(super) has_refused: bool,
    content: Content,
    trail: Trail,
    /// Whether only zeros were read, from its start on: it was cut off under a writer that does not
    /// append, and goes on where the writer was.
    is_in_hole: bool,
    /// Whether what was read of it is no longer there.
    is_rewritten: bool,
    /// What it was when its compressed data ended too early.
    incomplete: Option<Seen>,
    /// What it was at the last look.
    seen: Option<Seen>,
    /// Whether another file has its name now, so that nothing more is written to it.
    is_superseded: bool,
    max_line: usize,
}

/// What changes when a file is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    len: u64,
    modified: Option<SystemTime>,
}

impl Seen {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

/// What has become of a file that was read to its end.
pub(super) enum Tail {
    /// Nothing yet.
    Same,
    /// It has another name or none now; what was written to it in between is still to be read.
    ReadOn,
    /// It was read to its end, and another file has its name.
    Replaced(Found),
    /// The file is shorter than the read position: it is read from its start.
    CutOff(Found),
    /// Other bytes stand before the read position: the file is read from its start.
    Rewritten(Found),
    /// Its name is gone.
    Gone,
}

/// Whether what was read of a file is still in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    Kept,
    /// All whole lines are; what follows them has changed.
    LinesKept,
    Changed,
}

impl Reader {
    /// How many bytes of the file are not cut into lines yet; nothing for a compressed file or a pipe.
    pub(super) fn left(&self) -> Option<u64> {
        let len = self.content.plain()?.metadata().ok()?.len();
        Some(len.saturating_sub(self.buffer.offset()))
    }

    /// Opens a file to read from `offset` on, or from its start if it is shorter.
    ///
    /// # Blocking
    /// A compressed file is decompressed up to there.
    pub(super) fn open(found: &Found, id: u32, mut offset: u64, max_line: usize) -> io::Result<Self> {
        let (mut content, metadata) = open_content(found)?;
        let mut trail = Trail::default();
        if offset > 0 {
            match Trail::up_to(offset, &mut content) {
                Ok(reached) => trail = reached,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    offset = 0;
                    content = content.reopened()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self {
            id,
            path: found.path.clone(),
            identity: Identity::of(&metadata),
            buffer: LineBuffer::new(offset, max_line, READ),
            has_refused: false,
            content,
            trail,
            is_in_hole: offset == 0,
            is_rewritten: false,
            incomplete: None,
            seen: None,
            is_superseded: false,
            max_line,
        })
    }

    /// The next line that is whole, or [`Cut::More`] at the end of the file.
    pub(super) fn next(&mut self) -> io::Result<Cut> {
        loop {
            match self.buffer.cut() {
                Cut::More => {}
                cut => return Ok(cut),
            }
            if self.is_rewritten || (self.incomplete.is_some() && !self.go_on_decompressing()?) {
                return Ok(Cut::More);
            }
            self.trail.follow(&self.buffer);
            let bytes = match self.content.read(self.buffer.space()) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    if error.kind() == ErrorKind::UnexpectedEof {
                        self.incomplete = Some(Seen::of(&fs::metadata(&self.path)?));
                    }
                    return Err(error);
                }
            };
            if bytes == 0 {
                return Ok(Cut::More);
            }
            match self.past()? {
                Past::Kept => {
                    self.buffer.filled(bytes);
                    if self.is_in_hole {
                        self.buffer.skip_zeros();
                        self.is_in_hole = self.buffer.pending().is_empty();
                    }
                }
                Past::LinesKept => self.read_line_again()?,
                Past::Changed => self.is_rewritten = true,
            }
        }
    }

    /// What is recognized of the file when it is met again.
    pub(super) fn fingerprint(&mut self) -> Fingerprint {
        self.trail.follow(&self.buffer);
        self.trail.fingerprint()
    }

    /// Whether a file that begins with `head` can be a copy of it.
    pub(super) fn may_be_copied_as(&mut self, head: &[u8]) -> bool {
        self.trail.follow(&self.buffer);
        self.trail.may_begin_with(head)
    }

    /// Whether it is compressed: then it is complete when its compressed data is.
    pub(super) fn is_compressed(&self) -> bool {
        self.content.is_compressed()
    }

    /// Whether its compressed data ended too early: somebody may still be writing it.
    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete.is_some()
    }

    /// Decompresses again a file whose data ended too early, once it has grown and is at rest: each
    /// try has to begin at the start. Whether it did.
    fn go_on_decompressing(&mut self) -> io::Result<bool> {
        let found = Found { path: self.path.clone(), identity: self.identity };
        let (mut content, metadata) = match open_content(&found) {
            Ok((content, metadata)) if Identity::of(&metadata) == self.identity => (content, metadata),
            // Nothing can be added to it by that name.
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let seen = Seen::of(&metadata);
        let is_at_rest = self.seen.replace(seen) == Some(seen);
        if !is_at_rest || self.incomplete == Some(seen) {
            return Ok(false);
        }
        self.incomplete = Some(seen);
        content.skip(0, self.buffer.read_offset())?;
        self.content = content;
        self.incomplete = None;
        Ok(true)
    }

    /// Looks, at the end of the file, whether it or its name has changed.
    pub(super) fn look(&mut self) -> io::Result<Tail> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tail::Gone),
            Err(error) => return Err(error),
        };
        let found = Found { path: self.path.clone(), identity: Identity::of(&metadata) };
        if found.identity != self.identity {
            // Between the last read and the renaming something may have been written.
            let is_first_look = !std::mem::replace(&mut self.is_superseded, true);
            return Ok(if is_first_look { Tail::ReadOn } else { Tail::Replaced(found) });
        }
        let seen = Seen::of(&metadata);
        let has_changed = self.seen.replace(seen) != Some(seen);
        if self.is_rewritten || !has_changed || !metadata.is_file() {
            return Ok(if self.is_rewritten { Tail::Rewritten(found) } else { Tail::Same });
        }
        let is_shorter = seen.len < self.buffer.read_offset();
        match self.past()? {
            Past::Kept => return Ok(Tail::Same),
            // The line that was being written was taken back, by a writer that starts again.
            Past::LinesKept => self.read_line_again()?,
            Past::Changed if is_shorter => return Ok(Tail::CutOff(found)),
            Past::Changed => return Ok(Tail::Rewritten(found)),
        }
        Ok(Tail::Same)
    }

    /// The file as it was found, if what was read of it is no longer there.
    pub(super) fn rewritten(&self) -> Option<Found> {
        self.is_rewritten.then(|| Found { path: self.path.clone(), identity: self.identity })
    }

    /// Compares what was read with what is in the file now.
    fn past(&self) -> io::Result<Past> {
        let Some(file) = self.content.plain() else { return Ok(Past::Kept) };
        if !self.trail.is_in(file)? {
            return Ok(Past::Changed);
        }
        let is_kept = is_at(file, self.buffer.offset(), self.buffer.pending())?;
        Ok(if is_kept { Past::Kept } else { Past::LinesKept })
    }

    /// Forgets what was read behind the last whole line.
    fn read_line_again(&mut self) -> io::Result<()> {
        let offset = self.buffer.offset();
        self.content.skip(offset, offset)?;
        self.buffer = LineBuffer::new(offset, self.max_line, READ);
        Ok(())
    }
}

/// The content of a file from its start.
pub(super) fn open_content(found: &Found) -> io::Result<(Content, Metadata)> {
    let kind = fs::metadata(&found.path)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        // Opening it would wait, maybe for ever, on a thread that others need.
        let message = "it is not a file; use stdin-lines, socket-lines or exec-lines instead";
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    let file = File::open(&found.path)?;
    let metadata = file.metadata()?;
    Ok((Content::of(file, metadata.is_file()), metadata))
}
