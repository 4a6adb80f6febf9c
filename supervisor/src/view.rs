//! What the store says, as far as a supervisor wants to know, and what that means for its slots.

mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use galerna_coordination::keys::{Desired, Keys, Leader, Member, Registration, Status};
use galerna_coordination::{Change, Entry, Listing, Revision};
use galerna_protocol::{Artifact, Assignment, Order, TopologySpec, WorkerPlan};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::artifacts::Source;

pub(crate) use watching::{restore, watch_store};

/// A value and when it was changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Dated<T> {
    pub(crate) value: T,
    pub(crate) modified: Revision,
}

/// One topology.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    pub(crate) spec: Option<Arc<TopologySpec>>,
    pub(crate) desired: Option<Dated<Desired>>,
    pub(crate) assignment: Option<Dated<Assignment>>,
}

/// Everything that was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct View {
    pub(crate) topologies: BTreeMap<String, Arc<Seen>>,
    pub(crate) leader: Option<Leader>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) supervisors: BTreeMap<String, Registration>,
    /// Whether the store itself has said it since the start; otherwise it is what was known before.
    #[serde(skip)]
    pub(crate) is_live: bool,
}

/// What an assignment wants in a slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) topology: String,
    pub(crate) order: Order,
    pub(crate) spec: Option<Arc<TopologySpec>>,
    pub(crate) plan: WorkerPlan,
    pub(crate) modified: Revision,
}

impl Wanted {
    pub(crate) fn artifact(&self) -> Option<&Artifact> {
        self.spec.as_ref()?.artifact.as_ref()
    }
}

/// The order that follows from how a topology is to stand.
fn order_of(status: Status) -> Order {
    match status {
        Status::Active => Order::Run,
        Status::Inactive => Order::Pause,
        Status::Killed => Order::Drain,
        Status::Finished => Order::Exit,
    }
}

impl View {
    /// What is wanted in each slot of this supervisor.
    pub(crate) fn wanted(&self, supervisor: &str) -> BTreeMap<u32, Wanted> {
        let mut wanted: BTreeMap<u32, Wanted> = BTreeMap::new();
        for (topology, seen) in &self.topologies {
            let Some(assignment) = &seen.assignment else { continue };
            for slot in slots_of(&assignment.value, supervisor) {
                let wish = wish_of(topology, seen, assignment);
                // While one goes and another comes, the newer assignment counts.
                if wanted.get(&slot).is_none_or(|other| other.modified < wish.modified) {
                    wanted.insert(slot, wish);
                }
            }
        }
        wanted
    }

    /// The topology of each worker that is assigned to this supervisor, or is still to hand something over.
    pub(crate) fn workers_on(&self, supervisor: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for (topology, seen) in &self.topologies {
            let Some(assignment) = &seen.assignment else { continue };
            let handing_over = assignment.value.handovers.iter().filter_map(|handover| handover.from.as_ref());
            let handing_over = handing_over.filter(|id| id.supervisor == supervisor).map(|id| id.slot);
            let slots: BTreeSet<u32> = slots_of(&assignment.value, supervisor).chain(handing_over).collect();
            found.extend(slots.iter().map(|_| topology.as_str()));
        }
        found
    }

    /// Whether there is another supervisor that could take what runs on this one.
    pub(crate) fn has_others_that_stay(&self, supervisor: &str) -> bool {
        self.supervisors.iter().any(|(id, other)| id != supervisor && !other.is_leaving)
    }

    /// Whether the store knows a topology.
    pub(crate) fn has(&self, topology: &str) -> bool {
        self.topologies.contains_key(topology)
    }

    /// Who may have an artifact: the leader first, then other Nimbus daemons, then supervisors.
    pub(crate) fn sources(&self, supervisor: &str) -> Vec<Source> {
        let nimbus = self.nimbus_addresses().into_iter().map(Source::Nimbus);
        let others = self.supervisors.iter().filter(|(id, _)| *id != supervisor);
        nimbus.chain(others.map(|(_, other)| Source::Supervisor(other.address()))).collect()
    }

    /// `host:port` of each Nimbus, the leader first.
    pub(crate) fn nimbus_addresses(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.leader.iter().map(|leader| leader.address.clone()).collect();
        for member in self.members.values() {
            if !addresses.contains(&member.address) {
                addresses.push(member.address.clone());
            }
        }
        addresses
    }

    /// What is worth keeping for a start while the store is away.
    fn for_disk(&self, supervisor: &str) -> Self {
        let mut kept = self.clone();
        kept.topologies.retain(|_, seen| {
            seen.assignment.as_ref().is_some_and(|it| slots_of(&it.value, supervisor).next().is_some())
        });
        kept
    }

    /// Replaces everything. A value that cannot be read leaves what was known under its key.
    fn replace(&mut self, keys: &Keys, listing: &Listing) {
        let before = std::mem::take(self);
        for entry in &listing.entries {
            if !self.put(keys, entry) {
                self.carry_over(keys, &entry.key, &before);
            }
        }
        self.is_live = true;
    }

    fn change(&mut self, keys: &Keys, change: &Change) {
        match change {
            Change::Put(entry) => {
                self.put(keys, entry);
            }
            Change::Deleted { key, .. } => self.delete(keys, key),
        }
    }

    /// Takes in a value; false if it cannot be read.
    fn put(&mut self, keys: &Keys, entry: &Entry) -> bool {
        let modified = entry.modified;
        match place_of(keys, &entry.key) {
            Some(Place::Leader) => read(entry).map(|leader| self.leader = Some(leader)),
            Some(Place::Member(id)) => read(entry).map(|member| _ = self.members.insert(id.to_owned(), member)),
            Some(Place::Supervisor(id)) => read(entry).map(|it| _ = self.supervisors.insert(id.to_owned(), it)),
            Some(Place::Spec(id)) => read(entry).map(|spec| self.seen(id).spec = Some(Arc::new(spec))),
            Some(Place::Desired(id)) => {
                read(entry).map(|value| self.seen(id).desired = Some(Dated { value, modified }))
            }
            Some(Place::Assignment(id)) => {
                read(entry).map(|value| self.seen(id).assignment = Some(Dated { value, modified }))
            }
            None => Some(()),
        }
        .is_some()
    }

    fn delete(&mut self, keys: &Keys, key: &str) {
        match place_of(keys, key) {
            Some(Place::Leader) => self.leader = None,
            Some(Place::Member(id)) => _ = self.members.remove(id),
            Some(Place::Supervisor(id)) => _ = self.supervisors.remove(id),
            Some(Place::Spec(id)) => self.clear(id, |seen| seen.spec = None),
            Some(Place::Desired(id)) => self.clear(id, |seen| seen.desired = None),
            Some(Place::Assignment(id)) => self.clear(id, |seen| seen.assignment = None),
            None => {}
        }
    }

    fn carry_over(&mut self, keys: &Keys, key: &str, before: &Self) {
        match place_of(keys, key) {
            Some(Place::Spec(id)) => self.seen(id).spec = before.topologies.get(id).and_then(|it| it.spec.clone()),
            Some(Place::Desired(id)) => {
                self.seen(id).desired = before.topologies.get(id).and_then(|it| it.desired.clone());
            }
            Some(Place::Assignment(id)) => {
                self.seen(id).assignment = before.topologies.get(id).and_then(|it| it.assignment.clone());
            }
            _ => {}
        }
    }

    fn seen(&mut self, topology: &str) -> &mut Seen {
        Arc::make_mut(self.topologies.entry(topology.to_owned()).or_default())
    }

    fn clear(&mut self, topology: &str, what: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.topologies.get_mut(topology) {
            let seen = Arc::make_mut(seen);
            what(seen);
            if *seen == Seen::default() {
                self.topologies.remove(topology);
            }
        }
    }
}

fn wish_of(topology: &str, seen: &Seen, assignment: &Dated<Assignment>) -> Wanted {
    let desired = seen.desired.as_ref();
    let order = order_of(desired.map(|desired| desired.value.status).unwrap_or_default());
    let version = assignment.modified.max(desired.map_or(0, |desired| desired.modified));
    let plan = WorkerPlan {
        topology_id: topology.to_owned(),
        assignment: Some(assignment.value.clone()),
        order: order.into(),
        version: u64::try_from(version).unwrap_or_default(),
    };
    Wanted { topology: topology.to_owned(), order, spec: seen.spec.clone(), plan, modified: assignment.modified }
}

fn slots_of<'a>(assignment: &'a Assignment, supervisor: &'a str) -> impl Iterator<Item = u32> + 'a {
    let ids = assignment.workers.iter().filter_map(|worker| worker.id.as_ref());
    ids.filter(move |id| id.supervisor == supervisor).map(|id| id.slot)
}

/// What a key stands for.
enum Place<'a> {
    Leader,
    Member(&'a str),
    Supervisor(&'a str),
    Spec(&'a str),
    Desired(&'a str),
    Assignment(&'a str),
}

fn place_of<'a>(keys: &Keys, key: &'a str) -> Option<Place<'a>> {
    if key == keys.leader() {
        return Some(Place::Leader);
    }
    if let Some(id) = key.strip_prefix(&keys.members()) {
        return Some(Place::Member(id));
    }
    if let Some(id) = key.strip_prefix(&keys.supervisors()) {
        return Some(Place::Supervisor(id));
    }
    let (place, id) = if let Some(id) = key.strip_prefix(&keys.assignments()) {
        (Place::Assignment(id), id)
    } else {
        match key.strip_prefix(&keys.topologies())?.split_once('/')? {
            (id, "spec") => (Place::Spec(id), id),
            (id, "desired") => (Place::Desired(id), id),
            _ => return None,
        }
    };
    // It becomes the name of folders.
    galerna_coordination::keys::is_name(id).then_some(place)
}

fn read<T: DeserializeOwned>(entry: &Entry) -> Option<T> {
    entry.json().inspect_err(|error| tracing::warn!(%error, "a value in the store is ignored")).ok()
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{AssignedWorker, WorkerId};

    use super::*;

    fn entry(key: String, value: &impl Serialize, modified: Revision) -> Entry {
        Entry { key, value: serde_json::to_vec(value).expect("JSON"), created: 1, modified }
    }

    fn assignment(generation: u64, slot: u32) -> Assignment {
        let worker = AssignedWorker { id: Some(WorkerId::new("s", slot)), ..AssignedWorker::default() };
        Assignment { generation, workers: vec![worker], handovers: Vec::new() }
    }

    fn desired(status: Status) -> Desired {
        Desired { status, ..Desired::default() }
    }

    #[test]
    fn wishes_follow_assignments_and_orders_follow_the_desired_status() {
        let keys = Keys::new("c");
        let mut view = View::default();
        let put = |view: &mut View, entry| view.change(&keys, &Change::Put(entry));
        put(&mut view, entry(keys.assignment("a-1"), &assignment(1, 7), 10));
        put(&mut view, entry(keys.desired("a-1"), &desired(Status::Killed), 12));
        put(&mut view, entry(keys.assignment("b-2"), &assignment(1, 7), 11));
        put(&mut view, entry(keys.assignment("c-3"), &assignment(1, 8), 11));
        put(&mut view, entry(keys.desired("c-3"), &desired(Status::Finished), 9));
        let wanted = view.wanted("s");
        let shown: Vec<_> =
            wanted.iter().map(|(slot, it)| (*slot, it.topology.as_str(), it.order, it.plan.version)).collect();
        assert_eq!(shown, [(7, "b-2", Order::Run, 11), (8, "c-3", Order::Exit, 11)]);
        view.change(&keys, &Change::Deleted { key: keys.assignment("b-2"), revision: 13 });
        assert_eq!(view.wanted("s")[&7].order, Order::Drain);
        assert_eq!(view.wanted("s")[&7].plan.version, 12);
        assert!(view.wanted("other").is_empty());
    }

    #[test]
    fn a_value_that_cannot_be_read_leaves_what_was_known() {
        let keys = Keys::new("c");
        let mut view = View::default();
        let good = entry(keys.assignment("a-1"), &assignment(1, 7), 10);
        view.change(&keys, &Change::Put(good.clone()));
        let bad = Entry { value: b"{".to_vec(), modified: 11, ..good };
        let evil = entry(keys.assignment("../x"), &assignment(1, 9), 12);
        view.change(&keys, &Change::Put(bad.clone()));
        assert_eq!(view.wanted("s").len(), 1);
        view.replace(&keys, &Listing { revision: 12, entries: vec![bad, evil] });
        assert_eq!(view.wanted("s").keys().collect::<Vec<_>>(), [&7]);
        view.replace(&keys, &Listing::default());
        assert!(view.wanted("s").is_empty() && view.is_live);
    }
}
