//! The one error type that components return: any error, plus whether trying again can help.

use std::error::Error as StdError;
use std::fmt;

/// What the fallible methods of components return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error from a component.
///
/// Made from any error (or text) by `?` and `.into()`. An error from `execute` fails that tuple and
/// the task goes on; [`Error::fatal`] says that going on is pointless: a local run ends, a cluster
/// retries with back-off.
pub struct Error {
    source: Box<dyn StdError + Send + Sync>,
    is_fatal: bool,
}

impl Error {
    /// An error after which this component cannot go on.
    pub fn fatal(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { source: error.into(), is_fatal: true }
    }

    /// Whether the component said that it cannot go on.
    pub fn is_fatal(&self) -> bool {
        self.is_fatal
    }

    /// The error underneath, to look at its kind.
    pub fn as_std(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.source.as_ref()
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self { source: error.into(), is_fatal: false }
    }
}

/// The message with its causes, separated by `: `.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
