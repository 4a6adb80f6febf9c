//! What workers have logged: the last lines of a launch, reading on over rotation, old folders.

mod clean;
mod follow;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(crate) use clean::clean;
pub(crate) use follow::{LogReader, Reading};

/// So many bytes and lines of a log stand in a failure.
const EXCERPT_BYTES: u64 = 4096;
const EXCERPT_LINES: usize = 10;
const BLOCK: u64 = 64 * 1024;

/// The log of a slot.
pub(crate) fn path_of(logs: &Path, topology: &str, slot: u32) -> PathBuf {
    logs.join(topology).join(format!("{slot}.log"))
}

/// Its last lines, from `start` on if the file still goes back as far.
pub(crate) fn last_words(path: &Path, start: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = if start <= length { start } else { 0 };
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(EXCERPT_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(EXCERPT_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(EXCERPT_LINES)..].join("\n")
}

/// Where the last `lines` lines of a file begin, and how many there are if that is its beginning.
fn start_of_last_lines(file: &mut File, lines: u32) -> io::Result<(u64, u32)> {
    let length = file.metadata()?.len();
    let mut found = 0;
    let mut end = length;
    if lines == 0 {
        return Ok((length, 0));
    }
    while end > 0 {
        let begin = end.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(end - begin).unwrap_or_default()];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let next = begin + at as u64 + 1;
            // A newline at the very end closes the last line, it begins none.
            if next == length {
                continue;
            }
            found += 1;
            if found == lines {
                return Ok((next, found));
            }
        }
        end = begin;
    }
    Ok((0, if length == 0 { 0 } else { found + 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_found_in_files_of_any_shape() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let long = "x".repeat(200_000);
        let table = [
            ("", 3, (0, 0)),
            ("a\nb\nc\n", 2, (2, 2)),
            ("a\nb\nc", 2, (2, 2)),
            ("a\nb\nc\n", 9, (0, 3)),
            ("a\nb\nc\n", 0, (6, 0)),
            ("\n\n\n", 2, (1, 2)),
            (&format!("{long}\n{long}\nend\n"), 2, (200_001, 2)),
        ];
        for (content, lines, start) in table {
            std::fs::write(&path, content).expect("written");
            let found = start_of_last_lines(&mut File::open(&path).expect("opened"), lines).expect("read");
            assert_eq!(found, start, "{lines} of {:.20}", content);
        }
    }

    #[test]
    fn last_words_are_those_of_the_last_launch() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        assert_eq!(last_words(&path, 0), "");
        std::fs::write(&path, "old\nnew\n\nlast").expect("written");
        assert_eq!(last_words(&path, 4), "new\nlast");
        assert_eq!(last_words(&path, 400), "old\nnew\nlast", "the file is a new one");
    }
}
