//! What the tests of single components drive them with: one task, no engine, a clock of its own.

mod bolt_test;
mod port;
mod spout_test;

use std::sync::Arc;

use galerna_topology_api::engine::TaskPort;
use galerna_topology_api::{ComponentInfo, Metrics, Streams, TopologyConfig, TopologyContext, TopologyInfo};
use serde::de::DeserializeOwned;

pub(crate) use bolt_test::BoltTest;
pub(crate) use port::TestPort;
pub(crate) use spout_test::SpoutTest;

/// A component with these properties.
pub(crate) fn from_yaml<T: DeserializeOwned>(properties: &str) -> T {
    serde_yaml::from_str(properties).unwrap()
}

/// Why a component cannot have these properties.
pub(crate) fn refusal<T: DeserializeOwned>(properties: &str) -> String {
    serde_yaml::from_str::<T>(properties).err().expect("the properties are refused").to_string()
}

/// The context of one of so many tasks of a component.
fn context(task: u32, tasks: u32, streams: Streams, port: Arc<dyn TaskPort>) -> TopologyContext {
    let component = ComponentInfo { tasks: 1..1 + tasks, streams };
    let topology = Arc::new(TopologyInfo {
        name: "test".into(),
        id: "test-1".into(),
        components: [("it".into(), component)].into_iter().collect(),
    });
    let (config, metrics) = (TopologyConfig::new(), Metrics::default());
    TopologyContext::new(topology, "it", 1 + task, 1, config, Arc::default(), metrics, port)
}
