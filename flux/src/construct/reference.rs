//! [`Ref`]: a field of a component's config that receives an entry of `components:`.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The name by which a `Ref` makes itself known to the deserializer of a topology's file.
pub(crate) const REF: &str = "$galerna::Ref";

/// A component of the worker, made once from an entry of `components:` and shared by all tasks.
///
/// As a field of a config it is written `{name: pool, ref: my-pool}` among the properties, or
/// `pool: {ref: my-pool}`; a `Vec<Ref<T>>` takes `reflist: [a, b]`. Not inside of parts that serde
/// buffers (`flatten`, `untagged`).
///
/// ```
/// # use galerna_flux::Ref;
/// #[derive(serde::Deserialize)]
/// struct Lookup { pool: Ref<Pool> }
///
/// #[derive(serde::Deserialize)]
/// struct Pool { connections: usize }
///
/// impl Lookup {
///     fn connections(&self) -> usize { self.pool.connections }
/// }
/// # let lookup = Lookup { pool: Ref::new(Pool { connections: 3 }) };
/// # assert_eq!(lookup.connections(), 3);
/// ```
pub struct Ref<T>(Arc<T>);

impl<T> Ref<T> {
    /// A reference made in Rust, for tests and topologies without a file.
    pub fn new(component: impl Into<Arc<T>>) -> Self {
        Self(component.into())
    }

    /// The shared component.
    pub fn into_arc(self) -> Arc<T> {
        self.0
    }
}

impl<T> Deref for Ref<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A component on its way to the `Ref` that asked for it, and the name of its type for messages.
#[derive(Clone)]
pub(crate) struct Shareable {
    pub(crate) component: Arc<dyn Any + Send + Sync>,
    pub(crate) type_name: String,
}

thread_local! {
    // serde has no way to carry an `Arc<dyn Any>`; it is left here while the visitor runs.
    static HANDED_OVER: RefCell<Option<Shareable>> = const { RefCell::new(None) };
}

pub(super) fn hand_over<T>(component: Shareable, visit: impl FnOnce() -> T) -> T {
    HANDED_OVER.with_borrow_mut(|slot| *slot = Some(component));
    let visited = visit();
    HANDED_OVER.with_borrow_mut(|slot| *slot = None);
    visited
}

impl<'de, T: Send + Sync + 'static> Deserialize<'de> for Ref<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(REF, Receiver(PhantomData))
    }
}

struct Receiver<T>(PhantomData<T>);

impl<'de, T: Send + Sync + 'static> Visitor<'de> for Receiver<T> {
    type Value = Ref<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reference to an entry of `components:`")
    }

    fn visit_unit<E: Error>(self) -> Result<Ref<T>, E> {
        let handed_over = HANDED_OVER.with_borrow_mut(Option::take);
        let Some(Shareable { component, type_name }) = handed_over else {
            return Err(E::custom("a reference can only be read from a topology's file"));
        };
        component.downcast().map(Ref).map_err(|_| {
            let expected = std::any::type_name::<T>();
            E::custom(format!("this refers to a `{type_name}`, expected a component of Rust type `{expected}`"))
        })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, _: D) -> Result<Ref<T>, D::Error> {
        Err(D::Error::custom("a reference cannot stand in a part that serde buffers, as `flatten` does"))
    }
}
