//! What the registry keeps of a type.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use galerna_topology_api::engine::{BoltFactory, SpoutFactory};
use galerna_topology_api::{CustomGroupingFactory, WorkerHook};
use serde::Serialize;

use crate::construct::{AnyBox, Arguments, Given, Making};
use crate::problems::Fault;
use crate::shape::Shape;

/// What a type can be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypeKind {
    /// An entry of `spouts:`.
    Spout,
    /// An entry of `bolts:`.
    Bolt,
    /// An entry of `components:`.
    Component,
    /// The `customClass` of a grouping.
    Grouping,
    /// An entry of `workerHooks:`.
    WorkerHook,
}

impl fmt::Display for TypeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spout => "spout",
            Self::Bolt => "bolt",
            Self::Component => "component",
            Self::Grouping => "grouping",
            Self::WorkerHook => "worker hook",
        })
    }
}

/// What a type is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeDoc {
    /// In a line or two.
    pub summary: &'static str,
    /// How it is written in a topology's file.
    pub yaml_example: &'static str,
}

pub(crate) type Maker = Arc<dyn Fn(Given<'_>) -> Result<AnyBox, Fault> + Send + Sync>;
pub(crate) type ArgumentsMaker = Arc<dyn Fn(Arguments<'_>) -> Result<AnyBox, Fault> + Send + Sync>;
pub(crate) type Method = Arc<dyn Fn(&mut (dyn Any + Send), Arguments<'_>) -> Result<(), Fault> + Send + Sync>;
pub(crate) type GroupingWrap = Arc<dyn Fn(&str, AnyBox) -> Option<CustomGroupingFactory> + Send + Sync>;

/// What an instance becomes. `None` where it is of another Rust type, as a factory registered for
/// the wrong name makes it.
#[derive(Clone)]
pub(crate) enum Wrap {
    Spout(fn(Making) -> SpoutFactory),
    Bolt(fn(Making) -> BoltFactory),
    Component(fn(AnyBox) -> Option<Arc<dyn Any + Send + Sync>>),
    Grouping(GroupingWrap),
    WorkerHook(fn(AnyBox) -> Option<Arc<dyn WorkerHook>>),
}

impl Wrap {
    pub(crate) fn kind(&self) -> TypeKind {
        match self {
            Self::Spout(_) => TypeKind::Spout,
            Self::Bolt(_) => TypeKind::Bolt,
            Self::Component(_) => TypeKind::Component,
            Self::Grouping(_) => TypeKind::Grouping,
            Self::WorkerHook(_) => TypeKind::WorkerHook,
        }
    }
}

/// A type as it was registered.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) make: Maker,
    pub(crate) wrap: Wrap,
    pub(crate) shape: fn() -> Shape,
}

/// What was said of a type besides.
#[derive(Clone, Default)]
pub(crate) struct Extras {
    pub(crate) factories: BTreeMap<String, ArgumentsMaker>,
    pub(crate) methods: BTreeMap<String, Method>,
    pub(crate) doc: Option<TypeDoc>,
}

/// A type with all that is needed to make it.
#[derive(Clone)]
pub(crate) struct TypeEntry {
    pub(crate) make: Maker,
    pub(crate) wrap: Wrap,
    pub(crate) factories: BTreeMap<String, ArgumentsMaker>,
    pub(crate) methods: BTreeMap<String, Method>,
}
