//! The options of the task in a harness: its place among the tasks of its component, and its config.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::engine::TaskPort;
use galerna_topology_api::{
    ComponentInfo, Metrics, Resources, Streams, TaskId, TopologyConfig, TopologyContext, TopologyInfo, Value,
};

/// The place and the config of the task in a harness. The default is the only task of its component, with
/// the default config.
///
/// ```
/// # use galerna_worker::testing::TaskOptions;
/// let second_of_three = TaskOptions::task(1, 3).config("topology.emit.limit", 10);
/// ```
#[derive(Clone, Debug)]
pub struct TaskOptions {
    index: u32,
    count: u32,
    config: TopologyConfig,
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::task(0, 1)
    }
}

impl From<TopologyConfig> for TaskOptions {
    fn from(config: TopologyConfig) -> Self {
        Self { config, ..Self::default() }
    }
}

impl TaskOptions {
    /// Task `index`, from 0, of the `count` tasks of its component.
    ///
    /// # Panics
    /// When `index` is not below `count`.
    pub fn task(index: u32, count: u32) -> Self {
        assert!(index < count, "the index of one of {count} tasks is below {count}, not {index}");
        Self { index, count, config: TopologyConfig::new() }
    }

    /// Sets a config key.
    #[must_use]
    pub fn config(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.set(key, value);
        self
    }

    /// The context of a task of the component `id` with these outputs; `others` holds the other component of the
    /// topology, if any.
    pub(super) fn context(
        self,
        id: &str,
        streams: Streams,
        others: impl IntoIterator<Item = (&'static str, ComponentInfo)>,
        port: Arc<dyn TaskPort>,
    ) -> TopologyContext {
        let mut components: BTreeMap<_, _> = others.into_iter().map(|(id, info)| (id.into(), info)).collect();
        let first: TaskId = components.values().map(|info: &ComponentInfo| info.tasks.end).max().unwrap_or(1);
        components.insert(id.into(), ComponentInfo { tasks: first..first + self.count, streams });
        let topology = TopologyInfo { name: "harness".into(), id: "harness-1".into(), components };
        let (resources, metrics) = (Arc::new(Resources::default()), Metrics::default());
        TopologyContext::new(Arc::new(topology), id, first + self.index, 1, self.config, resources, metrics, port)
    }
}
