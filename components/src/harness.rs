//! Shared by the unit tests of all components: puts a component, made from properties as in YAML, into the
//! worker's test kit.

use galerna_topology_api::engine::{BoltCell, SpoutCell};
use galerna_topology_api::{Bolt, Fields, ManualBolt, Result, Spout};
use galerna_worker::testing::{BoltHarness, SpoutHarness, TaskOptions};
use serde::de::DeserializeOwned;

/// A component with these properties.
pub(crate) fn from_yaml<T: DeserializeOwned>(properties: &str) -> T {
    serde_yaml::from_str(properties).unwrap()
}

/// The error for properties that a component must refuse.
pub(crate) fn refusal<T: DeserializeOwned>(properties: &str) -> String {
    serde_yaml::from_str::<T>(properties).err().expect("the properties are refused").to_string()
}

/// The only task of a bolt with these properties, whose input has these fields.
pub(crate) async fn bolt<B: Bolt + DeserializeOwned>(properties: &str, fields: impl Into<Fields>) -> BoltHarness {
    let properties = properties.to_owned();
    BoltHarness::new(fields, move || from_yaml::<B>(&properties)).await.unwrap()
}

/// The first of `tasks` tasks of a bolt that acks by hand.
pub(crate) async fn manual_bolt<B: ManualBolt + DeserializeOwned>(
    properties: &str,
    fields: impl Into<Fields>,
    tasks: u32,
) -> Result<BoltHarness> {
    let properties = properties.to_owned();
    let factory = BoltCell::factory(move || Ok(from_yaml::<B>(&properties)));
    BoltHarness::of(&factory, fields, TaskOptions::task(0, tasks)).await
}

/// The only task of a spout with these properties.
pub(crate) async fn spout<S: Spout + DeserializeOwned>(properties: &str) -> SpoutHarness {
    spout_task::<S>(properties, 0, 1).await.unwrap()
}

/// Task `index` of the `count` tasks of a spout with these properties.
pub(crate) async fn spout_task<S: Spout + DeserializeOwned>(
    properties: &str,
    index: u32,
    count: u32,
) -> Result<SpoutHarness> {
    let properties = properties.to_owned();
    let factory = SpoutCell::factory(move || Ok(from_yaml::<S>(&properties)));
    SpoutHarness::of(&factory, TaskOptions::task(index, count)).await
}

/// The first field of each row, as text.
pub(crate) fn texts(harness: &SpoutHarness) -> Vec<&str> {
    harness.rows().into_iter().map(|row| row[0].as_str().unwrap()).collect()
}
