//! The store in etcd: versions 3.4, 3.5 and 3.6.

mod connection;
mod error;
mod keep_alive;
mod list;
mod options;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::limits::check;
use crate::store::{
    Condition, Entry, Lease, LeaseId, Listing, Operation, Revision, Store, StoreError, Transaction, WATCH_QUEUE, Watch,
    WatchGuard,
};
use connection::{Connection, Repeat};
pub use options::{EtcdOptions, EtcdOptionsError};

/// A client of etcd. Connects when it is first needed, and again whenever it has to; calls fail as
/// unavailable while it cannot. Clones share the connection.
#[derive(Clone, Debug)]
pub struct EtcdStore {
    connection: Arc<Connection>,
}

impl EtcdStore {
    /// A client. Reads the PEM files, but does not connect yet.
    ///
    /// # Errors
    /// If an option makes no sense, or a file cannot be read.
    pub fn new(options: EtcdOptions) -> Result<Self, EtcdOptionsError> {
        Ok(Self { connection: Arc::new(Connection::new(options.checked()?)) })
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let get = |client: etcd_client::Client| async move { client.kv_client().get(key, None).await };
        let mut response = self.connection.call(Repeat::IfUnavailable, get).await?;
        Ok(response.take_kvs().into_iter().next().map(entry))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        list::list(&self.connection, prefix).await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError> {
        check(&transaction)?;
        let compares: Vec<Compare> = transaction.conditions.into_iter().map(compare).collect();
        let operations: Vec<TxnOp> = transaction.operations.into_iter().map(operation).collect();
        let request = Txn::new().when(compares).and_then(operations);
        let request = &request;
        let commit = |client: etcd_client::Client| async move { client.kv_client().txn(request.clone()).await };
        // If it may have been carried out, carrying it out again could find its own doing and refuse.
        let response = self.connection.call(Repeat::Never, commit).await?;
        let revision = response.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(response.succeeded().then_some(revision))
    }

    fn watch(&self, prefix: &str) -> Watch {
        let (sender, events) = mpsc::channel(WATCH_QUEUE);
        let mut guard = JoinSet::new();
        guard.spawn(watch::feed(Arc::clone(&self.connection), prefix.to_owned(), sender));
        Watch { events, _guard: WatchGuard(guard) }
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let seconds = ttl.as_millis().div_ceil(1000).max(1);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let sent = Instant::now();
        let grant = |client: etcd_client::Client| async move { client.lease_client().grant(seconds, None).await };
        // One that was granted unheard runs out by itself.
        let granted = self.connection.call(Repeat::IfUnavailable, grant).await?;
        let ttl = Duration::from_secs(granted.ttl().try_into().unwrap_or(1));
        let id = LeaseId(granted.id());
        let (lost_sender, lost) = tokio::sync::watch::channel(false);
        let (alive_sender, alive_until) = tokio::sync::watch::channel(sent + ttl);
        let mut guard = JoinSet::new();
        guard.spawn(keep_alive::keep_alive(Arc::clone(&self.connection), id, ttl, alive_sender, lost_sender));
        Ok(Lease { id, ttl, lost, alive_until, _guard: WatchGuard(guard) })
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        let id = lease.id.0;
        // Keeping it alive must not be seen to fail meanwhile.
        drop(lease);
        let revoke = |client: etcd_client::Client| async move {
            match client.lease_client().revoke(id).await {
                Err(error) if error::is_not_found(&error) => Ok(()),
                answer => answer.map(drop),
            }
        };
        self.connection.call(Repeat::IfUnavailable, revoke).await
    }
}

fn entry(pair: KeyValue) -> Entry {
    let (created, modified) = (pair.create_revision(), pair.mod_revision());
    let (key, value) = pair.into_key_value();
    Entry { key: String::from_utf8_lossy(&key).into_owned(), value, created, modified }
}

fn compare(condition: Condition) -> Compare {
    match condition {
        // etcd gives a key that is not there the revision 0.
        Condition::Absent(key) => Compare::create_revision(key, CompareOp::Equal, 0),
        Condition::Present(key) => Compare::create_revision(key, CompareOp::Greater, 0),
        Condition::Modified(key, revision) => Compare::mod_revision(key, CompareOp::Equal, revision),
        Condition::Created(key, revision) => Compare::create_revision(key, CompareOp::Equal, revision),
    }
}

fn operation(operation: Operation) -> TxnOp {
    match operation {
        Operation::Put { key, value, lease } => {
            TxnOp::put(key, value, lease.map(|lease| PutOptions::new().with_lease(lease.0)))
        }
        Operation::Delete(key) => TxnOp::delete(key, None),
    }
}
