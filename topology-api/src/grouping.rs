//! Groupings: which tasks of a bolt receive a tuple.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::fields::Fields;
use crate::tasks::TaskId;
use crate::value::Value;

/// How the tuples of a stream are dealt to the tasks of a bolt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Grouping {
    /// Each tuple to the task that has the least outstanding work from the emitting task, at the moment when
    /// the tuple leaves.
    Shuffle,
    /// Tuples with equal values in these fields go to the same task, in every process and release.
    Fields(Fields),
    /// All to the task with the lowest number.
    Global,
    /// Each tuple to each task.
    All,
    /// As shuffle, over the tasks in the same worker if there are any, else over all tasks.
    LocalOrShuffle,
    /// As shuffle.
    None,
    /// The emitter names the task.
    Direct,
    /// As fields, but each key has two tasks and each tuple goes to the one that got less so far.
    PartialKey(Fields),
    /// By user code.
    Custom(CustomGroupingFactory),
}

impl Grouping {
    /// The name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shuffle => "SHUFFLE",
            Self::Fields(_) => "FIELDS",
            Self::Global => "GLOBAL",
            Self::All => "ALL",
            Self::LocalOrShuffle => "LOCAL_OR_SHUFFLE",
            Self::None => "NONE",
            Self::Direct => "DIRECT",
            Self::PartialKey(_) => "PARTIAL_KEY",
            Self::Custom(_) => "CUSTOM",
        }
    }

    /// The fields that it groups by, if any.
    pub fn fields(&self) -> Option<&Fields> {
        match self {
            Self::Fields(fields) | Self::PartialKey(fields) => Some(fields),
            _ => None,
        }
    }
}

impl Grouping {
    /// Whether both deal the tuples of a stream alike: by the same kind, fields and user code.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Custom(one), Self::Custom(other)) => Arc::ptr_eq(&one.make, &other.make),
            _ => self.name() == other.name() && self.fields() == other.fields(),
        }
    }
}

/// The name in YAML, with the fields or the name of the user code.
impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Fields(fields) | Self::PartialKey(fields) => write!(f, " {fields}"),
            Self::Custom(factory) => write!(f, " {}", factory.name()),
            _ => Ok(()),
        }
    }
}

/// What a custom grouping knows when it is made.
#[derive(Clone, Debug)]
pub struct GroupingContext {
    /// The emitting component.
    pub source_component: SmolStr,
    /// The emitting task.
    pub source_task: TaskId,
    /// The stream's fields.
    pub fields: Fields,
    /// The receiving tasks, ascending.
    pub targets: Arc<[TaskId]>,
}

/// A grouping by user code. Each emitting task has its own instance.
pub trait CustomGrouping: Send {
    /// Appends the tasks that receive this row to `chosen`: any of the context's targets, each once
    /// at most; none drops the row. A task that is not a target makes the emitting call fail.
    fn choose(&mut self, values: &[Value], chosen: &mut Vec<TaskId>);
}

type MakeGrouping = dyn Fn(&GroupingContext) -> Box<dyn CustomGrouping> + Send + Sync;

/// Makes the instances of a custom grouping.
#[derive(Clone)]
pub struct CustomGroupingFactory {
    name: SmolStr,
    make: Arc<MakeGrouping>,
}

impl CustomGroupingFactory {
    /// A factory; `name` stands in messages.
    pub fn new<G: CustomGrouping + 'static>(
        name: impl Into<SmolStr>,
        make: impl Fn(&GroupingContext) -> G + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), make: Arc::new(move |context| Box::new(make(context))) }
    }

    /// The grouping's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instance of one emitting task.
    pub fn make(&self, context: &GroupingContext) -> Box<dyn CustomGrouping> {
        (self.make)(context)
    }
}

impl fmt::Debug for CustomGroupingFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomGrouping({})", self.name)
    }
}
