//! What came within a window of time, as in Storm's rolling count: slots that end with each tick.

use std::collections::VecDeque;
use std::time::Duration;

use galerna_topology_api::Value;

use crate::bolts::key::KeyMap;

/// How often each key came, by the ticks between which it came.
pub(super) struct Window {
    length: Duration,
    /// What came since the last tick.
    current: KeyMap<i64>,
    /// What came before, with the time of the tick that ended it, oldest first.
    past: VecDeque<(Duration, KeyMap<i64>)>,
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, current: KeyMap::default(), past: VecDeque::new() }
    }

    pub(super) fn add(&mut self, key: Value) {
        *self.current.entry(key).or_default() += 1;
    }

    /// At a tick: what has left the window.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<(Value, i64)> {
        self.past.push_back((now, std::mem::take(&mut self.current)));
        let gone = self.past.partition_point(|(end, _)| *end + self.length <= now);
        self.past.drain(..gone).flat_map(|(_, slot)| slot).collect()
    }
}
