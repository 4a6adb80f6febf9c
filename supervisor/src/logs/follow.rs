//! Reads a log as it grows, and goes on in the next file when it is rotated (renamed to `.1`, …).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::start_of_last_lines;

/// The longest piece that is handed out; longer lines are cut.
const LONGEST: usize = 64 * 1024;
/// The oldest rotated file that is looked for.
const ROTATED: u32 = 9;

/// A place in a log.
#[derive(Debug)]
pub(crate) struct LogReader {
    path: PathBuf,
    file: Option<File>,
    /// Read, and not handed out yet: it begins with a line.
    rest: Vec<u8>,
}

/// What reading on has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Whole lines, or a piece of a very long one.
    Lines(Vec<u8>),
    /// Nothing at the moment.
    End,
}

impl LogReader {
    /// Begins with the last `lines` lines, those of rotated files included.
    pub(crate) fn open(path: &Path, lines: u32) -> io::Result<Self> {
        let mut reader = Self { path: path.to_owned(), file: None, rest: Vec::new() };
        let mut missing = lines;
        for generation in 0..=ROTATED {
            let Ok(mut file) = File::open(reader.rotated(generation)) else { break };
            let (start, found) = start_of_last_lines(&mut file, missing)?;
            file.seek(SeekFrom::Start(start))?;
            reader.file = Some(file);
            missing = missing.saturating_sub(found);
            if missing == 0 {
                break;
            }
        }
        Ok(reader)
    }

    /// Whether there is a file at all.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Reads on.
    pub(crate) fn read(&mut self) -> io::Result<Reading> {
        loop {
            if let Some(lines) = self.take_lines() {
                return Ok(Reading::Lines(lines));
            }
            let Some(file) = &mut self.file else {
                let Ok(file) = File::open(&self.path) else { return Ok(Reading::End) };
                self.file = Some(file);
                continue;
            };
            let position = file.stream_position()?;
            if file.metadata()?.len() < position {
                file.seek(SeekFrom::Start(0))?;
            }
            let before = self.rest.len();
            file.take((LONGEST - before) as u64).read_to_end(&mut self.rest)?;
            if self.rest.len() == before {
                match self.successor()? {
                    Some(next) => {
                        self.file = Some(next);
                        // What is left of the old file is a line of its own.
                        if !self.rest.is_empty() && self.rest.last() != Some(&b'\n') {
                            self.rest.push(b'\n');
                        }
                    }
                    None => return Ok(Reading::End),
                }
            }
        }
    }

    /// A last line that is not closed yet.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    fn take_lines(&mut self) -> Option<Vec<u8>> {
        let end = match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.rest.len() >= LONGEST => self.rest.len(),
            None => return None,
        };
        let rest = self.rest.split_off(end);
        Some(std::mem::replace(&mut self.rest, rest))
    }

    /// The file after the one that is open, if that was rotated away and has been read to its end.
    fn successor(&mut self) -> io::Result<Option<File>> {
        let Some(file) = &mut self.file else { return Ok(None) };
        let own = file_number(&file.metadata()?);
        let mut newer = None;
        for generation in 0..=ROTATED {
            let Ok(found) = File::open(self.rotated(generation)) else {
                // While it is being rotated, the newest may be missing for a moment.
                if generation == 0 {
                    return Ok(None);
                }
                break;
            };
            if file_number(&found.metadata()?) == own {
                break;
            }
            newer = Some(found);
        }
        // It may have been written to between the last read and the rotation.
        if newer.is_some() && self.has_more()? {
            return Ok(self.file.take());
        }
        Ok(newer)
    }

    fn has_more(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        let position = file.stream_position()?;
        Ok(file.metadata()?.len() > position)
    }

    fn rotated(&self, generation: u32) -> PathBuf {
        if generation == 0 {
            return self.path.clone();
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{generation}"));
        name.into()
    }
}

#[cfg(unix)]
fn file_number(metadata: &std::fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Elsewhere an open file is not renamed: it stays the same.
#[cfg(not(unix))]
fn file_number(_: &std::fs::Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = File::options().create(true).append(true).open(path).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn read_all(reader: &mut LogReader) -> String {
        let mut all = Vec::new();
        while let Reading::Lines(lines) = reader.read().expect("read") {
            assert!(lines.len() <= LONGEST);
            all.extend(lines);
        }
        String::from_utf8(all).expect("text")
    }

    fn rotate(path: &Path) {
        let name = |n: u32| path.with_extension(if n == 0 { "log".to_owned() } else { format!("log.{n}") });
        for n in (0..3).rev().filter(|n| name(*n).exists()) {
            std::fs::rename(name(n), name(n + 1)).expect("renamed");
        }
    }

    #[test]
    fn no_line_is_lost_or_told_twice_over_rotations() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        append(&path, "1\n2\n3\n");
        let mut reader = LogReader::open(&path, 2).expect("opened");
        assert_eq!(read_all(&mut reader), "2\n3\n");
        append(&path, "4\npart");
        assert_eq!(read_all(&mut reader), "4\n");
        append(&path, "ial\n5\n");
        rotate(&path);
        assert_eq!(read_all(&mut reader), "partial\n5\n", "the new file is not there yet");
        append(&path, "6\n");
        rotate(&path);
        append(&path, "7\n");
        assert_eq!(read_all(&mut reader), "6\n7\n", "two rotations at once");
        std::fs::write(&path, "8\n").expect("cut");
        append(&path, "9\n");
        assert!(read_all(&mut reader).ends_with("9\n"));
    }

    #[test]
    fn the_last_lines_go_back_into_rotated_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        append(&path, "1\n2\n3\n");
        rotate(&path);
        append(&path, "4\n");
        let mut reader = LogReader::open(&path, 3).expect("opened");
        assert_eq!(read_all(&mut reader), "2\n3\n4\n");
        assert!(!LogReader::open(&folder.path().join("2.log"), 3).expect("opened").has_file());
    }

    #[test]
    fn a_line_without_end_comes_in_bounded_pieces() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("1.log");
        append(&path, &"x".repeat(3 * LONGEST + 5));
        let mut reader = LogReader::open(&path, 1).expect("opened");
        assert_eq!(read_all(&mut reader).len(), 3 * LONGEST);
        assert_eq!(reader.take_rest().len(), 5);
    }
}
