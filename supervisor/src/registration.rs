//! The supervisor's key in the store: taken once, kept by a lease, taken again when that was lost.

use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::{Keys, Registration};
use galerna_coordination::{Change, Condition, Event, Lease, Revision, Store, StoreError, Transaction};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::StartError;
use crate::machine;
use crate::shared::Shared;

/// How long to wait before trying again.
const RETRY: Duration = Duration::from_millis(500);
/// How long the store may take at the end.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// So many registrations are remembered as this daemon's own.
const REMEMBERED: usize = 16;

/// Registers, and keeps that up.
#[derive(Debug)]
pub(crate) struct Registrar {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    key: String,
    registration: Registration,
    /// When the key was created that this daemon has, which tells it from another's.
    created: Revision,
    /// Registrations that were this daemon's: of earlier starts, too.
    own: Vec<String>,
}

impl Registrar {
    pub(crate) fn new(shared: Arc<Shared>, store: Arc<dyn Store>, keys: &Keys) -> Self {
        let options = &shared.options;
        let port = shared.listens.port();
        let (cpu, memory_mb) = shared.resources;
        let registration = Registration {
            host: options.advertise.clone(),
            port,
            slots: (1..=options.slots).map(|slot| u32::from(port) + slot).collect(),
            cpu,
            memory_mb,
            platform: machine::platform(),
            session: String::new(),
            started_unix_ms: shared.started_unix_ms,
            disk: shared.disk.clone(),
            ..Registration::default()
        };
        let own: Vec<String> = crate::files::read_json(&shared.folders.sessions()).unwrap_or_default();
        shared.set_session(own.last().and_then(|session| session.parse().ok()).unwrap_or_default());
        let key = keys.supervisor(&options.id);
        Self { shared, store, key, registration, created: 0, own }
    }

    /// Takes the key; if another daemon has it, once that is gone. A predecessor whose disk is lost, which
    /// knows nothing of its registration then, is gone when its lease has ended.
    pub(crate) async fn register(&mut self) -> Result<Lease, StartError> {
        let patience = self.shared.options.lease.mul_f64(1.5) + Duration::from_secs(1);
        let until = Instant::now() + patience;
        loop {
            let taken = match self.register_now().await {
                Err(taken @ StartError::NameTaken { .. }) if Instant::now() < until => taken,
                done => return done,
            };
            tracing::warn!("{taken}; waiting up to {:.1} s for its registration to end", patience.as_secs_f64());
            // It is asked once more when the time is over: the store may be away, which is no holder that lives.
            let _ = timeout_at(until, self.is_free()).await;
        }
    }

    /// Waits until nobody has the key.
    async fn is_free(&self) {
        let mut watched = self.store.watch(&self.key);
        while let Some(event) = watched.events.recv().await {
            let is_free = match event {
                Event::Snapshot(listing) => listing.entries.iter().all(|entry| entry.key != self.key),
                Event::Changes(changes) => {
                    let last = changes.iter().rfind(|change| change.key() == self.key);
                    matches!(last, Some(Change::Deleted { .. }))
                }
                Event::Disconnected | Event::Connected => false,
            };
            if is_free {
                return;
            }
        }
        // The store has ended.
        std::future::pending().await
    }

    /// Takes the key, if nobody else has it.
    async fn register_now(&mut self) -> Result<Lease, StartError> {
        let lease = self.store.lease(self.shared.options.lease).await?;
        match self.take_key(&lease).await {
            Ok(revision) => {
                self.shared.health.note_registered(&lease);
                self.shared.set_session(lease.id.0);
                self.shared.registered.send_replace(revision);
                tracing::info!("registered as {}", self.shared.options.id);
                Ok(lease)
            }
            Err(error) => {
                // It would end by itself.
                let _ = self.store.revoke(lease).await;
                Err(error)
            }
        }
    }

    async fn take_key(&mut self, lease: &Lease) -> Result<Revision, StartError> {
        let session = lease.id.0.to_string();
        // On disk first: a daemon that is killed right after the store has it must know it as its own.
        self.remember(&session)?;
        self.registration.session = session;
        self.note_leaving();
        loop {
            let absent = Condition::Absent(self.key.clone());
            if let Some(revision) = self.put(absent, lease).await? {
                self.created = revision;
                return Ok(revision);
            }
            let Some(entry) = self.store.get(&self.key).await? else { continue };
            let holder: Registration = entry.json().unwrap_or_default();
            if !self.own.contains(&holder.session) {
                let address = holder.address();
                return Err(StartError::NameTaken { id: self.shared.options.id.clone(), address });
            }
            tracing::info!("taking over the registration of an earlier start");
            let unchanged = Condition::Created(self.key.clone(), entry.created);
            if let Some(revision) = self.put(unchanged, lease).await? {
                self.created = entry.created;
                return Ok(revision);
            }
        }
    }

    async fn put(&self, condition: Condition, lease: &Lease) -> Result<Option<Revision>, StoreError> {
        let transaction = Transaction::new().when(condition);
        self.store.commit(transaction.put_json_leased(&*self.key, &self.registration, lease.id)?).await
    }

    /// Has the registration say whether this daemon is leaving.
    fn note_leaving(&mut self) {
        let leave_by = *self.shared.leave_by.borrow();
        self.registration.is_leaving = leave_by.is_some();
        self.registration.leave_by_unix_ms = leave_by.unwrap_or_default();
    }

    /// Writes the registration again, under the same lease, until that has succeeded or the lease has ended.
    async fn say_that_it_leaves(&mut self, lease: &Lease) {
        self.note_leaving();
        loop {
            let own = Condition::Created(self.key.clone(), self.created);
            match self.put(own, lease).await {
                Ok(Some(_)) => return tracing::info!("the cluster knows that this supervisor is leaving"),
                // Its lease has ended, which it will hear of.
                Ok(None) => return,
                Err(error) => tracing::warn!("cannot say that this supervisor is leaving, trying again: {error}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn remember(&mut self, session: &str) -> Result<(), StartError> {
        self.own.push(session.to_owned());
        let surplus = self.own.len().saturating_sub(REMEMBERED);
        self.own.drain(..surplus);
        let path = self.shared.folders.sessions();
        crate::files::write_json(&path, &self.own)
            .map_err(|source| StartError::Folder { path: path.display().to_string(), source })
    }

    /// Whoever was registered before has a right to the name, and goes on trying; it need not wait for it.
    async fn take(&mut self, was_registered: bool) -> Result<Lease, StartError> {
        if was_registered { self.register_now().await } else { self.register().await }
    }

    /// Keeps the key until `stop`, then gives it up. Ends before only if the name was never got.
    pub(crate) async fn keep(mut self, mut lease: Option<Lease>, stop: CancellationToken) -> Option<StartError> {
        let mut was_registered = lease.is_some();
        let mut is_told = false;
        let mut leaving = self.shared.leave_by.subscribe();
        loop {
            let Some(held) = &mut lease else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    registered = self.take(was_registered) => match registered {
                        Ok(taken) => {
                            was_registered = true;
                            is_told = false;
                            lease = Some(taken);
                            continue;
                        }
                        Err(error @ StartError::NameTaken { .. }) if !was_registered => return Some(error),
                        Err(error) if !std::mem::replace(&mut is_told, true) => {
                            tracing::warn!("cannot register, trying again: {error}");
                        }
                        Err(_) => {}
                    },
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            };
            let mut lost = held.lost.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = lost.wait_for(|is_lost| *is_lost) => {}
                () = async {
                    while leaving.changed().await.is_ok() {
                        self.say_that_it_leaves(held).await;
                    }
                    std::future::pending().await
                } => {}
            }
            tracing::warn!("the registration was lost; registering again");
            lease = None;
        }
        if let Some(lease) = lease
            && let Ok(Err(error)) = tokio::time::timeout(LAST_WAIT, self.store.revoke(lease)).await
        {
            tracing::warn!("the registration ends by itself, in {:?}: {error}", self.shared.options.lease);
        }
        None
    }
}
