//! What is wrong with a topology's file, told as compilers tell it: message, place, the line, a caret.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The topology cannot run.
    Error,
    /// It can, but something in the file is not what it seems.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file; `-c` for settings and `--set` for substitutions given beside it.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, and what would be accepted.
    pub message: String,
    /// What to do about it, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line itself and how many of its characters are meant; nothing for what concerns a file
    /// as a whole.
    #[serde(skip)]
    pub(crate) excerpt: Option<Excerpt>,
}

/// A line to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    pub(crate) width: usize,
}

/// The longest part of a line that is shown.
const SHOWN: usize = 120;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.message)?;
        let file = self.file.display();
        let Some(excerpt) = &self.excerpt else {
            write!(f, " --> {file}")?;
            return self.help.iter().try_for_each(|help| write!(f, "\n  = help: {help}"));
        };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let (text, start, width) = excerpt.window(self.column);
        writeln!(f, "{margin}--> {file}:{}:{}", self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {}", text.trim_end())?;
        write!(f, "{margin} | {}{}", " ".repeat(start), "^".repeat(width))?;
        self.help.iter().try_for_each(|help| write!(f, "\n{margin} = help: {help}"))
    }
}

impl Excerpt {
    /// The part of the line around a column, with tabs as one blank each so that carets stay
    /// true, where in it the column lies and how many characters are meant.
    fn window(&self, column: usize) -> (String, usize, usize) {
        let start = column.saturating_sub(1);
        let length = self.text.chars().count();
        let from = if length <= SHOWN { 0 } else { start.saturating_sub(SHOWN / 2) };
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let mut shown: String = self.text.chars().skip(from).take(SHOWN).map(plain).collect();
        let mut start = start - from;
        if from > 0 {
            shown.insert_str(0, "...");
            start += 3;
        }
        let width = self.width.clamp(1, shown.chars().count().saturating_sub(start).max(1));
        if from + SHOWN < length {
            shown.push_str("...");
        }
        (shown, start, width)
    }
}

/// Everything that is wrong with a topology's files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FluxError {
    /// At least one error, and the warnings; by place.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for FluxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.diagnostics {
            write!(f, "{diagnostic}\n\n")?;
        }
        let count = |severity| self.diagnostics.iter().filter(|found| found.severity == severity).count();
        f.write_str(&counted(count(Severity::Error), "error"))?;
        match count(Severity::Warning) {
            0 => Ok(()),
            warnings => write!(f, ", {}", counted(warnings, "warning")),
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
