//! Which topology a call is about: by name or id, living or ended.

use std::sync::Arc;

use galerna_topology_api::{Timestamp, nearest};
use tonic::Status;

use crate::core::Core;
use crate::history::Ended;
use crate::view::{Topology, View};

/// Names listed in an error at most.
const MOST_NAMED: usize = 10;

/// The topology of a name or id.
pub(super) enum Found {
    Living(Topology),
    Ended(Past),
}

/// An ended topology whose name and slots are free.
pub(super) struct Past {
    pub(super) id: String,
    pub(super) record: Arc<Ended>,
    /// Notes for the caller about the choice among several topologies.
    pub(super) notes: Vec<String>,
}

impl Core {
    /// The topology of this name or id: a living topology, or else the record of an ended one.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(super) fn find(&self, name: &str) -> Result<Found, Status> {
        let view = self.view.borrow();
        let found = living(&view, name).map(Found::Living).or_else(|| ended(&view, name).map(Found::Ended));
        found.ok_or_else(|| not_found(&view, name))
    }

    /// The living topology of this name or id.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub(super) fn named(&self, name: &str) -> Result<Topology, Status> {
        let view = self.view.borrow();
        if let Some(topology) = living(&view, name) {
            return Ok(topology);
        }
        let Some(Past { id, record, .. }) = ended(&view, name) else { return Err(not_found(&view, name)) };
        let which =
            if id == name { format!("`{id}` runs no more") } else { format!("no topology named `{name}` runs") };
        let (status, at) = (&record.status, Timestamp::from_millis(record.ended_unix_ms / 1000 * 1000));
        Err(Status::not_found(format!("{which}: {id} ended at {at} ({status}); `describe {id}` shows what is known")))
    }
}

fn living(view: &View, name: &str) -> Option<Topology> {
    // Names come before ids, so that no id hides a name.
    view.names.get(name).and_then(|id| view.topology(&id.value)).or_else(|| view.topology(name))
}

fn ended(view: &View, name: &str) -> Option<Past> {
    if let Some(record) = view.history.get(name) {
        return Some(Past { id: name.to_owned(), record: Arc::clone(&record.value), notes: Vec::new() });
    }
    let mut named: Vec<_> = view.history.iter().filter(|(_, record)| record.value.name == name).collect();
    // The number in an id grows, and decides between ends within one millisecond.
    named.sort_by_key(|(id, record)| (record.value.ended_unix_ms, id.len(), id.as_str()));
    let (id, record) = *named.last()?;
    let is_one_of_many = named.len() > 1;
    let note = || format!("{} topologies named `{name}` have ended; this is the latest, {id}", named.len());
    let notes = is_one_of_many.then(note).into_iter().collect();
    Some(Past { id: id.clone(), record: Arc::clone(&record.value), notes })
}

fn not_found(view: &View, name: &str) -> Status {
    let names: Vec<&str> = view.names.keys().map(String::as_str).collect();
    let mut past: Vec<&str> = view.history.values().map(|record| record.value.name.as_str()).collect();
    past.sort_unstable();
    past.dedup();
    let near = nearest(name, names.iter().copied());
    let near_past = near.is_none().then(|| nearest(name, past.iter().copied())).flatten();
    let hint = match (near, near_past, names.as_slice()) {
        (Some(near), ..) => format!("; did you mean `{near}`?"),
        (None, Some(near), _) => format!("; did you mean `{near}`, which has ended?"),
        (None, None, []) => "; there is none".to_owned(),
        (None, None, [last]) => format!("; there is {last}"),
        (None, None, names) if names.len() <= MOST_NAMED => format!("; there are {}", names.join(", ")),
        (None, None, names) => {
            format!("; there are {} and {} more", names[..MOST_NAMED].join(", "), names.len() - MOST_NAMED)
        }
    };
    let name: String = name.chars().take(100).collect();
    Status::not_found(format!("no topology named `{name}`{hint}"))
}
