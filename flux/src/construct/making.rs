//! Makes the tasks of one spout or bolt, again and again from the same definition.

use std::sync::{Arc, Mutex, PoisonError};

use galerna_topology_api as api;

use super::{AnyBox, Pool, construct};
use crate::definition::Recipe;
use crate::problems::Fault;
use crate::registry::TypeEntry;
use crate::source::Sources;

/// What all components of a topology need to be made.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
    pub(crate) sources: Sources,
}

/// How one component's tasks are made.
pub(crate) struct Making {
    name: String,
    entry: Arc<TypeEntry>,
    recipe: Recipe,
    shared: Arc<Shared>,
    /// The instance that showed that the definition is right; the first one to be handed out.
    first: Mutex<Option<AnyBox>>,
}

impl Making {
    pub(crate) fn new(name: String, entry: Arc<TypeEntry>, recipe: Recipe, shared: Arc<Shared>, first: AnyBox) -> Self {
        Self { name, entry, recipe, shared, first: Mutex::new(Some(first)) }
    }

    /// The next instance.
    pub(crate) fn next<T: 'static>(&self) -> api::Result<T> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let instance = match first {
            Some(first) => first,
            None => {
                let outcome = construct(&self.name, &self.entry, &self.recipe, &self.shared.pool);
                let told = |fault: &Fault| fault.in_one_line(&self.shared.sources);
                outcome.instance.ok_or_else(|| outcome.faults.iter().map(told).collect::<Vec<_>>().join("; "))?
            }
        };
        instance.downcast().map(|instance| *instance).map_err(|_| "made by another type's maker".into())
    }
}
