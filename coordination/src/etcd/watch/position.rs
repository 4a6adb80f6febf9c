//! What a watch has told: up to which revision, and which keys stand now.

use std::collections::BTreeMap;

use crate::store::{Change, Listing, Revision};

pub(super) struct Position {
    /// Everything up to this revision was told.
    pub(super) revision: Revision,
    /// The keys that stand, and when they were last changed.
    keys: BTreeMap<String, Revision>,
}

impl Position {
    pub(super) fn at(listing: &Listing) -> Self {
        let keys = listing.entries.iter().map(|entry| (entry.key.clone(), entry.modified));
        Self { revision: listing.revision, keys: keys.collect() }
    }

    /// Notes what was changed together, unless it was told already; whether it is news.
    pub(super) fn moves_on(&mut self, changes: &[Change]) -> bool {
        let Some(revision) = changes.first().map(Change::revision) else { return false };
        if revision <= self.revision {
            return false;
        }
        self.revision = revision;
        for change in changes {
            match change {
                Change::Put(entry) => self.keys.insert(entry.key.clone(), entry.modified),
                Change::Deleted { key, .. } => self.keys.remove(key),
            };
        }
        true
    }

    /// Whether all that led to `goal` was told.
    pub(super) fn has_reached(&self, goal: &Listing) -> bool {
        self.revision >= goal.revision
            || goal.entries.len() == self.keys.len()
                && goal.entries.iter().all(|entry| self.keys.get(&entry.key) == Some(&entry.modified))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Entry;

    fn entry(key: &str, modified: Revision) -> Entry {
        Entry { key: key.into(), value: Vec::new(), created: 2, modified }
    }

    #[test]
    fn goal_is_reached_only_when_nothing_that_led_to_it_is_missing() {
        let listing = |revision, entries: &[(&str, Revision)]| Listing {
            revision,
            entries: entries.iter().map(|(key, modified)| entry(key, *modified)).collect(),
        };
        let mut position = Position::at(&listing(5, &[("a", 3), ("b", 5)]));
        assert!(position.has_reached(&listing(9, &[("a", 3), ("b", 5)])), "changes elsewhere do not count");
        let goal = listing(9, &[("a", 8)]);
        assert!(!position.has_reached(&goal));
        assert!(position.moves_on(&[Change::Deleted { key: "b".into(), revision: 7 }]));
        assert!(!position.has_reached(&goal));
        assert!(position.moves_on(&[Change::Put(entry("a", 8))]));
        assert!(position.has_reached(&goal));
        assert!(!position.moves_on(&[Change::Put(entry("a", 8))]), "told already");
    }
}
