//! Why a supervisor does not start, or cannot go on.

use std::io;

use galerna_coordination::StoreError;

/// Why a supervisor does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another daemon has its name.
    #[error("a supervisor named `{id}` is already there, at {address}; give this one another --id")]
    NameTaken {
        /// The name.
        id: String,
        /// `host:port` of the other one.
        address: String,
    },
    /// Another daemon uses its folder.
    #[error("another supervisor is running on the data folder {0}; give this one another --data")]
    FolderTaken(String),
    /// Its name cannot stand in a key.
    #[error("`{0}` is no name for a supervisor, expected letters, digits, `_`, `.` and `-`, a letter or digit first")]
    BadName(String),
    /// Its slots are ports, and there are not so many.
    #[error("{slots} slots after port {port} end beyond port 65535; expected at most {most}")]
    TooManySlots {
        /// How many were asked for.
        slots: u32,
        /// The port of its RPC.
        port: u16,
        /// How many fit.
        most: u32,
    },
    /// Something on its disk.
    #[error("the data folder {path} cannot be used")]
    Folder {
        /// The folder.
        path: String,
        /// What was wrong.
        source: io::Error,
    },
    /// Its listener.
    #[error("the listener has no address")]
    Listener(#[source] io::Error),
    /// A part of it has ended, which is a fault of its own.
    #[error("a part of the supervisor has ended: {0}")]
    Ended(String),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}
