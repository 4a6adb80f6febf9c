//! Emitting so many tuples a second.

use std::time::Duration;

use galerna_topology_api::TopologyContext;

/// Says how many tuples are due. What was missed is made up for, but never more than a second's
/// worth: a spout that stood still for an hour does not flood the topology.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Tuples a second of this task; as fast as can be if none is given.
    rate: Option<f64>,
    /// When the tuple of number 0 was due.
    start: Duration,
    emitted: u64,
}

impl Pace {
    /// The share of this task in a rate for the whole component, from now on.
    pub(crate) fn new(rate: Option<f64>, context: &TopologyContext) -> Self {
        let rate = rate.map(|rate| rate / f64::from(context.task_count().max(1)));
        Self { rate, start: context.elapsed(), emitted: 0 }
    }

    /// How many tuples are due now.
    pub(crate) fn due(&mut self, context: &TopologyContext) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let now = context.elapsed();
        let due = self.due_at(now, rate);
        let most = rate.ceil().max(1.0) as u64;
        if due > most {
            (self.start, self.emitted) = (now, 0);
            return 1;
        }
        due
    }

    fn due_at(&self, now: Duration, rate: f64) -> u64 {
        let all = ((now - self.start).as_secs_f64() * rate) as u64 + 1;
        all.saturating_sub(self.emitted)
    }

    /// Notes that so many were emitted.
    pub(crate) fn emitted(&mut self, count: u64) {
        self.emitted += count;
    }

    /// How long until the next one is due.
    pub(crate) fn wait(&self, context: &TopologyContext) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let due = self.start + Duration::try_from_secs_f64(self.emitted as f64 / rate).unwrap_or(Duration::MAX / 2);
        // A millisecond on top, so that it is due for certain when this has passed.
        due.saturating_sub(context.elapsed()) + Duration::from_millis(1)
    }
}

/// Reads a rate: more than nothing, in tuples a second.
pub(crate) fn rate<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let rate: Option<f64> = serde::Deserialize::deserialize(deserializer)?;
    match rate {
        Some(rate) if !(rate.is_finite() && rate > 0.0) => {
            Err(serde::de::Error::custom(format!("a rate of {rate} is not one; write tuples a second, above 0")))
        }
        rate => Ok(rate),
    }
}
