//! The entries of `components:`: each made once, shared by everything that refers to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::construct;
use super::reference::Shareable;
use crate::definition::Recipe;
use crate::problems::{Fault, did_you_mean, shown};
use crate::registry::{TypeEntry, Wrap};
use crate::resolved::PathUse;
use crate::source::Span;

/// Components by id. All are made while the topology is built, so that what is wrong with them is
/// told then; the tasks share what was made.
#[derive(Default)]
pub(crate) struct Pool {
    slots: BTreeMap<String, Slot>,
    /// The components that are being made, each because of the one before it.
    path: Mutex<Vec<String>>,
    faults: Mutex<Vec<Fault>>,
    paths: Mutex<BTreeSet<PathUse>>,
}

struct Slot {
    /// The type's name and the type; nothing if that was wrong.
    class: Option<(String, Arc<TypeEntry>)>,
    recipe: Recipe,
    state: Mutex<State>,
}

#[derive(Clone)]
enum State {
    Unmade,
    Made(Shareable),
    Failed,
}

impl Pool {
    /// Takes in an entry; nothing is made yet.
    pub(crate) fn add(&mut self, id: String, class: Option<(String, Arc<TypeEntry>)>, recipe: Recipe) {
        self.slots.entry(id).or_insert(Slot { class, recipe, state: Mutex::new(State::Unmade) });
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.slots.contains_key(id)
    }

    /// Makes all that is not made yet.
    pub(crate) fn make_all(&self) {
        for (id, slot) in &self.slots {
            if let Err(fault) = self.resolve(id, slot.recipe.at) {
                lock(&self.faults).push(fault);
            }
        }
    }

    /// What was found wrong so far.
    pub(crate) fn take_faults(&self) -> Vec<Fault> {
        std::mem::take(&mut lock(&self.faults))
    }

    /// What was read as paths so far.
    pub(crate) fn take_paths(&self) -> BTreeSet<PathUse> {
        std::mem::take(&mut lock(&self.paths))
    }

    /// The component of an id that is referred to at `at`.
    pub(super) fn resolve(&self, id: &str, at: Span) -> Result<Shareable, Fault> {
        let Some(slot) = self.slots.get(id) else { return Err(self.unknown(id, at)) };
        let state = lock(&slot.state).clone();
        match state {
            State::Made(component) => return Ok(component),
            // Told when it was tried first.
            State::Failed => return Err(Fault::told()),
            State::Unmade => {}
        }
        {
            let mut path = lock(&self.path);
            if let Some(from) = path.iter().position(|making| making == id) {
                let cycle = path[from..].join(" -> ");
                return Err(Fault::new(at, format!("component `{id}` needs itself: {cycle} -> {id}")));
            }
            path.push(id.to_owned());
        }
        let made = self.make(slot);
        lock(&self.path).pop();
        *lock(&slot.state) = made.clone().map_or(State::Failed, State::Made);
        made.ok_or_else(Fault::told)
    }

    /// Says that there is no component of this id.
    pub(crate) fn unknown(&self, id: &str, at: Span) -> Fault {
        let near = did_you_mean(id, self.slots.keys().map(String::as_str));
        let fault = Fault::new(at, format!("`components:` has no entry `{}`{near}", shown(id)));
        if self.slots.is_empty() { fault.help("there are no entries; `ref` names one by its `id`") } else { fault }
    }

    fn make(&self, slot: &Slot) -> Option<Shareable> {
        let (name, entry) = slot.class.as_ref().filter(|_| !slot.recipe.is_broken)?;
        let Wrap::Component(wrap) = &entry.wrap else { return None };
        let outcome = construct(name, entry, &slot.recipe, self);
        lock(&self.faults).extend(outcome.faults);
        lock(&self.paths).extend(outcome.paths);
        let component = wrap(outcome.instance?);
        if component.is_none() {
            let message = "its factory makes something of another Rust type";
            lock(&self.faults).push(Fault::new(slot.recipe.at, message));
        }
        component.map(|component| Shareable { component, type_name: name.clone() })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
