//! The files of one task: which is read next, and what is followed when it has been read.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use galerna_topology_api::{Error, Result, TopologyContext};
use smol_str::SmolStr;

use super::position::Positions;
use super::reader::{Reader, Tail};
use super::source::{Found, Identity, Kind, Source};
use super::{FileLines, LineId};
use crate::lines::{Cut, Line, LineError, LineSettings, decode};

/// This task's files.
pub(super) struct Files {
    source: Source,
    settings: LineSettings,
    /// How often to look for more, if the files are followed.
    poll: Option<Duration>,
    /// Files that were read or are going to be, so that a new look finds only new ones.
    known: BTreeSet<Identity>,
    waiting: VecDeque<Found>,
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
        let settings = LineSettings { encoding: spout.encoding, max_line: spout.max_line.0 as usize };
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
            readers: Vec::new(),
            current: 0,
            next_id: 0,
            scanned_at: context.elapsed(),
            positions,
        };
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
            positions.keep_only(&present);
        }
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
            let cut = reader.next().map_err(|error| unreadable(reader, &error))?;
            match if cut == Cut::More { self.at_end()? } else { cut } {
                Cut::Line(line) => return self.line(line, context).map(Some),
                Cut::TooLong(offset) => return Err(self.too_long(offset)),
                Cut::More => {}
            }
        }
    }

    /// Opens the next file. It is read from where an earlier run had come to.
    fn open_next(&mut self, context: &TopologyContext) -> Result<bool> {
        let Some(found) = self.waiting.pop_front() else { return Ok(false) };
        let offset = self.positions.as_ref().map_or(0, |positions| positions.resume_at(&found));
        match Reader::open(&found, self.next_id, offset, self.settings.max_line) {
            Ok(reader) => {
                if let Some(positions) = &mut self.positions {
                    positions.opened(reader.id, &found, reader.buffer.offset());
                }
                self.next_id += 1;
                self.current = self.readers.len();
                self.readers.push(reader);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.source.kind != Kind::File => {
                // Moved away between the look and now; that it was there is worth a word.
                context.report_error(format!("{} is gone before it was read", found.path.display()));
            }
            Err(error) => return Err(Error::fatal(format!("cannot read {}: {error}", found.path.display()))),
        }
        Ok(true)
    }

    /// The current file is read to its end: goes on to the next one, or follows this one's name.
    /// What stands there without a line end is a line only if nothing can follow it.
    fn at_end(&mut self) -> Result<Cut> {
        let is_tailed = self.poll.is_some() && self.source.kind != Kind::Folder;
        let reader = &mut self.readers[self.current];
        let tail = if is_tailed { reader.look().map_err(|error| unreadable(reader, &error))? } else { Tail::Gone };
        match tail {
            Tail::ReadOn => return Ok(Cut::More),
            Tail::Same => self.current += 1,
            // It may come again under its name, and until then may still be written to.
            Tail::Gone if is_tailed && self.source.kind == Kind::File => self.current += 1,
            Tail::Gone => return Ok(self.last_line()),
            Tail::Replaced(found) => {
                if self.known.insert(found.identity) {
                    self.waiting.push_front(found);
                }
                return Ok(self.last_line());
            }
            Tail::CutOff(found) => {
                // The line that was cut off is lost; what is left of it is not a line.
                self.readers.remove(self.current);
                self.waiting.push_front(found);
            }
        }
        Ok(Cut::More)
    }

    /// The rest of the current file; closes it when there is none.
    fn last_line(&mut self) -> Cut {
        let rest = self.readers[self.current].buffer.rest();
        if rest == Cut::More {
            self.readers.remove(self.current);
        }
        rest
    }

    fn line(&mut self, line: Line, context: &TopologyContext) -> Result<(LineId, SmolStr)> {
        let reader = &self.readers[self.current];
        let (text, is_replaced) = decode(reader.buffer.bytes(line), self.settings.encoding).map_err(|at| {
            let origin = reader.path.display().to_string();
            Error::fatal(LineError::NotUtf8 { origin, offset: line.offset + at as u64 })
        })?;
        if is_replaced {
            context.counter("lines_replaced").add(1);
        }
        if let Some(positions) = &mut self.positions {
            positions.sent(reader.id, line.offset, reader.buffer.offset());
        }
        Ok((LineId { file: reader.id, offset: line.offset }, text))
    }

    fn too_long(&self, offset: u64) -> Error {
        let origin = self.readers[self.current].path.display().to_string();
        Error::fatal(LineError::TooLong { origin, offset, limit: self.settings.max_line })
    }
}

fn unreadable(reader: &Reader, error: &io::Error) -> Error {
    Error::fatal(format!("cannot read {} at byte {}: {error}", reader.path.display(), reader.buffer.read_offset()))
}
