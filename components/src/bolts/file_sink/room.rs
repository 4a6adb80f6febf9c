//! After a write has failed: whether there is room now.
//!
//! The task is made anew then, and its lines are buffered before they are written: without a look
//! at the disk first, it would take up tuples, fail them, be made anew, and so on through all of
//! the input, and perhaps give its name to a file in which lines are missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much could not be written, by file: what instances of a task leave to their successors.
#[derive(Default)]
pub(super) struct Unwritten(Mutex<BTreeMap<PathBuf, u64>>);

impl Unwritten {
    pub(super) fn note(&self, path: &Path, bytes: u64) {
        self.files().insert(path.to_owned(), bytes);
    }

    pub(super) fn of(&self, path: &Path) -> Option<u64> {
        self.files().get(path).copied()
    }

    pub(super) fn forget(&self, path: &Path) {
        self.files().remove(path);
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails unless so many bytes can be written behind the first `len`. The file stays as it is: after
/// a crash in here, the next start cuts off what is no line.
pub(super) fn prove_room(file: &mut File, len: u64, bytes: u64) -> io::Result<()> {
    let written = io::copy(&mut io::Read::take(io::repeat(0), bytes), file).and_then(|_| file.flush());
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_proof_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        prove_room(&mut file, 4, 100_000).unwrap();
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }
}
