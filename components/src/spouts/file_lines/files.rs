//! The files of one task: which is read next, and what is followed when it has been read.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::time::Duration;

use galerna_topology_api::{Error, Result, RetryBuffer, TopologyContext};
use smol_str::SmolStr;

use super::copies::{Copies, Original, Verdict};
use super::position::{Positions, Start};
use super::reader::{Reader, Tail};
use super::source::{Found, Identity, Kind, Source};
use super::{FileLines, LineId};
use crate::lines::{Cut, Line, LineError, LineSettings, Refusals};

/// This task's files.
pub(super) struct Files {
    source: Source,
    settings: LineSettings,
    /// How often to look for more, if the files are followed.
    poll: Option<Duration>,
    /// Files that were read or are going to be, so that a new look finds only new ones.
    known: BTreeSet<Identity>,
    waiting: VecDeque<Found>,
    /// Files that will be looked at again when more is looked for: they are being written.
    unclear: Vec<Found>,
    copies: Copies,
    readers: Vec<Reader>,
    /// Whose turn it is.
    current: usize,
    next_id: u32,
    scanned_at: Duration,
    pub(super) positions: Option<Positions>,
}

impl Files {
    /// Looks what there is to read, for a spout with these properties.
    pub(super) fn open(spout: &FileLines, context: &TopologyContext) -> Result<Self> {
        let (task, tasks) = (context.task_index(), context.task_count());
        let source = Source::resolve(&spout.path, spout.follow, task, tasks).map_err(Error::fatal)?;
        let settings = LineSettings::new(spout.encoding, spout.on_bad_line, spout.max_line, Refusals::AreFatal);
        let positions = match &spout.position {
            Some(path) => Some(Positions::load(path, context).map_err(Error::fatal)?),
            None => None,
        };
        let mut files = Self {
            source,
            settings,
            poll: spout.follow.then_some(spout.poll.0),
            known: BTreeSet::new(),
            waiting: VecDeque::new(),
            unclear: Vec::new(),
            copies: Copies::default(),
            readers: Vec::new(),
            current: 0,
            next_id: 0,
            scanned_at: context.elapsed(),
            positions,
        };
        if let Some(positions) = &files.positions {
            positions.of_other_tasks().for_each(|original| files.copies.remember(original));
        }
        files.scan()?;
        let is_nothing = files.waiting.is_empty() && files.poll.is_none();
        if is_nothing && files.source.kind == Kind::Glob && tasks == 1 {
            return Err(Error::fatal(format!("no file matches {}", spout.path.display())));
        }
        if files.waiting.is_empty() && files.source.kind == Kind::File && task == 0 {
            context.report_error(format!("{} does not exist; waiting for it", spout.path.display()));
        }
        Ok(files)
    }

    /// Whether more may come by itself.
    pub(super) fn poll(&self) -> Option<Duration> {
        self.poll
    }

    /// Adds files that are new. Called when all others are read to their ends.
    pub(super) fn look_for_more(&mut self, context: &TopologyContext) -> Result<()> {
        let Some(poll) = self.poll else { return Ok(()) };
        if context.elapsed() < self.scanned_at + poll {
            return Ok(());
        }
        self.scanned_at = context.elapsed();
        self.scan()
    }

    fn scan(&mut self) -> Result<()> {
        let found = self.source.scan().map_err(Error::fatal)?;
        let mut present: BTreeSet<_> = found.iter().map(|file| file.identity).collect();
        present.extend(self.readers.iter().map(|reader| reader.identity));
        self.known.retain(|identity| present.contains(identity));
        if let Some(positions) = &mut self.positions {
            positions.keep_only(&present).into_iter().for_each(|original| self.copies.remember(original));
        }
        self.waiting.extend(self.unclear.drain(..));
        self.waiting.extend(found.into_iter().filter(|file| self.known.insert(file.identity)));
        Ok(())
    }

    /// The next line, or nothing when all files are read to their ends for now.
    pub(super) fn next_line(&mut self, context: &TopologyContext) -> Result<Option<(LineId, SmolStr)>> {
        loop {
            let Some(reader) = self.readers.get_mut(self.current) else {
                if self.open_next(context)? {
                    continue;
                }
                self.current = 0;
                return Ok(None);
            };
            let cut = match reader.next() {
                Ok(Cut::More) => self.at_end(context)?,
                Ok(cut) => cut,
                Err(error) => {
                    self.failed(&error, context)?;
                    continue;
                }
            };
            let outcome = match cut {
                Cut::Line(line) => self.line(line, context),
                Cut::TooLong(offset) => Err(self.too_long(offset)),
                Cut::More => continue,
            };
            match outcome {
                Ok(line) => return Ok(Some(line)),
                Err(error) => self.refuse(error, context)?,
            }
        }
    }

    /// Reading the current file has failed. Unless that ends the spout, goes on with the next one.
    fn failed(&mut self, error: &io::Error, context: &TopologyContext) -> Result<()> {
        let is_tailed = self.is_tailed();
        let reader = &mut self.readers[self.current];
        let failure = unreadable(reader, error);
        if error.kind() == io::ErrorKind::UnexpectedEof && is_tailed {
            if !std::mem::replace(&mut reader.has_refused, true) {
                context.report_error(format!("{failure}; waiting for the rest"));
            }
            self.current += 1;
            return Ok(());
        }
        if error.kind() == io::ErrorKind::Unsupported && self.settings.refusals == Refusals::AreListed {
            context.counter("lines_refused").add(1);
            context.report_error(format!("{failure}; all of it is left out"));
            self.readers.remove(self.current);
            return Ok(());
        }
        Err(failure)
    }

    /// A line of the current file cannot be emitted: it is left out, or ends the spout.
    fn refuse(&mut self, error: LineError, context: &TopologyContext) -> Result<()> {
        if self.settings.refusals == Refusals::AreFatal {
            return Err(error.into_fatal());
        }
        context.counter("lines_refused").add(1);
        if !std::mem::replace(&mut self.readers[self.current].has_refused, true) {
            context.report_error(error.as_first_refusal());
        }
        if matches!(error, LineError::Utf16 { .. }) {
            self.readers.remove(self.current);
        }
        Ok(())
    }

    /// Whether files are followed under their names. Those of a folder are complete.
    fn is_tailed(&self) -> bool {
        self.poll.is_some() && self.source.kind != Kind::Folder
    }

    /// Opens the next file, to be read from where it was processed before.
    fn open_next(&mut self, context: &TopologyContext) -> Result<bool> {
        let Some(found) = self.waiting.pop_front() else { return Ok(false) };
        match self.try_open(&found, context) {
            Ok(Some(reader)) => {
                self.next_id += 1;
                self.current = self.readers.len();
                self.readers.push(reader);
            }
            Ok(None) => self.unclear.push(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.source.kind != Kind::File => {
                // Moved away between the look and now; that it was there is worth a word.
                context.report_error(format!("{} is gone before it was read", found.path.display()));
            }
            Err(error)
                if error.kind() == io::ErrorKind::Unsupported && self.settings.refusals == Refusals::AreListed =>
            {
                context.counter("lines_refused").add(1);
                context.report_error(format!("cannot read {}: {error}; all of it is left out", found.path.display()));
            }
            Err(error) => return Err(Error::fatal(format!("cannot read {}: {error}", found.path.display()))),
        }
        Ok(true)
    }

    /// Opens a file where it is to be read; nothing if that will be clear later only.
    fn try_open(&mut self, found: &Found, context: &TopologyContext) -> io::Result<Option<Reader>> {
        let Some(start) = self.start_of(found, context)? else { return Ok(None) };
        let reader = Reader::open(found, self.next_id, start.offset, self.settings.max_line)?;
        if let Some(positions) = &mut self.positions {
            let offset = reader.buffer.offset();
            positions.opened(reader.id, found, start.done.min(offset), offset);
        }
        Ok(Some(reader))
    }

    fn start_of(&mut self, found: &Found, context: &TopologyContext) -> io::Result<Option<Start>> {
        let mut start = match &self.positions {
            Some(positions) => positions.resume_at(found)?,
            None => Start::default(),
        };
        if let Some(offset) = start.rewritten_before {
            context.report_error(rewritten(found, offset));
        } else if start.offset == 0 && self.may_be_copies() {
            match self.judge(found, context)? {
                Verdict::New => {}
                Verdict::Unclear => return Ok(None),
                Verdict::CopyOf(Original { path, offset, done, .. }) => {
                    let (copy, path) = (found.path.display(), path.display());
                    tracing::info!("{copy} is a copy of {path}, which was read up to byte {offset}; going on there");
                    (start.offset, start.done) = (offset, done);
                }
            }
        }
        Ok(Some(start))
    }

    /// Whether new files may be copies of others. In a folder, and without knowledge of what was read
    /// before, none is left out.
    fn may_be_copies(&self) -> bool {
        self.source.kind == Kind::Glob && (self.poll.is_some() || !self.copies.is_empty())
    }

    fn judge(&mut self, found: &Found, context: &TopologyContext) -> io::Result<Verdict> {
        let Self { readers, positions, .. } = self;
        let is_followed = self.poll.is_some();
        let open = |head: &[u8]| {
            let mut found = Vec::new();
            for reader in readers.iter_mut().filter(|_| is_followed) {
                if reader.may_be_copied_as(head) {
                    found.push(original(reader, positions.as_ref()));
                }
            }
            found
        };
        self.copies.judge(found, open, self.poll.map(|_| context.elapsed()))
    }

    /// Closes the current file.
    fn close_current(&mut self) {
        let mut reader = self.readers.remove(self.current);
        if let Some(positions) = &mut self.positions {
            positions.note(reader.id, reader.fingerprint());
        }
        if self.is_tailed() {
            self.copies.remember(original(&mut reader, self.positions.as_ref()));
        }
    }

    /// The current file is read to its end: goes on to the next one, or follows this one's name.
    /// What stands there without a line end is a line only if nothing can follow it.
    fn at_end(&mut self, context: &TopologyContext) -> Result<Cut> {
        let is_tailed = self.is_tailed();
        let reader = &mut self.readers[self.current];
        let tail = match reader.rewritten() {
            Some(found) => Tail::Rewritten(found),
            None if reader.is_incomplete() => Tail::Same,
            None if is_tailed && !reader.is_compressed() => {
                reader.look().map_err(|error| unreadable(reader, &error))?
            }
            None => Tail::Gone,
        };
        match tail {
            Tail::ReadOn => return Ok(Cut::More),
            Tail::Same => self.current += 1,
            // It may come again under its name, and until then may still be written to.
            Tail::Gone if is_tailed && self.source.kind == Kind::File && !reader.is_compressed() => self.current += 1,
            Tail::Gone => return Ok(self.last_line()),
            Tail::Replaced(found) => {
                if self.known.insert(found.identity) {
                    self.waiting.push_front(found);
                }
                return Ok(self.last_line());
            }
            Tail::CutOff(found) => {
                tracing::info!("{} was cut off; reading it from its start", found.path.display());
                self.begin_anew(found);
            }
            Tail::Rewritten(found) => {
                context.report_error(rewritten(&found, reader.buffer.offset()));
                self.begin_anew(found);
            }
        }
        Ok(Cut::More)
    }

    /// Reads the current file from its start. The line that was cut off is lost; what is left of it
    /// is not a line.
    fn begin_anew(&mut self, found: Found) {
        self.close_current();
        self.waiting.push_front(found);
    }

    /// The rest of the current file; closes it when there is none.
    fn last_line(&mut self) -> Cut {
        let rest = self.readers[self.current].buffer.rest();
        if rest == Cut::More {
            self.close_current();
        }
        rest
    }

    fn line(&mut self, line: Line, context: &TopologyContext) -> Result<(LineId, SmolStr), LineError> {
        let reader = &self.readers[self.current];
        let origin = || reader.path.display().to_string();
        let (text, is_replaced) = self.settings.text(reader.buffer.bytes(line), line.offset, origin)?;
        if is_replaced {
            context.counter("lines_replaced").add(1);
        }
        if let Some(positions) = &mut self.positions {
            positions.sent(reader.id, line.offset, reader.buffer.offset());
        }
        Ok((LineId { file: reader.id, offset: line.offset }, text))
    }

    fn too_long(&self, offset: u64) -> LineError {
        let origin = self.readers[self.current].path.display().to_string();
        LineError::TooLong { origin, offset, limit: self.settings.max_line }
    }

    /// The file that is being read and the byte that was reached, and how many bytes of all known files were not
    /// read yet: nothing if some are compressed.
    pub(super) fn source(&self) -> Option<(String, Option<u64>)> {
        let current = self.readers.get(self.current).or(self.readers.last())?;
        let position = format!("{} byte {}", current.path.display(), current.buffer.offset());
        let waiting = self.waiting.iter().map(|found| fs::metadata(&found.path).ok().map(|file| file.len()));
        let left: Option<u64> = self.readers.iter().map(Reader::left).chain(waiting).sum();
        Some((position, left))
    }

    /// Writes down how far each file was processed, if that is due. Dead letters of lines that this moves past are
    /// made durable before.
    pub(super) async fn save(
        &mut self,
        is_last: bool,
        retries: &RetryBuffer<LineId>,
        context: &TopologyContext,
    ) -> Result<()> {
        let Some(positions) = &mut self.positions else { return Ok(()) };
        if !positions.is_due(is_last, context) {
            return Ok(());
        }
        retries.sync_dead_letters(context)?;
        for reader in &mut self.readers {
            positions.note(reader.id, reader.fingerprint());
        }
        positions.save(is_last, context).await
    }
}

/// A file that is being read as one that may be copied.
fn original(reader: &mut Reader, positions: Option<&Positions>) -> Original {
    let offset = reader.buffer.offset();
    let done = positions.and_then(|positions| positions.done(reader.id)).unwrap_or(offset);
    Original { path: reader.path.clone(), identity: reader.identity, content: reader.fingerprint(), offset, done }
}

/// What is told when a file is not what was read before. Between the last read and the change
/// something may have been written that nobody has seen.
fn rewritten(found: &Found, offset: u64) -> String {
    let path = found.path.display();
    format!("{path} was rewritten: what stood before byte {offset} has changed; reading it from its start")
}

fn unreadable(reader: &Reader, error: &io::Error) -> Error {
    Error::fatal(format!("cannot read {} at byte {}: {error}", reader.path.display(), reader.buffer.read_offset()))
}
