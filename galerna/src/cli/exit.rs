//! How a command ends, for the shell: the one place for exit codes.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked. A run that was stopped and has drained is done, too.
    Done,
    /// It could not: the reason was printed.
    Failed,
    /// It was called wrongly.
    Usage,
    /// A second Ctrl-C or SIGTERM stopped a run at once, without draining.
    Interrupted,
    /// A worker found itself replaced by a newer one.
    Fenced,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            // What a shell reports for a program that SIGINT ended.
            Self::Interrupted => 130,
            // Supervisors tell it from a failure by this.
            Self::Fenced => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
