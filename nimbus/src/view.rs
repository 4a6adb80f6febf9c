//! What stands in the store, as far as it was told: kept up to date by a watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::{Desired, Keys, Member, Registration, Status};
use galerna_coordination::{Change, Entry, Event, Revision};
use galerna_protocol::{Assignment, TopologySpec};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::history::Ended;

/// A value and the revision of its last change.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Versioned<T> {
    pub(crate) value: Arc<T>,
    pub(crate) modified: Revision,
}

/// A topology: what was submitted, and what is wanted of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TopologyEntry {
    pub(crate) spec: Option<Versioned<TopologySpec>>,
    pub(crate) desired: Option<Versioned<Desired>>,
}

/// Everything that stands in the store.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// What was told up to here. It grows.
    pub(crate) revision: Revision,
    /// When a specification last came or went.
    pub(crate) specs: Revision,
    /// Since when what is here was kept up to date without a break; `None` while it is not.
    pub(crate) unbroken_since: Option<Instant>,
    pub(crate) members: BTreeMap<String, Versioned<Member>>,
    pub(crate) supervisors: BTreeMap<String, Versioned<Registration>>,
    pub(crate) topologies: BTreeMap<String, TopologyEntry>,
    pub(crate) names: BTreeMap<String, Versioned<String>>,
    pub(crate) assignments: BTreeMap<String, Versioned<Assignment>>,
    pub(crate) history: BTreeMap<String, Versioned<Ended>>,
}

/// A topology that is whole: both its keys are there.
#[derive(Clone, Debug)]
pub(crate) struct Topology {
    pub(crate) id: String,
    pub(crate) spec: Arc<TopologySpec>,
    pub(crate) desired: Versioned<Desired>,
}

impl Topology {
    /// Whether it runs no more, though its name is still taken.
    pub(crate) fn has_finished(&self) -> bool {
        self.desired.value.status == Status::Finished
    }
}

impl View {
    /// Takes up what the watch has told.
    pub(crate) fn apply(&mut self, keys: &Keys, event: Event, now: Instant) {
        match event {
            Event::Snapshot(listing) => {
                *self =
                    Self { revision: listing.revision.max(self.revision), specs: listing.revision, ..Self::default() };
                for entry in &listing.entries {
                    self.put(keys, entry);
                }
                // Changes were missed, if it is not the first: what was seen before does not count.
                self.unbroken_since = Some(now);
            }
            Event::Changes(changes) => {
                for change in &changes {
                    match change {
                        Change::Put(entry) => {
                            self.put(keys, entry);
                            self.revision = self.revision.max(entry.modified);
                        }
                        Change::Deleted { key, revision } => {
                            self.delete(keys, key);
                            self.revision = self.revision.max(*revision);
                        }
                    }
                }
            }
            Event::Disconnected => self.unbroken_since = None,
            Event::Connected => self.unbroken_since = Some(now),
        }
    }

    /// Whether what is here was kept up to date for at least this long.
    pub(crate) fn is_unbroken_for(&self, time: Duration) -> bool {
        self.unbroken_since.is_some_and(|since| since.elapsed() >= time)
    }

    /// The topology of this id.
    pub(crate) fn topology(&self, id: &str) -> Option<Topology> {
        let entry = self.topologies.get(id)?;
        Some(Topology {
            id: id.to_owned(),
            spec: Arc::clone(&entry.spec.as_ref()?.value),
            desired: entry.desired.clone()?,
        })
    }

    /// All whole topologies, by id.
    pub(crate) fn whole_topologies(&self) -> impl Iterator<Item = Topology> {
        self.topologies.keys().filter_map(|id| self.topology(id))
    }

    fn put(&mut self, keys: &Keys, entry: &Entry) {
        let key = entry.key.as_str();
        if let Some(id) = key.strip_prefix(&keys.members()) {
            set(&mut self.members, id, entry);
        } else if let Some(id) = key.strip_prefix(&keys.supervisors()) {
            set(&mut self.supervisors, id, entry);
        } else if let Some(rest) = key.strip_prefix(&keys.topologies()) {
            let Some((id, part)) = rest.rsplit_once('/') else { return };
            let topology = self.topologies.entry(id.to_owned()).or_default();
            match part {
                "spec" => {
                    topology.spec = read(entry);
                    self.specs = entry.modified;
                }
                "desired" => topology.desired = read(entry),
                _ => {}
            }
        } else if let Some(name) = key.strip_prefix(&keys.names()) {
            set(&mut self.names, name, entry);
        } else if let Some(id) = key.strip_prefix(&keys.assignments()) {
            set(&mut self.assignments, id, entry);
        } else if let Some(id) = key.strip_prefix(&keys.history()) {
            set(&mut self.history, id, entry);
        }
    }

    fn delete(&mut self, keys: &Keys, key: &str) {
        if let Some(id) = key.strip_prefix(&keys.members()) {
            self.members.remove(id);
        } else if let Some(id) = key.strip_prefix(&keys.supervisors()) {
            self.supervisors.remove(id);
        } else if let Some(rest) = key.strip_prefix(&keys.topologies()) {
            let Some((id, part)) = rest.rsplit_once('/') else { return };
            let Some(topology) = self.topologies.get_mut(id) else { return };
            match part {
                "spec" => topology.spec = None,
                "desired" => topology.desired = None,
                _ => {}
            }
            if topology.spec.is_none() && topology.desired.is_none() {
                self.topologies.remove(id);
            }
        } else if let Some(name) = key.strip_prefix(&keys.names()) {
            self.names.remove(name);
        } else if let Some(id) = key.strip_prefix(&keys.assignments()) {
            self.assignments.remove(id);
        } else if let Some(id) = key.strip_prefix(&keys.history()) {
            self.history.remove(id);
        }
    }
}

fn set<T: DeserializeOwned>(map: &mut BTreeMap<String, Versioned<T>>, id: &str, entry: &Entry) {
    match read(entry) {
        Some(value) => map.insert(id.to_owned(), value),
        None => map.remove(id),
    };
}

/// The value; nothing, and a line in the log, if it cannot be read: one of them must not hide the others.
fn read<T: DeserializeOwned>(entry: &Entry) -> Option<Versioned<T>> {
    match entry.json() {
        Ok(value) => Some(Versioned { value: Arc::new(value), modified: entry.modified }),
        Err(error) => {
            tracing::warn!(%error, "a value is left out");
            None
        }
    }
}
