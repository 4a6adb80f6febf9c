//! What instances of a task leave to their successors in the same run; after a failed write, whether
//! there is room now.
//!
//! After such a failure the task is made anew, and its lines are buffered before they are written: without a look
//! at the disk first, it would take up tuples, fail them, be made anew, and so on through all of
//! the input, and perhaps give its name to a file in which lines are missing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The files that were opened in this run, and how much could not be written to each.
#[derive(Default)]
pub(super) struct Opened(Mutex<BTreeMap<PathBuf, u64>>);

impl Opened {
    pub(super) fn note(&self, path: &Path, unwritten: u64) {
        self.files().insert(path.to_owned(), unwritten);
    }

    /// What could not be written; nothing if this run has not opened it yet.
    pub(super) fn unwritten(&self, path: &Path) -> Option<u64> {
        self.files().get(path).copied()
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
