//! The reason why a tuple failed.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::printable::printable;

/// Why a tuple of a spout failed: the argument of [`Spout::fail`](crate::Spout::fail).
///
/// Only [`Failed`](Self::Failed) says something about the tuple itself. After a time-out or a loss, nobody
/// knows whether the tuple can be processed, so neither counts as a try.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A component failed the tuple, or a tuple anchored to the tuple: a call returned an error or panicked, or a
    /// kept tuple was failed or dropped.
    Failed {
        /// The component.
        component: SmolStr,
        /// The message of the error: its first 500 characters, control characters escaped.
        message: SmolStr,
    },
    /// The tuple was not acked within `topology.message.timeout.secs`.
    TimedOut,
    /// A worker, or an instance of a component, was lost while it may have had the tuple.
    Lost,
}

/// Characters of a message that are kept.
const MESSAGE: usize = 500;

impl Failure {
    /// A component failed the tuple.
    pub fn failed(component: impl Into<SmolStr>, message: &str) -> Arc<Self> {
        Arc::new(Self::Failed { component: component.into(), message: printable(message, MESSAGE).into() })
    }

    /// Whether the failure counts as a try: a component failed the tuple.
    pub fn is_try(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// The component that failed the tuple, if one did.
    pub fn component(&self) -> Option<&str> {
        match self {
            Self::Failed { component, .. } => Some(component),
            _ => None,
        }
    }

    /// The reason without the component: the message of the error, or what happened instead.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed { message, .. } => message,
            Self::TimedOut => "not acked within topology.message.timeout.secs",
            Self::Lost => "a worker or task that may have had the tuple was lost",
        }
    }
}

/// The reason, behind the component if a component failed the tuple.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.component() {
            Some(component) => write!(f, "`{component}`: {}", self.reason()),
            None => f.write_str(self.reason()),
        }
    }
}
