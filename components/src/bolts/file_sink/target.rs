//! What a path is written as: a regular file, or something that is there and is written into.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use galerna_topology_api::TopologyContext;

/// Where a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A regular file, to be written or made.
    File(PathBuf),
    /// Anything else.
    Stream(PathBuf),
}

/// Symbolic links that are followed at most, as in Linux.
const MOST_LINKS: usize = 40;

/// How often to look whether a named pipe has got a reader.
const PIPE_POLL: Duration = Duration::from_millis(100);

impl Target {
    /// Follows symbolic links: a file is written where it is, and a link stays a link.
    ///
    /// What lies under `/dev` or `/proc` counts as no regular file whatever the system says:
    /// `/dev/stdout` is one when output goes to a file, and that file is not ours to cut off or to replace.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            if path.starts_with("/dev") || path.starts_with("/proc") {
                return Ok(Self::Stream(path));
            }
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_symlink() => {
                    let link = fs::read_link(&path)?;
                    path = path.parent().map_or_else(|| link.clone(), |parent| parent.join(&link));
                }
                Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
                Ok(found) if found.is_file() => return Ok(Self::File(path)),
                Ok(_) => return Ok(Self::Stream(path)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::File(path)),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many levels of symbolic links"))
    }
}

/// Opens what is no regular file. A named pipe is waited for until somebody reads it, without a
/// thread that could not be stopped.
pub(super) async fn open_stream(path: &Path, context: &TopologyContext) -> io::Result<File> {
    let is_pipe = fs::metadata(path)?.file_type().is_fifo();
    let mut options = OpenOptions::new();
    options.append(true);
    if is_pipe {
        let mut probe = options.clone();
        probe.custom_flags(libc::O_NONBLOCK);
        loop {
            match probe.open(path) {
                // While the probe is open, opening it again for blocking writes does not wait.
                Ok(_probe) => return options.open(path),
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => context.sleep(PIPE_POLL).await,
                Err(error) => return Err(error),
            }
        }
    }
    options.open(path)
}

/// A file that this task alone writes.
pub(super) struct OpenFile {
    pub(super) file: File,
    /// Bytes of whole lines in it; it is written behind them.
    pub(super) len: u64,
    /// Bytes of a torn line that were cut off.
    pub(super) torn: u64,
}

/// Opens a file, to go on behind its last whole line, or makes it.
pub(super) fn open_file(path: &Path) -> io::Result<OpenFile> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::new(ErrorKind::ResourceBusy, "it is being written by another task"));
        }
        // Not every file system has locks; they only guard against mistakes.
        Ok(()) | Err(TryLockError::Error(_)) => {}
    }
    let before = file.metadata()?.len();
    let len = end_of_last_line(&mut file)?;
    if len < before {
        file.set_len(len)?;
    }
    file.seek(SeekFrom::Start(len))?;
    Ok(OpenFile { file, len, torn: before - len })
}

fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 8192];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let part = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
