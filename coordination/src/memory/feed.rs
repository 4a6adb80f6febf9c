//! The tasks behind a watch and a lease of the store in memory.

use std::future::pending;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::MemoryStore;
use crate::store::{Event, LeaseId, Revision};

/// Tells a watch what happens, until it is dropped.
pub(super) async fn feed_watch(store: MemoryStore, prefix: String, events: mpsc::Sender<Event>) {
    let mut changed = store.shared.changed.subscribe();
    let mut reachable = store.reachable.subscribe();
    let mut told = Told::default();
    loop {
        changed.mark_unchanged();
        reachable.mark_unchanged();
        for event in told.news(&store, &prefix) {
            if events.send(event).await.is_err() {
                return;
            }
        }
        let next_end = store.shared.state().next_end();
        tokio::select! {
            biased;
            _ = changed.changed() => {}
            _ = reachable.changed() => {}
            () = end_of_lease(next_end) => {}
        }
    }
}

async fn end_of_lease(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

/// What a watch was told so far.
#[derive(Default)]
struct Told {
    /// Everything up to this revision, if anything.
    revision: Option<Revision>,
    is_disconnected: bool,
}

impl Told {
    /// What it has not been told yet.
    fn news(&mut self, store: &MemoryStore, prefix: &str) -> Vec<Event> {
        let Ok(state) = store.reached() else {
            let is_new = !self.is_disconnected;
            self.is_disconnected = true;
            return if is_new { vec![Event::Disconnected] } else { Vec::new() };
        };
        let changes = self.revision.and_then(|revision| state.changes_after(revision, prefix));
        let mut events: Vec<Event> = match changes {
            Some(changes) => changes.into_iter().map(Event::Changes).collect(),
            None => vec![Event::Snapshot(state.list(prefix))],
        };
        self.revision = Some(state.revision);
        if std::mem::take(&mut self.is_disconnected) {
            events.push(Event::Connected);
        }
        events
    }
}

/// Keeps a lease alive until it is dropped, or gone.
pub(super) async fn keep_alive(
    store: MemoryStore,
    id: LeaseId,
    ttl: Duration,
    alive_until: watch::Sender<Instant>,
    lost: watch::Sender<bool>,
) {
    let mut changed = store.shared.changed.subscribe();
    let mut reachable = store.reachable.subscribe();
    loop {
        changed.mark_unchanged();
        reachable.mark_unchanged();
        let now = Instant::now();
        if let Ok(mut state) = store.reached() {
            if !state.renew(id, now) {
                lost.send_replace(true);
                return;
            }
            alive_until.send_replace(now + ttl);
        }
        tokio::select! {
            biased;
            _ = changed.changed() => {}
            _ = reachable.changed() => {}
            () = sleep(ttl / 3) => {}
        }
    }
}
