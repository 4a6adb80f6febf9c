//! Where artifacts are kept: addressed by their SHA-256, and never seen before they are verified.

mod folder;

use std::fmt;
use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use galerna_protocol::Artifact;
use tokio::io::AsyncRead;

pub(crate) use folder::FolderStore;

/// How much of an artifact is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All of it, verified: this many bytes.
    Whole(u64),
    /// Its first bytes, from an upload that was cut off: this many.
    Part(u64),
}

/// Keeps artifacts. `sha256` is always 64 lower-case hexadecimal digits.
#[async_trait]
pub(crate) trait BlobStore: fmt::Debug + Send + Sync + 'static {
    /// How much of it is there.
    async fn find(&self, sha256: &str) -> Result<Held, BlobError>;

    /// Begins or goes on with an upload, at `offset`. Waits while another upload of the same
    /// artifact is under way; `None` if the artifact is whole by then.
    async fn upload(&self, artifact: &Artifact, offset: u64) -> Result<Option<Box<dyn Upload>>, BlobError>;

    /// Reads a whole artifact, from `offset` on.
    async fn read(&self, sha256: &str, offset: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>, BlobError>;

    /// The local file of a whole artifact, for whoever needs to look into it.
    async fn file(&self, sha256: &str) -> Result<PathBuf, BlobError>;

    /// Removes what is not to be kept: uploads that nobody has gone on with for a while, and whole
    /// artifacts that `is_needed` does not name and that are as old.
    async fn sweep(&self, is_needed: &(dyn for<'a> Fn(&'a str) -> bool + Send + Sync)) -> Result<(), BlobError>;
}

/// An upload under way. Dropping it keeps what has come, for resuming.
#[async_trait]
pub(crate) trait Upload: Send {
    /// Adds bytes.
    async fn write(&mut self, content: Bytes) -> Result<(), BlobError>;

    /// Verifies what has come, and makes it visible.
    async fn finish(self: Box<Self>) -> Result<(), BlobError>;
}

/// What went wrong with an artifact.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    /// Nobody has uploaded it.
    #[error("artifact {0} is not here")]
    Missing(String),
    /// That cannot be the name of an artifact.
    #[error("`{0}` names no artifact, expected its SHA-256: 64 lower-case hexadecimal digits")]
    BadName(String),
    /// It is longer than may be.
    #[error(
        "the program has {bytes} bytes, and at most {limit} are taken; strip it, or raise --artifact-limit of nimbus"
    )]
    TooLong {
        /// Its length.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// What came is something else.
    #[error(
        "what was uploaded is not artifact {expected} of {bytes} bytes: it is {found} of {came} bytes; upload it again"
    )]
    Mismatch {
        /// The announced hash.
        expected: String,
        /// The announced length.
        bytes: u64,
        /// What the bytes hash to.
        found: String,
        /// How many came.
        came: u64,
    },
    /// The upload begins where nothing is.
    #[error("the upload goes on at byte {offset}, but only {held} bytes are here; go on from there")]
    Gap {
        /// Where it would go on.
        offset: u64,
        /// How much is here.
        held: u64,
    },
    /// Another upload of it takes too long.
    #[error("artifact {0} is being uploaded by someone else; try again")]
    Busy(String),
    /// There is no room for it.
    #[error("the disk of nimbus is full ({path}): make room there, and upload it again")]
    DiskFull {
        /// Where.
        path: String,
    },
    /// The disk fails.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
}

/// Whether this is how an artifact is named.
pub(crate) fn is_artifact_name(sha256: &str) -> bool {
    sha256.len() == 64 && sha256.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}
