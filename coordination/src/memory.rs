//! The store in memory: for tests and `galerna dev`. It answers as etcd does, limits included.

mod feed;
mod state;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::store::{
    Entry, Event, Lease, Listing, Revision, Store, StoreError, Transaction, WATCH_QUEUE, Watch, WatchGuard,
};
use state::State;

/// A store in memory. Clones are the same client of the same store.
///
/// Its knobs play faults: [`set_reachable`](Self::set_reachable) cuts this client off,
/// [`set_running`](Self::set_running) stops the store itself.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    /// Whether this client reaches the store.
    reachable: Arc<watch::Sender<bool>>,
}

/// What all clients of one store share.
struct Shared {
    state: Mutex<State>,
    /// Told of each change of the state, so that watches look again.
    changed: watch::Sender<()>,
}

impl Shared {
    /// The state, with all leases gone whose time is over.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.expire(Instant::now()) {
            self.changed.send_replace(());
        }
        state
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::new(State::new()), changed: watch::Sender::new(()) };
        Self { shared: Arc::new(shared), reachable: Arc::new(watch::Sender::new(true)) }
    }

    /// Another client of the same store, which can be cut off by itself.
    pub fn another_client(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), reachable: Arc::new(watch::Sender::new(true)) }
    }

    /// Cuts this client (and its clones) off, or lets it reach the store again. While it is cut off its
    /// calls fail as unavailable, its watches say so, and its leases end in the store when their time
    /// is over.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.reachable.send_replace(is_reachable);
    }

    /// Stops the store, or starts it again with all that it held. While it stands no client reaches it
    /// and no lease ends; when it goes on, each lease gets its whole time anew, as with etcd.
    pub fn set_running(&self, is_running: bool) {
        self.shared.state().set_running(is_running, Instant::now());
        self.shared.changed.send_replace(());
    }

    /// Forgets the history of changes: watches that lag behind, or are cut off, get a snapshot instead.
    pub fn compact(&self) {
        self.shared.state().compact();
    }

    /// The store's revision at present.
    pub fn revision(&self) -> Revision {
        self.shared.state().revision
    }

    /// The state, if this client reaches it.
    fn reached(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let is_reachable = *self.reachable.borrow();
        let state = self.shared.state();
        if is_reachable && state.is_running {
            Ok(state)
        } else {
            Err(StoreError::Unavailable("it was made unreachable".into()))
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore")
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.reached()?.get(key))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        Ok(self.reached()?.list(prefix))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError> {
        let answer = self.reached()?.commit(&transaction);
        self.shared.changed.send_replace(());
        answer
    }

    fn watch(&self, prefix: &str) -> Watch {
        let (sender, events) = mpsc::channel::<Event>(WATCH_QUEUE);
        let mut guard = JoinSet::new();
        guard.spawn(feed::feed_watch(self.clone(), prefix.to_owned(), sender));
        Watch { events, _guard: WatchGuard(guard) }
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let now = Instant::now();
        let id = self.reached()?.grant(ttl, now);
        // Watches wait for the end of the lease that ends first.
        self.shared.changed.send_replace(());
        let (lost_sender, lost) = watch::channel(false);
        let (alive_sender, alive_until) = watch::channel(now + ttl);
        let mut guard = JoinSet::new();
        guard.spawn(feed::keep_alive(self.clone(), id, ttl, alive_sender, lost_sender));
        Ok(Lease { id, ttl, lost, alive_until, _guard: WatchGuard(guard) })
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        self.reached()?.revoke(lease.id);
        self.shared.changed.send_replace(());
        Ok(())
    }
}
