//! The supervisor's key in the store: taken once, kept by a lease, taken again when that was lost.

use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::{Keys, Registration};
use galerna_coordination::{Condition, Lease, Revision, Store, StoreError, Transaction};
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
            ..Registration::default()
        };
        let own: Vec<String> = crate::files::read_json(&shared.folders.sessions()).unwrap_or_default();
        shared.set_session(own.last().and_then(|session| session.parse().ok()).unwrap_or_default());
        let key = keys.supervisor(&options.id);
        Self { shared, store, key, registration, own }
    }

    /// Takes the key, if nobody else has it.
    pub(crate) async fn register(&mut self) -> Result<Lease, StartError> {
        let lease = self.store.lease(self.shared.options.lease).await?;
        match self.take_key(&lease).await {
            Ok(revision) => {
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
        loop {
            let absent = Condition::Absent(self.key.clone());
            if let Some(revision) = self.put(absent, lease).await? {
                return Ok(revision);
            }
            let Some(entry) = self.store.get(&self.key).await? else { continue };
            let holder: Registration = entry.json().unwrap_or_default();
            if !self.own.contains(&holder.session) {
                let address = format!("{}:{}", holder.host, holder.port);
                return Err(StartError::NameTaken { id: self.shared.options.id.clone(), address });
            }
            tracing::info!("taking over the registration of an earlier start");
            let unchanged = Condition::Created(self.key.clone(), entry.created);
            if let Some(revision) = self.put(unchanged, lease).await? {
                return Ok(revision);
            }
        }
    }

    async fn put(&self, condition: Condition, lease: &Lease) -> Result<Option<Revision>, StoreError> {
        let transaction = Transaction::new().when(condition);
        self.store.commit(transaction.put_json_leased(&*self.key, &self.registration, lease.id)?).await
    }

    fn remember(&mut self, session: &str) -> Result<(), StartError> {
        self.own.push(session.to_owned());
        let surplus = self.own.len().saturating_sub(REMEMBERED);
        self.own.drain(..surplus);
        let path = self.shared.folders.sessions();
        crate::files::write_json(&path, &self.own)
            .map_err(|source| StartError::Folder { path: path.display().to_string(), source })
    }

    /// Keeps the key until `stop`, then gives it up. Ends before only if the name was never got.
    pub(crate) async fn keep(mut self, mut lease: Option<Lease>, stop: CancellationToken) -> Option<StartError> {
        let mut was_registered = lease.is_some();
        let mut is_told = false;
        loop {
            let Some(held) = &mut lease else {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    registered = self.register() => match registered {
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
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = held.lost.wait_for(|is_lost| *is_lost) => {}
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
