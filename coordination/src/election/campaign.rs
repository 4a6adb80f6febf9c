//! The loop of a candidate: waits until nobody leads, takes a lease, puts the key if it is absent, and
//! looks after what it has won.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::{Leadership, Standing};
use crate::keys::Leader;
use crate::store::{Change, Condition, Entry, Event, Lease, Revision, Store, StoreError, Transaction, Watch};

/// How long a candidate waits after the store has not done what it asked for.
const RETRY: Duration = Duration::from_millis(300);

pub(super) struct Campaign {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: String,
    pub(super) candidate: Leader,
    pub(super) ttl: Duration,
    /// Whether it campaigns, and does not only look on.
    pub(super) stands: watch::Receiver<bool>,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) alive_until: watch::Sender<Instant>,
}

/// How far the watch of the key has come.
#[derive(Default)]
struct Told {
    /// Whether it has told anything yet.
    is_told: bool,
    /// It is older news, and does not count, before this revision.
    revision: Revision,
}

impl Campaign {
    pub(super) async fn run(self, mut resigned: oneshot::Receiver<()>) {
        let mut lease = None;
        tokio::select! {
            biased;
            // An error means that the candidate was dropped, and this task with it.
            _ = &mut resigned => {}
            () = self.campaign(&mut lease) => {}
        }
        self.stand_down();
        self.give_back(&mut lease).await;
    }

    /// Goes on until the store itself is closed. The lease stands outside, so that whoever drops this
    /// can give it back.
    async fn campaign(&self, lease: &mut Option<Lease>) {
        let mut watch = self.store.watch(&self.key);
        let mut stands = self.stands.clone();
        let mut told = Told::default();
        let mut complaint = String::new();
        loop {
            while !told.is_told || self.standing.borrow().leader.is_some() || !*stands.borrow() {
                let may_stand = *stands.borrow();
                tokio::select! {
                    biased;
                    event = watch.events.recv() => {
                        let Some(event) = event else { return };
                        self.take_up(event, &mut told);
                    }
                    // An error means that the candidate was dropped.
                    changed = stands.changed(), if !may_stand => if changed.is_err() { return },
                }
            }
            match self.run_for_office(lease).await {
                Ok(Some(created)) => {
                    told.revision = created;
                    let goes_on = self.lead(lease, created, &mut watch, &mut told).await;
                    self.stand_down();
                    // Whatever is left of it must not keep others waiting.
                    self.give_back(lease).await;
                    if !goes_on {
                        return;
                    }
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    let new = error.to_string();
                    if new != complaint {
                        warn!(%error, "this candidate cannot run for leadership; it tries on");
                        complaint = new;
                    }
                }
            }
            self.give_back(lease).await;
            self.wait_for_news(&mut watch, &mut told).await;
        }
    }

    /// The revision of our election; `None` if another was faster. After an error the key may stand all
    /// the same: it then goes with a lease that nobody keeps alive.
    async fn run_for_office(&self, lease: &mut Option<Lease>) -> Result<Option<Revision>, StoreError> {
        let taken = lease.insert(self.store.lease(self.ttl).await?);
        let transaction = Transaction::new().when(Condition::Absent(self.key.clone())).put_json_leased(
            &self.key,
            &self.candidate,
            taken.id,
        )?;
        self.store.commit(transaction).await
    }

    /// Leads, until that is lost; whether the store still tells anything.
    async fn lead(&self, lease: &mut Option<Lease>, created: Revision, watch: &mut Watch, told: &mut Told) -> bool {
        let Some(lease) = lease else { return true };
        let mut is_believed = true;
        self.proclaim(created);
        loop {
            let until = *lease.alive_until.borrow_and_update();
            self.alive_until.send_replace(until);
            if *lease.lost.borrow_and_update() {
                warn!(key = self.key, "leadership is lost: its lease has ended");
                return true;
            }
            if !is_believed && Instant::now() < until {
                match self.is_ours(created).await {
                    Ok(true) => {
                        is_believed = true;
                        self.proclaim(created);
                    }
                    Ok(false) => return true,
                    Err(error) => warn!(%error, "leadership is in doubt"),
                }
            }
            let in_time = tokio::select! {
                biased;
                changed = lease.lost.changed() => changed.is_ok(),
                () = sleep_until(until), if is_believed => {
                    warn!(key = self.key, "leadership is in doubt: the store does not confirm the lease");
                    is_believed = false;
                    self.stand_down();
                    true
                }
                changed = lease.alive_until.changed() => changed.is_ok(),
                event = watch.events.recv() => {
                    let Some(event) = event else { return false };
                    self.take_up(event, told);
                    self.standing.borrow().leader.as_ref().is_some_and(|(_, revision)| *revision == created)
                }
            };
            if !in_time {
                return true;
            }
        }
    }

    /// Whether the key still is the one that we have put.
    async fn is_ours(&self, created: Revision) -> Result<bool, StoreError> {
        let entry = self.store.get(&self.key).await?;
        Ok(entry.is_some_and(|entry| entry.created == created))
    }

    /// Waits until it makes sense to try once more.
    async fn wait_for_news(&self, watch: &mut Watch, told: &mut Told) {
        tokio::select! {
            biased;
            () = sleep(RETRY) => {}
            Some(event) = watch.events.recv() => self.take_up(event, told),
        }
    }

    async fn give_back(&self, lease: &mut Option<Lease>) {
        if let Some(lease) = lease.take()
            && let Err(error) = self.store.revoke(lease).await
        {
            warn!(%error, "a lease could not be given back; it runs out by itself");
        }
    }

    fn proclaim(&self, created: Revision) {
        info!(key = self.key, id = self.candidate.id, revision = created, "leads");
        self.standing.send_replace(Standing {
            leader: Some((self.candidate.clone(), created)),
            leadership: Some(Leadership { key: self.key.clone(), created }),
        });
    }

    fn stand_down(&self) {
        self.standing.send_if_modified(|standing| standing.leadership.take().is_some());
    }

    /// Notes who leads, as far as the event tells of that.
    fn take_up(&self, event: Event, told: &mut Told) {
        match event {
            Event::Snapshot(listing) => {
                told.is_told = true;
                let entry = listing.entries.into_iter().find(|entry| entry.key == self.key);
                self.note(listing.revision, entry, told);
            }
            Event::Changes(changes) => {
                for change in changes {
                    match change {
                        Change::Put(entry) if entry.key == self.key => self.note(entry.modified, Some(entry), told),
                        Change::Deleted { key, revision } if key == self.key => self.note(revision, None, told),
                        Change::Put(_) | Change::Deleted { .. } => {}
                    }
                }
            }
            Event::Disconnected | Event::Connected => {}
        }
    }

    fn note(&self, revision: Revision, entry: Option<Entry>, told: &mut Told) {
        if revision < told.revision {
            return;
        }
        told.revision = revision;
        let leader = entry.map(|entry| {
            let leader = entry.json().unwrap_or_else(|error| {
                warn!(%error, "who leads is not known");
                Leader::default()
            });
            (leader, entry.created)
        });
        self.standing.send_if_modified(|standing| {
            let is_new = standing.leader != leader;
            standing.leader = leader;
            is_new
        });
    }
}
