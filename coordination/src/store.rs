//! What a store offers.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How many events wait for whoever watches; then the store holds further ones back.
pub(crate) const WATCH_QUEUE: usize = 64;

/// The store's own count of changes: grows with each of them.
pub type Revision = i64;

/// The number of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A key and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When the key was created; another number after it was deleted and created again.
    pub created: Revision,
    /// When it was last changed.
    pub modified: Revision,
}

/// All entries under a prefix, by key, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The revision that it shows.
    pub revision: Revision,
    /// The entries, ascending by key.
    pub entries: Vec<Entry>,
}

/// What must hold for a transaction to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no such key.
    Absent(String),
    /// The key exists.
    Present(String),
    /// The key was last changed at this revision.
    Modified(String, Revision),
    /// The key was created at this revision: the fencing token of leaders and sessions.
    Created(String, Revision),
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key; it goes with the lease, if one is given.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease that it goes with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key, if it is there.
    Delete(String),
}

/// Conditions, and what is done at once if all of them hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Transaction {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What is then done, all or nothing.
    pub operations: Vec<Operation>,
}

impl Transaction {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Sets a key.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.operations.push(Operation::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    /// Sets a key that goes with a lease.
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Vec<u8>>, lease: LeaseId) -> Self {
        self.operations.push(Operation::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.operations.push(Operation::Delete(key.into()));
        self
    }
}

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created or set anew.
    Put(Entry),
    /// It was deleted, or its lease has ended.
    Deleted {
        /// The key.
        key: String,
        /// When.
        revision: Revision,
    },
}

impl Change {
    /// Whose change it is.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key, .. } => key,
        }
    }

    /// When it was made.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.modified,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything that stands under the prefix: first of all, and again whenever changes were missed
    /// (after a compaction). It replaces all that was told before.
    Snapshot(Listing),
    /// Changes that were made together, in order.
    Changes(Vec<Change>),
    /// The store cannot be reached: what was told may be out of date. Watching goes on by itself.
    Disconnected,
    /// It can be reached again, and what was told is up to date. Follows a `Disconnected` only.
    Connected,
}

/// A prefix that is being watched; dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    /// What happens, in order. It ends only with the store itself.
    pub events: mpsc::Receiver<Event>,
    /// Dropped with the watch, to end the task that feeds it.
    pub(crate) _guard: WatchGuard,
}

/// Ends something when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct WatchGuard(
    #[allow(dead_code, reason = "its drop is what counts")] pub(crate) tokio::task::JoinSet<()>,
);

/// A lease that is kept alive, across reconnects, until it is dropped or revoked.
#[derive(Debug)]
pub struct Lease {
    /// Its number, for [`Transaction::put_leased`].
    pub id: LeaseId,
    /// How long it lives without a sign of life, as the store granted it.
    pub ttl: Duration,
    /// Turns true once it is known to have ended in the store, with all its keys: take a new one.
    pub lost: watch::Receiver<bool>,
    /// Until when it surely lives, by our own clock: its ttl after the latest sign of life that the
    /// store has answered was sent. Later it may still live, and this may grow again.
    pub alive_until: watch::Receiver<Instant>,
    pub(crate) _guard: WatchGuard,
}

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or does not answer in time. A transaction may or may not have been
    /// carried out; trying again can help.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// It refuses, for example because of a wrong password. Trying again cannot help.
    #[error("the store refuses: {0}")]
    Refused(String),
    /// What stands under the key is not what was expected.
    #[error("what stands under `{key}` in the store cannot be read: {source}")]
    Malformed {
        /// The key.
        key: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The store. All keys are whole paths, made by [`keys`](crate::keys).
///
/// All calls are bounded in time: after a few seconds without an answer they fail as unavailable.
/// All may be dropped at any time; a transaction may then have been carried out or not.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// What stands under a key.
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// What stands under all keys that begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Carries out a transaction if its conditions hold: the revision then, `None` if they do not.
    async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError>;

    /// Watches all keys that begin with `prefix`. Comes back at once; the snapshot follows when the
    /// store can be reached.
    fn watch(&self, prefix: &str) -> Watch;

    /// Takes a lease and keeps it alive.
    async fn lease(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Ends a lease at once, and with it all keys that go with it.
    async fn revoke(&self, lease: Lease) -> Result<(), StoreError>;
}
