//! What the store in memory holds, and how a transaction changes it. It knows no waiting: the time
//! comes in.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::check;
use crate::store::{Change, Condition, Entry, LeaseId, Listing, Operation, Revision, StoreError, Transaction};

/// How many revisions a watch may lag behind before it gets a snapshot instead.
const LONGEST_HISTORY: usize = 1000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) revision: Revision,
    pub(super) is_running: bool,
    entries: BTreeMap<String, Stored>,
    leases: BTreeMap<LeaseId, Granted>,
    last_lease: i64,
    /// The latest changes, by revision.
    history: VecDeque<(Revision, Vec<Change>)>,
    /// Changes up to this revision are no longer in the history.
    compacted: Revision,
}

#[derive(Debug)]
struct Stored {
    entry: Entry,
    lease: Option<LeaseId>,
}

#[derive(Debug)]
struct Granted {
    ttl: Duration,
    ends: Instant,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            // Where etcd begins.
            revision: 1,
            is_running: true,
            entries: BTreeMap::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            history: VecDeque::new(),
            compacted: 1,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).map(|stored| stored.entry.clone())
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let entries = self
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, stored)| stored.entry.clone());
        Listing { revision: self.revision, entries: entries.collect() }
    }

    /// The changes under `prefix` after `revision`, grouped by revision; `None` if they are forgotten.
    pub(super) fn changes_after(&self, revision: Revision, prefix: &str) -> Option<Vec<Vec<Change>>> {
        if revision < self.compacted {
            return None;
        }
        let later = self.history.iter().filter(|(changed, _)| *changed > revision);
        let under = later.map(|(_, changes)| {
            changes.iter().filter(|change| change.key().starts_with(prefix)).cloned().collect::<Vec<_>>()
        });
        Some(under.filter(|changes| !changes.is_empty()).collect())
    }

    pub(super) fn commit(&mut self, transaction: &Transaction) -> Result<Option<Revision>, StoreError> {
        check(transaction)?;
        if !transaction.conditions.iter().all(|condition| self.holds(condition)) {
            return Ok(None);
        }
        let leases = transaction.operations.iter().filter_map(|operation| match operation {
            Operation::Put { lease, .. } => *lease,
            Operation::Delete(_) => None,
        });
        for lease in leases {
            if !self.leases.contains_key(&lease) {
                return Err(StoreError::Refused(format!("there is no lease {:x}", lease.0)));
            }
        }
        let revision = self.revision + 1;
        let changes = transaction.operations.iter().filter_map(|operation| match operation {
            Operation::Put { key, value, lease } => Some(put(&mut self.entries, revision, key, value, *lease)),
            Operation::Delete(key) => delete(&mut self.entries, revision, key),
        });
        let changes = changes.collect();
        self.record(changes);
        Ok(Some(self.revision))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let entry = |key: &String| self.entries.get(key).map(|stored| &stored.entry);
        match condition {
            Condition::Absent(key) => entry(key).is_none(),
            Condition::Present(key) => entry(key).is_some(),
            // A key that is not there counts as of revision 0, as in etcd.
            Condition::Modified(key, revision) => entry(key).map_or(0, |entry| entry.modified) == *revision,
            Condition::Created(key, revision) => entry(key).map_or(0, |entry| entry.created) == *revision,
        }
    }

    /// A revision passes if there were changes.
    fn record(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        self.revision += 1;
        self.history.push_back((self.revision, changes));
        if self.history.len() > LONGEST_HISTORY
            && let Some((forgotten, _)) = self.history.pop_front()
        {
            self.compacted = forgotten;
        }
    }

    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        self.leases.insert(id, Granted { ttl, ends: now + ttl });
        id
    }

    /// Whether the lease is still there; its time then begins anew.
    pub(super) fn renew(&mut self, id: LeaseId, now: Instant) -> bool {
        let lease = self.leases.get_mut(&id);
        lease.map(|lease| lease.ends = now + lease.ttl).is_some()
    }

    pub(super) fn revoke(&mut self, id: LeaseId) {
        if self.leases.remove(&id).is_none() {
            return;
        }
        let leased = self.entries.iter().filter(|(_, stored)| stored.lease == Some(id));
        let keys: Vec<String> = leased.map(|(key, _)| key.clone()).collect();
        let revision = self.revision + 1;
        let changes = keys.iter().filter_map(|key| delete(&mut self.entries, revision, key)).collect();
        self.record(changes);
    }

    /// Ends all leases whose time is over; whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        if !self.is_running {
            return false;
        }
        let over: Vec<LeaseId> = self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        for id in &over {
            self.revoke(*id);
        }
        !over.is_empty()
    }

    /// When the next lease ends, if it is not renewed.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.ends).min().filter(|_| self.is_running)
    }

    pub(super) fn set_running(&mut self, is_running: bool, now: Instant) {
        if is_running && !self.is_running {
            for lease in self.leases.values_mut() {
                lease.ends = now + lease.ttl;
            }
        }
        self.is_running = is_running;
    }
}

fn put(
    entries: &mut BTreeMap<String, Stored>,
    revision: Revision,
    key: &str,
    value: &[u8],
    lease: Option<LeaseId>,
) -> Change {
    let created = entries.get(key).map_or(revision, |stored| stored.entry.created);
    let entry = Entry { key: key.to_owned(), value: value.to_vec(), created, modified: revision };
    entries.insert(key.to_owned(), Stored { entry: entry.clone(), lease });
    Change::Put(entry)
}

fn delete(entries: &mut BTreeMap<String, Stored>, revision: Revision, key: &str) -> Option<Change> {
    entries.remove(key).map(|_| Change::Deleted { key: key.to_owned(), revision })
}
