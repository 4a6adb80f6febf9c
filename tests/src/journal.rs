//! Files of lines that outlive the process that writes them, and the clock that all of them share.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on a clock that all processes of the machine share and that nobody sets.
pub fn monotonic_ns() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A file that only grows. Each write goes to the kernel at once: what was written survives when
/// the process is killed.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// A new file.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().append(true).create_new(true).open(path)? })
    }

    /// Appends whole lines, each of which ends with a line break.
    pub(crate) fn append(&mut self, lines: &str) -> io::Result<()> {
        if lines.is_empty() { Ok(()) } else { self.file.write_all(lines.as_bytes()) }
    }
}

/// Reads the lines that are added to a file.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    offset: u64,
}

impl Follower {
    /// The whole lines since the last call. A last line without its end is left for later: its
    /// writer is still at it, or was killed before it did what the line says.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        self.offset += text.len() as u64;
        Ok(text)
    }
}

/// The files in `folder` whose names begin with `prefix`, by name. None where there is no folder.
pub(crate) fn files(folder: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
