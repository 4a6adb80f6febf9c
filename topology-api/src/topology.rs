//! A validated graph of components.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::config::TopologyConfig;
use crate::context::{ComponentInfo, TopologyInfo};
use crate::engine::{BoltFactory, SpoutFactory};
use crate::fields::Streams;
use crate::grouping::Grouping;
use crate::hooks::WorkerHook;
use crate::tasks::TaskId;
use crate::validate::Problem;

/// A graph of spouts and bolts that was found valid. Made by a
/// [`TopologyBuilder`](crate::TopologyBuilder) or from YAML.
#[derive(Clone)]
pub struct Topology {
    pub(crate) name: SmolStr,
    pub(crate) config: TopologyConfig,
    pub(crate) components: Vec<Component>,
    pub(crate) worker_hooks: Vec<Arc<dyn WorkerHook>>,
    pub(crate) warnings: Vec<Problem>,
}

/// A spout or a bolt of a topology.
#[derive(Clone)]
pub struct Component {
    /// Its id, unique in the topology.
    pub id: SmolStr,
    /// What makes its tasks.
    pub kind: ComponentKind,
    /// The name of its type, where it was made by name.
    pub type_name: Option<SmolStr>,
    /// How many executors run it.
    pub executors: u32,
    /// Its tasks.
    pub tasks: Range<TaskId>,
    /// Whether each executor has its own thread.
    pub is_blocking: bool,
    /// Its own config, over the topology's.
    pub config: TopologyConfig,
    /// The streams that it declares.
    pub output: Streams,
    /// What it receives; nothing for a spout.
    pub inputs: Vec<Input>,
    /// What it asks of a node, for the scheduler.
    pub load: ResourceLoad,
}

/// What one task of a component asks of the node that it runs on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ResourceLoad {
    /// Points of CPU; 100 are a core.
    pub cpu: Option<f64>,
    /// Mebibytes of memory.
    pub memory_mb: Option<f64>,
}

/// What makes a component's tasks.
#[derive(Clone)]
pub enum ComponentKind {
    /// It is a source.
    Spout(SpoutFactory),
    /// It is a step.
    Bolt(BoltFactory),
}

/// One stream that a bolt receives.
#[derive(Clone, Debug)]
pub struct Input {
    /// The emitting component.
    pub from: SmolStr,
    /// Its stream.
    pub stream: SmolStr,
    /// How tuples are dealt to the bolt's tasks.
    pub grouping: Grouping,
}

impl Topology {
    /// The topology's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topology's config.
    pub fn config(&self) -> &TopologyConfig {
        &self.config
    }

    /// The topology's config, to override settings at launch.
    pub fn config_mut(&mut self) -> &mut TopologyConfig {
        &mut self.config
    }

    /// All components, in the order of their definition.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The component of this id.
    pub fn component(&self, id: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.id == id)
    }

    /// What may not be meant as it is declared, in the order of declaration.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The hooks of its workers.
    pub fn worker_hooks(&self) -> &[Arc<dyn WorkerHook>] {
        &self.worker_hooks
    }

    /// The config that a component's tasks see.
    pub fn config_of(&self, component: &Component) -> TopologyConfig {
        self.config.overridden_by(&component.config)
    }

    /// Has another spout stand in for the spout of this id, as tests do. Its streams stay as
    /// declared by the original. Answers whether there is such a spout.
    pub fn replace_spout(&mut self, id: &str, factory: SpoutFactory) -> bool {
        let is_spout =
            |component: &&mut Component| component.id == id && matches!(component.kind, ComponentKind::Spout(_));
        match self.components.iter_mut().find(is_spout) {
            Some(component) => {
                component.kind = ComponentKind::Spout(factory);
                true
            }
            None => false,
        }
    }

    /// What all tasks know about the topology.
    pub fn info(&self, id: impl Into<SmolStr>) -> TopologyInfo {
        let components = self.components.iter().map(|component| {
            (component.id.clone(), ComponentInfo { tasks: component.tasks.clone(), streams: component.output.clone() })
        });
        TopologyInfo { name: self.name.clone(), id: id.into(), components: components.collect() }
    }
}

impl Input {
    /// Whether both are the same stream of the same component.
    pub(crate) fn is_same_stream(&self, other: &Self) -> bool {
        self.from == other.from && self.stream == other.stream
    }
}

impl Component {
    /// Whether it is a spout.
    pub fn is_spout(&self) -> bool {
        matches!(self.kind, ComponentKind::Spout(_))
    }

    /// `spout` or `bolt`.
    pub fn kind_name(&self) -> &'static str {
        if self.is_spout() { "spout" } else { "bolt" }
    }

    /// How many tasks it has.
    pub fn task_count(&self) -> u32 {
        self.tasks.end - self.tasks.start
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.components.iter().map(|component| component.id.as_str()).collect();
        f.debug_struct("Topology").field("name", &self.name).field("components", &ids).finish()
    }
}
