//! The texts that a topology was read from, and places in them.

use std::path::{Path, PathBuf};

/// A place in one of the [`Sources`]: where something starts, and how many characters of that line
/// it covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) width: u32,
}

/// All texts that were read for one topology, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

/// A file, or a text that stands for one.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: PathBuf,
    pub(crate) text: String,
    /// Whether it lies on disk.
    pub(crate) is_file: bool,
}

impl Sources {
    /// Takes a text in and answers its number.
    pub(crate) fn add(&mut self, mut source: Source) -> u32 {
        // A byte order mark is no content and takes no column.
        if source.text.starts_with('\u{feff}') {
            source.text.drain(..'\u{feff}'.len_utf8());
        }
        self.0.push(source);
        (self.0.len() - 1) as u32
    }

    pub(crate) fn name(&self, file: u32) -> &Path {
        self.0.get(file as usize).map_or(Path::new(""), |source| &source.name)
    }

    pub(crate) fn text(&self, file: u32) -> &str {
        self.0.get(file as usize).map_or("", |source| &source.text)
    }

    /// The line, counted from 1, without its end.
    pub(crate) fn line(&self, file: u32, line: u32) -> Option<&str> {
        self.text(file).lines().nth((line as usize).checked_sub(1)?)
    }

    /// The files on disk among them.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.0.iter().filter(|source| source.is_file).map(|source| source.name.clone()).collect()
    }

    /// `file:line:column`.
    pub(crate) fn place(&self, span: Span) -> String {
        format!("{}:{}:{}", self.name(span.file).display(), span.line, span.column)
    }
}
