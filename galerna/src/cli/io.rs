//! Where a command prints.

use std::io::{self, IsTerminal, Write};

use super::failure::Failure;

/// A command's outputs: results go to `stdout`, everything else to `stderr`.
pub struct Io<'a> {
    /// Where results go.
    pub stdout: &'a mut dyn Write,
    /// Where progress, warnings and errors go.
    pub stderr: &'a mut dyn Write,
    /// Whether a person watches: both outputs are terminals.
    pub is_watched: bool,
}

impl Io<'_> {
    /// Runs `command` with the process's own outputs.
    ///
    /// They are not locked: bolts print to them, too.
    pub(super) fn of_process<R>(command: impl FnOnce(&mut Io<'_>) -> R) -> R {
        let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
        let is_watched = stdout.is_terminal() && stderr.is_terminal();
        command(&mut Io { stdout: &mut stdout, stderr: &mut stderr, is_watched })
    }

    /// Prints a result, whole.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.flush()?;
        Ok(())
    }

    /// Tells the user something beside the result. That nobody listens is no reason to fail.
    pub(super) fn say(&mut self, text: &str) {
        let _ = writeln!(self.stderr, "{}", text.trim_end()).and_then(|()| self.stderr.flush());
    }
}
