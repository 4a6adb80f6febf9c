//! Why a command could not do what was asked.

use std::error::Error;
use std::{fmt, io};

use galerna_flux::FluxError;
use serde_json::{Value, json};

/// Why a command ended early.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something went wrong that the user should read.
    Told {
        /// A word for scripts.
        code: &'static str,
        /// Sentences for people; may have several lines.
        message: String,
    },
    /// The topology's file is wrong: each problem says itself how bad it is, and where.
    Invalid(FluxError),
    /// Whoever read the output has read enough: there is nobody to tell.
    NobodyReads,
}

impl Failure {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Told { code, message: message.into() }
    }

    /// A run that could not begin.
    pub(super) fn start(error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        Self::new("start_failed", causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
    }

    /// An operation on a file or folder that failed.
    pub(super) fn io(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::new("io", format!("cannot {doing} {}: {error}", path.display()))
    }
}

/// The only I/O of commands without a path is printing.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::new("output", format!("cannot write the output: {error}")),
        }
    }
}

impl Failure {
    /// What scripts read: `{"error":{"code","message"}}`.
    pub(super) fn as_json(&self) -> Value {
        let (code, message) = match self {
            Self::Told { code, message } => (*code, message.clone()),
            Self::Invalid(error) => ("invalid_topology", error.to_string()),
            Self::NobodyReads => ("output", "nobody reads the output".to_owned()),
        };
        json!({ "error": { "code": code, "message": message } })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { message, .. } => write!(f, "error: {message}"),
            Self::Invalid(error) => error.fmt(f),
            Self::NobodyReads => Ok(()),
        }
    }
}
