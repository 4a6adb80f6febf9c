//! How a topology stands, as `describe --output json` says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[derive(Clone, Debug)]
pub(crate) struct State(pub(crate) Value);

impl State {
    pub(crate) fn status(&self) -> &str {
        self.0["status"].as_str().unwrap_or_default()
    }

    fn workers(&self) -> impl Iterator<Item = &Value> {
        self.0["workers"].as_array().into_iter().flatten()
    }

    fn components(&self) -> impl Iterator<Item = &Value> {
        self.0["components"].as_array().into_iter().flatten()
    }

    /// A count of a component: `emitted`, `executed`, `acked`, …
    pub(crate) fn count(&self, component: &str, of: &str) -> u64 {
        let component = self.components().find(|candidate| candidate["id"] == component);
        component.and_then(|component| component[of].as_u64()).unwrap_or_default()
    }

    /// The supervisors that run something of it.
    pub(crate) fn supervisors(&self) -> BTreeSet<&str> {
        self.workers().filter_map(|worker| worker["supervisor"].as_str()).collect()
    }

    /// By its supervisor and slot, what changes when a worker is launched again.
    pub(crate) fn launches(&self) -> BTreeMap<String, u64> {
        let place = |worker: &Value| format!("{}:{}", worker["supervisor"], worker["slot"]);
        self.workers().filter_map(|worker| Some((place(worker), worker["incarnation"].as_u64()?))).collect()
    }

    /// Why not all tasks run, if they do not.
    pub(crate) fn what_is_missing(&self) -> Result<(), String> {
        let sum = |values: &mut dyn Iterator<Item = &Value>| -> u64 {
            values.filter_map(|value| value["tasks"].as_u64()).sum()
        };
        let expected = sum(&mut self.components());
        let running = sum(&mut self.workers().filter(|worker| worker["pid"] != 0));
        let is_whole = self.status() == "ACTIVE" && expected > 0 && running >= expected;
        if is_whole { Ok(()) } else { Err(format!("{running} of {expected} tasks run: {}", self.0)) }
    }

    /// Whether its input has ended, and everything of it.
    pub(crate) fn is_finished(&self) -> Result<(), String> {
        if self.status() == "FINISHED" { Ok(()) } else { Err(self.0.to_string()) }
    }
}
