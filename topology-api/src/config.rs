//! Config of topologies and components: Storm's keys where the meaning is Storm's.

mod keys;

use std::collections::BTreeMap;
use std::time::Duration;

use smol_str::SmolStr;

use crate::value::Value;

pub use keys::{ConfigKey, KeyStatus};

/// Settings by key.
///
/// Keys under `topology.` are the runtime's and are checked; all others pass to the components.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopologyConfig(BTreeMap<SmolStr, Value>);

/// What is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConfigProblem {
    /// The key.
    pub key: SmolStr,
    /// What is wrong, and what would be accepted.
    pub message: String,
    /// Whether the topology can run nevertheless.
    pub is_warning: bool,
}

impl TopologyConfig {
    /// No settings: everything at its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key.
    pub fn set(&mut self, key: impl Into<SmolStr>, value: impl Into<Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// Sets a key, in a chain.
    #[must_use]
    pub fn with(mut self, key: impl Into<SmolStr>, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// What a key is set to.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// All settings, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// These settings with `others` on top.
    #[must_use]
    pub fn overridden_by(&self, others: &Self) -> Self {
        let mut settings = self.0.clone();
        settings.extend(others.0.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self(settings)
    }

    /// Everything that is wrong with the keys of the runtime.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        self.iter().filter_map(|(key, value)| keys::problem(key, value)).collect()
    }

    fn count(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::as_i64).and_then(|value| u64::try_from(value).ok())
    }

    /// `topology.workers`: how many processes; 1 unless set.
    pub fn workers(&self) -> usize {
        self.count("topology.workers").map_or(1, |workers| workers.max(1) as usize)
    }

    /// `topology.acker.executors`: whether tuples are tracked; yes unless set to 0.
    pub fn is_tracking(&self) -> bool {
        self.count("topology.acker.executors") != Some(0)
    }

    /// `topology.max.spout.pending`: open trees of a spout task at most; adaptive unless set.
    pub fn max_spout_pending(&self) -> Option<usize> {
        self.count("topology.max.spout.pending").map(|limit| limit as usize)
    }

    /// `topology.message.timeout.secs`, 30 s unless set; `None` when time-outs are switched off by
    /// `topology.enable.message.timeouts: false`.
    pub fn message_timeout(&self) -> Option<Duration> {
        if self.get("topology.enable.message.timeouts").and_then(Value::as_bool) == Some(false) {
            return None;
        }
        Some(self.seconds("topology.message.timeout.secs").unwrap_or(Duration::from_secs(30)))
    }

    /// `topology.tick.tuple.freq.secs`: how often bolts get a tick; never unless set.
    pub fn tick_interval(&self) -> Option<Duration> {
        self.seconds("topology.tick.tuple.freq.secs").filter(|interval| !interval.is_zero())
    }

    fn seconds(&self, key: &str) -> Option<Duration> {
        match self.get(key)? {
            Value::Int(seconds) => u64::try_from(*seconds).ok().map(Duration::from_secs),
            Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }

    /// `topology.debug`: whether every emitted tuple is logged; no unless set.
    pub fn is_debug(&self) -> bool {
        self.get("topology.debug").and_then(Value::as_bool) == Some(true)
    }

    /// `topology.emit.limit`: tuples that one call may emit without awaiting room; 100,000 unless
    /// set.
    pub fn emit_limit(&self) -> usize {
        self.count("topology.emit.limit").map_or(100_000, |limit| limit as usize)
    }

    /// `topology.worker.lanes`: the most threads of a worker for executors that do not block; 128 unless set.
    pub fn worker_lanes(&self) -> usize {
        let lanes = self.count("topology.worker.lanes").filter(|lanes| *lanes > 0);
        lanes.map_or(128, |lanes| usize::try_from(lanes).unwrap_or(usize::MAX))
    }

    /// `topology.worker.buffer.mb`: the memory for rows under way in a worker, in bytes; 64 MiB unless set.
    pub fn worker_buffer(&self) -> u64 {
        self.count("topology.worker.buffer.mb").filter(|size| *size > 0).unwrap_or(64).saturating_mul(1 << 20)
    }

    /// `topology.max.task.parallelism`: the most executors that a component gets.
    pub fn max_task_parallelism(&self) -> Option<u32> {
        self.count("topology.max.task.parallelism").map(|limit| limit.min(u32::MAX.into()) as u32)
    }

    /// `topology.tasks`: how many tasks a component has that does not say so.
    pub fn tasks(&self) -> Option<u32> {
        self.count("topology.tasks").map(|tasks| tasks.min(u32::MAX.into()) as u32)
    }
}

impl FromIterator<(SmolStr, Value)> for TopologyConfig {
    fn from_iter<I: IntoIterator<Item = (SmolStr, Value)>>(settings: I) -> Self {
        Self(settings.into_iter().collect())
    }
}
