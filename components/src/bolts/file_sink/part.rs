//! The file that is being written, from its opening to its end. All calls but `open` block.
//!
//! With `roll` it is a part that gets its name when it is finished. Without, it is written in place:
//! there is one file, and readers may follow it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::TopologyContext;

use super::Roll;
use super::room::{Opened, prove_room};
use super::target::{OpenFile, Target, open_file, open_stream};

/// How long somebody else may hold the file when it is opened, and how often to look.
const LONGEST_HOLD: Duration = Duration::from_secs(10);
const HOLD_POLL: Duration = Duration::from_millis(50);

/// An open file or stream, and how it goes on.
pub(super) struct Part {
    target: Target,
    roll: Roll,
    file: File,
    /// Bytes in it, all of them whole lines.
    len: u64,
    /// When it was begun.
    since: Duration,
    /// Whether it was finished, so that writing begins another.
    is_finished: bool,
    /// The number that the next rolled file gets, unless it is taken.
    number: u32,
    opened: Arc<Opened>,
}

impl Part {
    /// Opens what `path` leads to. A file cannot be shared by several tasks. What is in it already is
    /// only gone on with if the sink is to resume.
    pub(super) async fn open(
        path: PathBuf,
        roll: Roll,
        resume: bool,
        is_shared: bool,
        context: &TopologyContext,
    ) -> Result<Self, String> {
        let error = |error| format!("cannot write to {}: {error}", path.display());
        let target = Target::of(&path).map_err(error)?;
        let OpenFile { file, len, torn } = match &target {
            Target::File(_) if is_shared => {
                let tasks = context.task_count();
                return Err(format!("{tasks} tasks cannot write one file; put {{task}} into {}", path.display()));
            }
            Target::File(path) => open_when_free(&written_as(path, roll), context).await.map_err(error)?,
            Target::Stream(path) => {
                let file = open_stream(path, context).await.map_err(error)?;
                OpenFile { file, len: 0, torn: 0 }
            }
        };
        let opened = context.resources().get_or_insert_with(Opened::default);
        let (since, is_finished, number) = (context.elapsed(), false, 1);
        let mut part = Self { target, roll, file, len, since, is_finished, number, opened };
        part.take_up(resume, torn).map_err(|error| part.failure(&error))?;
        Ok(part)
    }

    /// Decides about what is in the file already.
    fn take_up(&mut self, resume: bool, torn: u64) -> io::Result<()> {
        let Target::File(path) = &self.target else { return Ok(()) };
        let written = written_as(path, self.roll);
        match self.opened.unwritten(path) {
            // An instance before this one could not write so much.
            Some(unwritten) => prove_room(&mut self.file, self.len, unwritten)?,
            None if resume => {
                let (path, len) = (written.display(), self.len);
                if torn > 0 {
                    tracing::warn!("{path} ended in a torn line; cut off its {torn} bytes behind byte {len}");
                } else if len > 0 {
                    tracing::info!("{path} has {len} bytes; going on behind them");
                }
            }
            None => {
                self.file.set_len(0)?;
                self.file.rewind()?;
                self.len = 0;
            }
        }
        // The file may be new.
        sync_folder_of(&written)?;
        self.opened.note(path, 0);
        Ok(())
    }

    /// Appends whole lines, all or none of them.
    pub(super) fn write(&mut self, lines: &[u8], now: Duration) -> Result<(), String> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.is_finished {
            self.begin(now)?;
        }
        if self.len == 0 {
            self.since = now;
        }
        if let Err(error) = self.file.write_all(lines) {
            if let Target::File(path) = &self.target {
                // What was written of the lines is cut off; if even that fails, the next start does it.
                let _ = self.file.set_len(self.len);
                self.opened.note(path, lines.len() as u64);
            }
            return Err(self.failure(&error));
        }
        self.len += lines.len() as u64;
        Ok(())
    }

    /// Makes sure that what was written survives a crash.
    pub(super) fn sync(&self) -> Result<(), String> {
        match self.target {
            Target::File(_) => self.file.sync_data().map_err(|error| self.failure(&error)),
            // A device or a pipe keeps nothing.
            Target::Stream(_) => Ok(()),
        }
    }

    /// How long until the file is old enough to be rolled; nothing if it never is.
    pub(super) fn time_to_roll(&self, now: Duration) -> Option<Duration> {
        let interval = self.roll.interval.filter(|_| self.len > 0 && self.is_file())?;
        Some((self.since + interval.0).saturating_sub(now))
    }

    /// Finishes the file if it is large or old enough.
    pub(super) fn roll_if_due(&mut self, now: Duration) -> Result<(), String> {
        let is_large = self.roll.size.is_some_and(|size| self.len >= size.0);
        let is_old = self.time_to_roll(now) == Some(Duration::ZERO);
        if self.len > 0 && self.is_file() && (is_large || is_old) { self.finish() } else { Ok(()) }
    }

    /// Ends the file, which was synced: a part gets its name, an empty one is removed. What is written
    /// after that is another part; a file that is written in place goes on.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let Target::File(path) = self.target.clone() else { return Ok(()) };
        if self.is_finished || !self.roll.is_any() {
            return Ok(());
        }
        let part = written_as(&path, self.roll);
        if self.len == 0 {
            fs::remove_file(&part).map_err(|error| format!("cannot remove {}: {error}", part.display()))?;
        } else {
            let name = self.next_free(&path);
            let renamed = fs::rename(part, &name).and_then(|()| sync_folder_of(&name));
            renamed.map_err(|error| format!("cannot give {} its name: {error}", name.display()))?;
        }
        self.is_finished = true;
        self.len = 0;
        Ok(())
    }

    /// Begins another part.
    fn begin(&mut self, now: Duration) -> Result<(), String> {
        if let Target::File(path) = &self.target {
            let opened = open_file(&written_as(path, self.roll)).map_err(|error| self.failure(&error))?;
            (self.file, self.len) = (opened.file, opened.len);
        }
        self.since = now;
        self.is_finished = false;
        Ok(())
    }

    fn is_file(&self) -> bool {
        matches!(self.target, Target::File(_))
    }

    /// `counts.tsv` with a number that no file has: `counts-000001.tsv`.
    fn next_free(&mut self, path: &Path) -> PathBuf {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
        loop {
            let name = format!("{stem}-{:06}{}", self.number, extension.as_deref().unwrap_or_default());
            self.number += 1;
            let numbered = path.with_file_name(name);
            if !numbered.exists() {
                return numbered;
            }
        }
    }

    fn failure(&self, error: &io::Error) -> String {
        match &self.target {
            Target::Stream(path) => format!("cannot write to {}: {error}", path.display()),
            Target::File(path) => {
                let path = written_as(path, self.roll);
                format!("cannot write to {}: {error}; it holds {} bytes of whole lines", path.display(), self.len)
            }
        }
    }
}

/// Opens a file, once an earlier instance of the task has let go of it: it may still be
/// in the middle of a sync.
async fn open_when_free(path: &Path, context: &TopologyContext) -> io::Result<OpenFile> {
    let since = context.elapsed();
    loop {
        match open_file(path) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy && context.elapsed() < since + LONGEST_HOLD => {
                context.sleep(HOLD_POLL).await;
            }
            outcome => return outcome,
        }
    }
}

/// The name of a file while it is written.
fn written_as(path: &Path, roll: Roll) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if roll.is_any() {
        name.push(".tmp");
    }
    name.into()
}

/// Makes sure that a new name survives a crash.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
