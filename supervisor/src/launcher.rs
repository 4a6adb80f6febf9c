//! The launching of workers: the seam, and what it deals in.

mod processes;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

pub use processes::Processes;

/// Launches workers and finds them again.
#[async_trait]
pub trait Launcher: fmt::Debug + Send + Sync + 'static {
    /// Starts a worker. It lives on when everything here is dropped.
    async fn launch(&self, launch: &Launch) -> io::Result<Process>;

    /// Watches a worker that an earlier start of this daemon has launched: `None` if it is gone.
    fn adopt(&self, identity: &Identity) -> Option<Process>;

    /// Looks for a worker that was being launched when this daemon was killed.
    fn find(&self, launch: &Launch) -> Option<Identity>;
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Where its standard output and error go.
    pub log: PathBuf,
}

/// Tells a process from later ones that get the same number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in ticks since the machine did.
    pub started: u64,
    /// Which start of the machine that was.
    pub boot: String,
}

/// A process that runs.
pub struct Process {
    /// Which one.
    pub identity: Identity,
    /// How it is told to end.
    pub control: Arc<dyn Control>,
    /// Ready when it has ended.
    pub exit: BoxFuture<'static, Exit>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Tells a process to end.
pub trait Control: Send + Sync {
    /// Asks it to end (SIGTERM).
    fn ask(&self);
    /// Ends it and all that it has started (SIGKILL).
    fn kill(&self);
}

/// How a process has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The code that it ended with by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// Whether anybody saw how it ended: nobody does for one that was adopted.
    pub fn is_known(self) -> bool {
        self.code.is_some() || self.signal.is_some()
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with code {code}"),
            (None, Some(signal)) => write!(f, "was ended by signal {signal}"),
            (None, None) => f.write_str("ended, and nobody saw how"),
        }
    }
}
