//! Finds types in the registry and makes what the file names by them.

use std::collections::BTreeSet;
use std::sync::Arc;

use galerna_topology_api as api;
use galerna_topology_api::engine::{BoltCell, BoltFactory, SpoutCell, SpoutFactory};
use galerna_topology_api::{
    Bolt, BoltResult, CustomGroupingFactory, Emitter, Next, Spout, SpoutEmitter, Streams, Tuple, WorkerHook,
};

use crate::construct::{AnyBox, Making, Pool, Shared, construct};
use crate::definition::{Object, Recipe};
use crate::node::{Kind, Node, Text};
use crate::problems::{Fault, Problems, did_you_mean, shown};
use crate::registry::{Registry, TypeEntry, TypeKind, Wrap};
use crate::resolved::PathUse;

/// Makes things, and notes what is wrong with their definitions.
pub(super) struct Makers<'a> {
    pub(super) registry: &'a Registry,
    pub(super) shared: Arc<Shared>,
    pub(super) problems: &'a mut Problems,
    /// What was read as paths.
    pub(super) paths: BTreeSet<PathUse>,
}

/// The entries of `components:`, none of them made yet.
pub(crate) fn pool(components: &[Object], registry: &Registry, problems: &mut Problems) -> Pool {
    let mut pool = Pool::default();
    for object in components {
        let class = find(object, TypeKind::Component, registry, problems);
        let Some(id) = &object.id else { continue };
        if pool.contains(&id.text) {
            problems.error(id.at, format!("a second component with the id `{}`", shown(&id.text)));
        }
        pool.add(id.text.clone(), class, object.recipe.clone());
    }
    pool
}

/// The type that an object names, if it is one of the kind that its place takes.
fn find(
    object: &Object,
    kind: TypeKind,
    registry: &Registry,
    problems: &mut Problems,
) -> Option<(String, Arc<TypeEntry>)> {
    let Text { text: name, at } = object.class.as_ref()?;
    let Some(entry) = registry.find(name) else {
        let known = registry.names(kind);
        let near = did_you_mean(name, known.iter().copied());
        let fault = Fault::new(*at, format!("no {kind} type `{}` is registered{near}", shown(name)));
        problems.fault(fault.help("`types` on the command line lists what this program registers"));
        return None;
    };
    let found = entry.wrap.kind();
    if found != kind {
        problems.error(*at, format!("`{}` is a {found} type, expected a {kind} type", shown(name)));
        return None;
    }
    Some((name.clone(), Arc::new(entry)))
}

impl Makers<'_> {
    /// Makes all entries of `components:`.
    pub(super) fn make_components(&mut self) {
        self.shared.pool.make_all();
        self.paths.extend(self.shared.pool.take_paths());
        self.shared.pool.take_faults().into_iter().for_each(|fault| self.problems.fault(fault));
    }

    pub(super) fn spout(&mut self, object: &Object) -> Option<SpoutFactory> {
        let (entry, making) = self.making(object, TypeKind::Spout)?;
        match &entry.wrap {
            Wrap::Spout(wrap) => Some(wrap(making)),
            _ => None,
        }
    }

    pub(super) fn bolt(&mut self, object: &Object) -> Option<BoltFactory> {
        let (entry, making) = self.making(object, TypeKind::Bolt)?;
        match &entry.wrap {
            Wrap::Bolt(wrap) => Some(wrap(making)),
            _ => None,
        }
    }

    pub(super) fn grouping(&mut self, object: &Object) -> Option<CustomGroupingFactory> {
        let (name, entry, instance) = self.instance(object, TypeKind::Grouping)?;
        match &entry.wrap {
            Wrap::Grouping(wrap) => self.of_its_type(object, wrap(&name, instance)),
            _ => None,
        }
    }

    pub(super) fn hook(&mut self, object: &Object) -> Option<Arc<dyn WorkerHook>> {
        let (_, entry, instance) = self.instance(object, TypeKind::WorkerHook)?;
        match &entry.wrap {
            Wrap::WorkerHook(wrap) => self.of_its_type(object, wrap(instance)),
            _ => None,
        }
    }

    fn making(&mut self, object: &Object, kind: TypeKind) -> Option<(Arc<TypeEntry>, Making)> {
        let (name, entry, first) = self.instance(object, kind)?;
        let making = Making::new(name, entry.clone(), object.recipe.clone(), self.shared.clone(), first);
        Some((entry, making))
    }

    /// A factory registered for the wrong name makes something of another Rust type.
    fn of_its_type<T>(&mut self, object: &Object, made: Option<T>) -> Option<T> {
        if made.is_none() {
            self.problems.error(object.recipe.at, "its factory makes something of another Rust type");
        }
        made
    }

    /// Makes an object once.
    fn instance(&mut self, object: &Object, kind: TypeKind) -> Option<(String, Arc<TypeEntry>, AnyBox)> {
        let class = find(object, kind, self.registry, self.problems);
        let is_known = self.check_references(&object.recipe);
        let (name, entry) = class.filter(|_| is_known && !object.recipe.is_broken)?;
        let outcome = construct(&name, &entry, &object.recipe, &self.shared.pool);
        outcome.faults.into_iter().for_each(|fault| self.problems.fault(fault));
        self.paths.extend(outcome.paths);
        outcome.instance.map(|instance| (name, entry, instance))
    }

    /// Whether everything that is referred to is there, also where nobody asks for it.
    fn check_references(&mut self, recipe: &Recipe) -> bool {
        let calls = recipe.methods.iter().chain(&recipe.factory).flat_map(|call| &call.arguments);
        let values = recipe.properties.iter().map(|entry| &entry.value);
        let nodes: Vec<&Node> = recipe.arguments.iter().chain(values).chain(calls).collect();
        let mut is_known = true;
        for node in nodes {
            let items = match &node.kind {
                Kind::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            for node in items {
                match &node.kind {
                    Kind::Ref(id) if !self.shared.pool.contains(id) => {
                        self.problems.fault(self.shared.pool.unknown(id, node.at));
                        is_known = false;
                    }
                    _ => {}
                }
            }
        }
        is_known
    }
}

/// Stands in for a component that could not be made, so that the rest is checked all the same.
pub(super) struct Placeholder;

impl Placeholder {
    pub(super) fn spout() -> SpoutFactory {
        SpoutCell::factory(|| Ok(Self))
    }

    pub(super) fn bolt() -> BoltFactory {
        BoltCell::auto_factory(|| Ok(Self))
    }
}

impl Spout for Placeholder {
    type MessageId = ();

    fn output(&self) -> Streams {
        Streams::none()
    }

    async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> api::Result<Next> {
        Ok(Next::Exhausted)
    }
}

impl Bolt for Placeholder {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}
