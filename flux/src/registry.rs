//! What a topology's file can name: the program's types, and how each is made.

mod entry;
mod info;

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api as api;
use galerna_topology_api::engine::{BatchCell, BoltCell, SpoutCell};
use galerna_topology_api::{
    BatchBolt, Bolt, CustomGrouping, CustomGroupingFactory, GroupingContext, ManualBolt, Spout, WorkerHook,
};
use serde::de::DeserializeOwned;

pub(crate) use entry::{Base, Extras, TypeEntry, Wrap};
pub use entry::{TypeDoc, TypeKind};
pub use info::{PropertyInfo, TypeInfo};

use crate::construct::{AnyBox, Arguments, Given};
use crate::problems::Fault;
use crate::shape::shape;

/// The types that a topology's file can name by `className`.
///
/// All names share one space. The last one of a name wins, so that a program can put a type of its
/// own in the place of a stock one.
///
/// A type is made by its own `Deserialize`: `properties` are its fields by name, `constructorArgs` its
/// fields in the order of their declaration. Serde's `alias`es count as fields of their own there, and
/// a type with `flatten` has no order at all: such types take `properties`. Unknown properties are
/// errors whether or not the type says `deny_unknown_fields`.
///
/// ```
/// use galerna_flux::Registry;
/// # use galerna_topology_api::{Bolt, BoltResult, Emitter, Tuple};
/// # use serde::Deserialize;
/// #[derive(Deserialize)]
/// struct Split { field: String }
/// # impl Bolt for Split {
/// #     async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult { Ok(()) }
/// # }
///
/// let registry = Registry::new().bolt::<Split>("split").alias("com.example.SplitBolt", "split");
/// assert_eq!(registry.types()[0].name, "split");
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    types: BTreeMap<String, Base>,
    extras: BTreeMap<String, Extras>,
    aliases: BTreeMap<String, String>,
}

impl Registry {
    /// Nothing that can be named.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a spout; the file's properties are its fields.
    #[must_use]
    pub fn spout<S: Spout + DeserializeOwned>(self, name: &str) -> Self {
        self.add::<S>(name, spout_wrap::<S>())
    }

    /// Registers a bolt; the file's properties are its fields.
    #[must_use]
    pub fn bolt<B: Bolt + DeserializeOwned>(self, name: &str) -> Self {
        self.add::<B>(name, bolt_wrap::<B>())
    }

    /// Registers a bolt that acks by hand; the file's properties are its fields.
    #[must_use]
    pub fn manual_bolt<B: ManualBolt + DeserializeOwned>(self, name: &str) -> Self {
        self.add::<B>(name, manual_bolt_wrap::<B>())
    }

    /// Registers a bolt that takes many tuples in one call; the properties in the file are its fields.
    #[must_use]
    pub fn batch_bolt<B: BatchBolt + DeserializeOwned>(self, name: &str) -> Self {
        self.add::<B>(name, batch_bolt_wrap::<B>())
    }

    /// Registers a spout that is made from a config of its own type.
    #[must_use]
    pub fn spout_factory<C, S>(self, name: &str, make: impl Fn(C) -> api::Result<S> + Send + Sync + 'static) -> Self
    where
        C: DeserializeOwned + 'static,
        S: Spout,
    {
        self.add_made(name, make, spout_wrap::<S>())
    }

    /// Registers a bolt that is made from a config of its own type.
    #[must_use]
    pub fn bolt_factory<C, B>(self, name: &str, make: impl Fn(C) -> api::Result<B> + Send + Sync + 'static) -> Self
    where
        C: DeserializeOwned + 'static,
        B: Bolt,
    {
        self.add_made(name, make, bolt_wrap::<B>())
    }

    /// Registers a bolt that acks by hand and is made from a config of its own type.
    #[must_use]
    pub fn manual_bolt_factory<C, B>(
        self,
        name: &str,
        make: impl Fn(C) -> api::Result<B> + Send + Sync + 'static,
    ) -> Self
    where
        C: DeserializeOwned + 'static,
        B: ManualBolt,
    {
        self.add_made(name, make, manual_bolt_wrap::<B>())
    }

    /// Registers a bolt that takes many tuples in one call. `make` makes the bolt from a config type.
    #[must_use]
    pub fn batch_bolt_factory<C, B>(
        self,
        name: &str,
        make: impl Fn(C) -> api::Result<B> + Send + Sync + 'static,
    ) -> Self
    where
        C: DeserializeOwned + 'static,
        B: BatchBolt,
    {
        self.add_made(name, make, batch_bolt_wrap::<B>())
    }

    /// Registers what an entry of `components:` can be; others receive it as a
    /// [`Ref<T>`](crate::Ref).
    #[must_use]
    pub fn component<T: DeserializeOwned + Send + Sync + 'static>(self, name: &str) -> Self {
        self.add::<T>(name, component_wrap::<T>())
    }

    /// Registers what an entry of `components:` can be, made from a config of another type.
    #[must_use]
    pub fn component_factory<C, T>(self, name: &str, make: impl Fn(C) -> api::Result<T> + Send + Sync + 'static) -> Self
    where
        C: DeserializeOwned + 'static,
        T: Send + Sync + 'static,
    {
        self.add_made(name, make, component_wrap::<T>())
    }

    /// Registers a custom grouping; each emitting task gets a clone.
    #[must_use]
    pub fn grouping<G>(self, name: &str) -> Self
    where
        G: CustomGrouping + DeserializeOwned + Clone + Sync + 'static,
    {
        self.add::<G>(name, grouping_wrap(|grouping: &G, _| grouping.clone()))
    }

    /// Registers a custom grouping that is made, for each emitting task, from a config and what is
    /// known of the task and its targets. Without config, `C` is a struct without fields.
    #[must_use]
    pub fn grouping_factory<C, G>(
        self,
        name: &str,
        make: impl Fn(&C, &GroupingContext) -> G + Send + Sync + 'static,
    ) -> Self
    where
        C: DeserializeOwned + Send + Sync + 'static,
        G: CustomGrouping + 'static,
    {
        self.add::<C>(name, grouping_wrap(make))
    }

    /// Registers a worker hook.
    #[must_use]
    pub fn worker_hook<H: WorkerHook + DeserializeOwned + 'static>(self, name: &str) -> Self {
        let wrap = |hook: AnyBox| -> Option<Arc<dyn WorkerHook>> { Some(Arc::new(*hook.downcast::<H>().ok()?)) };
        self.add::<H>(name, Wrap::WorkerHook(wrap))
    }

    /// Lets a registered type answer to a second name, as to the name of a Java class.
    #[must_use]
    pub fn alias(mut self, alias: &str, name: &str) -> Self {
        self.aliases.insert(alias.to_owned(), name.to_owned());
        self
    }

    /// Declares a function that makes a `T`, for `factory: name` and its `factoryArgs`.
    ///
    /// A tuple of arguments takes them one by one, a struct by the order of its fields, anything
    /// else takes the only one.
    #[must_use]
    pub fn factory<T, A>(
        mut self,
        type_name: &str,
        name: &str,
        make: impl Fn(A) -> api::Result<T> + Send + Sync + 'static,
    ) -> Self
    where
        T: Send + 'static,
        A: DeserializeOwned,
    {
        let make = move |arguments: Arguments<'_>| -> Result<AnyBox, Fault> {
            let made = make(A::deserialize(arguments)?).map_err(|error| arguments.refused(&error))?;
            Ok(Box::new(made))
        };
        self.extras(type_name).factories.insert(name.to_owned(), Arc::new(make));
        self
    }

    /// Declares a method that `configMethods` can call on a `T`, by name and with `args`; these are
    /// read as those of a [`factory`](Self::factory).
    #[must_use]
    pub fn config_method<T, A>(
        mut self,
        type_name: &str,
        name: &str,
        call: impl Fn(&mut T, A) + Send + Sync + 'static,
    ) -> Self
    where
        T: 'static,
        A: DeserializeOwned,
    {
        let method = move |instance: &mut (dyn std::any::Any + Send), arguments: Arguments<'_>| {
            let given = A::deserialize(arguments)?;
            match instance.downcast_mut() {
                Some(instance) => call(instance, given),
                None => return Err(Fault::unplaced("this method was registered for another Rust type")),
            }
            Ok(())
        };
        self.extras(type_name).methods.insert(name.to_owned(), Arc::new(method));
        self
    }

    /// Says what a type is for, for `galerna types`.
    #[must_use]
    pub fn describe(mut self, name: &str, doc: TypeDoc) -> Self {
        self.extras(name).doc = Some(doc);
        self
    }

    /// Takes in what another registry holds; its types win over those of the same name.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.types.extend(other.types);
        self.aliases.extend(other.aliases);
        for (name, more) in other.extras {
            let extras = self.extras(&name);
            extras.factories.extend(more.factories);
            extras.methods.extend(more.methods);
            extras.doc = more.doc.or(extras.doc);
        }
        self
    }

    fn extras(&mut self, name: &str) -> &mut Extras {
        self.extras.entry(name.to_owned()).or_default()
    }

    fn add<T: DeserializeOwned + Send + 'static>(self, name: &str, wrap: Wrap) -> Self {
        let make = |given: Given<'_>| -> Result<AnyBox, Fault> { Ok(Box::new(T::deserialize(given)?)) };
        self.insert(name, Base { make: Arc::new(make), wrap, shape: shape::<T> })
    }

    fn add_made<C, T>(self, name: &str, make: impl Fn(C) -> api::Result<T> + Send + Sync + 'static, wrap: Wrap) -> Self
    where
        C: DeserializeOwned + 'static,
        T: Send + 'static,
    {
        let make = move |given: Given<'_>| -> Result<AnyBox, Fault> {
            let refused = |error| Fault::unplaced(format!("`{}` cannot be made: {error}", given.name));
            Ok(Box::new(make(C::deserialize(given)?).map_err(refused)?))
        };
        self.insert(name, Base { make: Arc::new(make), wrap, shape: shape::<C> })
    }

    fn insert(mut self, name: &str, base: Base) -> Self {
        self.types.insert(name.to_owned(), base);
        self
    }

    /// The type that answers to a name.
    pub(crate) fn find(&self, name: &str) -> Option<TypeEntry> {
        let name = if self.types.contains_key(name) { name } else { self.aliases.get(name)? };
        let base = self.types.get(name)?.clone();
        let extras = self.extras.get(name).cloned().unwrap_or_default();
        Some(TypeEntry { make: base.make, wrap: base.wrap, factories: extras.factories, methods: extras.methods })
    }

    /// All names of a kind, aliases too.
    pub(crate) fn names(&self, kind: TypeKind) -> Vec<&str> {
        let is_kind = |name: &String| self.types.get(name).is_some_and(|base| base.wrap.kind() == kind);
        let own = self.types.keys().filter(|name| is_kind(name));
        let aliases = self.aliases.iter().filter(|(_, name)| is_kind(name)).map(|(alias, _)| alias);
        own.chain(aliases).map(String::as_str).collect()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.types.keys()).finish()
    }
}

fn spout_wrap<S: Spout>() -> Wrap {
    Wrap::Spout(|making| SpoutCell::factory(move || making.next::<S>()))
}

fn bolt_wrap<B: Bolt>() -> Wrap {
    Wrap::Bolt(|making| BoltCell::auto_factory(move || making.next::<B>()))
}

fn manual_bolt_wrap<B: ManualBolt>() -> Wrap {
    Wrap::Bolt(|making| BoltCell::factory(move || making.next::<B>()))
}

fn batch_bolt_wrap<B: BatchBolt>() -> Wrap {
    Wrap::Bolt(|making| BatchCell::factory(move || making.next::<B>()))
}

fn component_wrap<T: Send + Sync + 'static>() -> Wrap {
    Wrap::Component(|instance| Some(Arc::<T>::from(instance.downcast::<T>().ok()?)))
}

fn grouping_wrap<C, G>(make: impl Fn(&C, &GroupingContext) -> G + Send + Sync + 'static) -> Wrap
where
    C: Send + Sync + 'static,
    G: CustomGrouping + 'static,
{
    let make = Arc::new(make);
    Wrap::Grouping(Arc::new(move |name, instance| {
        let config = *instance.downcast::<C>().ok()?;
        let make = make.clone();
        Some(CustomGroupingFactory::new(name, move |context| make(&config, context)))
    }))
}
