//! Which files a path stands for, and which of them are this task's.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// What tells a file from another one that has its name: unchanged when it is renamed, and other
/// than that of a later file that got the same inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since the epoch; 0 where the file system does not know.
    created: u64,
}

impl Identity {
    pub(super) fn of(file: &Metadata) -> Self {
        let created = file.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let created = created.map_or(0, |since| since.as_nanos() as u64);
        Self { device: file.dev(), inode: file.ino(), created }
    }

    /// The same on whichever device: devices get other numbers when file systems are mounted again.
    pub(super) fn on_any_device(self) -> Self {
        Self { device: 0, ..self }
    }
}

/// A file that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
}

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One file.
    File,
    /// All files that match a pattern.
    Glob,
    /// All files of a folder, which are complete when they appear there.
    Folder,
}

/// A path, as the task of this number among so many sees it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    path: PathBuf,
    pub(super) kind: Kind,
    task: u32,
    tasks: u32,
}

impl Source {
    /// Finds out what the path stands for. A file may be missing only if `may_be_missing`.
    pub(super) fn resolve(path: &Path, may_be_missing: bool, task: u32, tasks: u32) -> Result<Self, String> {
        let pattern = path.to_string_lossy();
        let kind = match fs::metadata(path) {
            Ok(found) if found.is_dir() => Kind::Folder,
            Ok(_) => Kind::File,
            Err(error) if error.kind() == io::ErrorKind::NotFound && pattern.contains(['*', '?', '[']) => {
                glob::Pattern::new(&pattern).map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?;
                Kind::Glob
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_be_missing => Kind::File,
            Err(error) => return Err(format!("cannot read {pattern}: {error}")),
        };
        Ok(Self { path: path.to_owned(), kind, task, tasks })
    }

    /// This task's files that are there now, in the order of their names.
    pub(super) fn scan(&self) -> Result<Vec<Found>, String> {
        let error = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", self.path.display());
        let mut paths = match self.kind {
            // Only the first task reads a single file; dealing its lines would tear their order.
            Kind::File if self.task > 0 => Vec::new(),
            Kind::File => vec![self.path.clone()],
            Kind::Glob => {
                let pattern = self.path.to_string_lossy();
                glob::glob(&pattern).map_err(|e| error(&e))?.filter_map(Result::ok).collect()
            }
            Kind::Folder => {
                let entries = fs::read_dir(&self.path).map_err(|e| error(&e))?;
                entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_finished(path)).collect()
            }
        };
        if self.kind != Kind::File {
            paths.retain(|path| self.is_ours(path));
            paths.sort();
        }
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            match fs::metadata(&path) {
                Ok(file) if self.kind != Kind::File && !file.is_file() => {}
                Ok(file) => found.push(Found { path, identity: Identity::of(&file) }),
                // Moved away since it was listed, or still to come.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            }
        }
        Ok(found)
    }

    /// Files are dealt by their names, so that tasks agree whenever each of them looks.
    fn is_ours(&self, path: &Path) -> bool {
        let hash = xxh3_64(path.as_os_str().as_bytes());
        hash % u64::from(self.tasks.max(1)) == u64::from(self.task)
    }
}

/// Whether a file of a folder is one to read: not hidden, and not one that is still being written.
fn is_finished(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    !is_hidden && path.extension() != Some(OsStr::new("tmp"))
}
