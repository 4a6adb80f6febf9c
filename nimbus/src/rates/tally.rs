//! Counts and latencies of the components of a topology, over some time.

use std::collections::BTreeMap;

use galerna_protocol::{HistogramReport, Latency, TopologySpec, WorkerReport};

use crate::stats::component_of;

/// The tallies of a topology's components, by id.
pub(crate) type Tallies = BTreeMap<String, Tally>;

/// Counts of one component: fractions where a difference was spread over several slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) emitted: f64,
    pub(crate) executed: f64,
    pub(crate) acked: f64,
    pub(crate) failed: f64,
    pub(crate) busy_ns: f64,
    pub(crate) blocked_ns: f64,
    /// Whether workers report the time of calls; those of earlier versions do not.
    pub(crate) tells_busy: bool,
    pub(crate) execute: Distribution,
    pub(crate) complete: Distribution,
}

impl Tally {
    fn numbers(&self) -> [f64; 6] {
        [self.emitted, self.executed, self.acked, self.failed, self.busy_ns, self.blocked_ns]
    }

    fn numbers_mut(&mut self) -> [&mut f64; 6] {
        let Self { emitted, executed, acked, failed, busy_ns, blocked_ns, .. } = self;
        [emitted, executed, acked, failed, busy_ns, blocked_ns]
    }

    /// Adds a share of another tally.
    pub(crate) fn add(&mut self, other: &Self, share: f64) {
        for (sum, number) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *sum += number * share;
        }
        self.tells_busy |= other.tells_busy;
        self.execute.add(&other.execute, share);
        self.complete.add(&other.complete, share);
    }

    /// The counts since `before`.
    fn since(&self, before: &Self) -> Self {
        let mut difference = Self { tells_busy: self.tells_busy, ..Self::default() };
        let numbers = self.numbers().into_iter().zip(before.numbers());
        for (number, (now, before)) in difference.numbers_mut().into_iter().zip(numbers) {
            *number = (now - before).max(0.0);
        }
        difference.execute = self.execute.since(&before.execute);
        difference.complete = self.complete.since(&before.complete);
        difference
    }
}

/// The counts of a worker since the start.
pub(super) fn tallies(spec: &TopologySpec, worker: &WorkerReport) -> Tallies {
    let mut tallies = Tallies::new();
    for task in &worker.tasks {
        let Some(component) = component_of(spec, task.task) else { continue };
        let tally = tallies.entry(component.id.clone()).or_default();
        tally.emitted += task.emitted as f64;
        tally.executed += task.executed as f64;
        tally.acked += task.acked as f64;
        tally.failed += task.failed as f64;
        tally.busy_ns += task.busy_ns as f64;
        tally.blocked_ns += task.blocked_ns as f64;
        tally.tells_busy |= worker.uptime_ms > 0;
    }
    for latency in &worker.latencies {
        let Some(tally) = tallies.get_mut(&latency.component) else { continue };
        tally.execute.record(latency.execute.as_ref());
        tally.complete.record(latency.complete.as_ref());
    }
    tallies
}

/// The counts between two reports of a launch.
pub(super) fn difference(now: &Tallies, before: &Tallies) -> Tallies {
    let none = Tally::default();
    now.iter().map(|(id, tally)| (id.clone(), tally.since(before.get(id).unwrap_or(&none)))).collect()
}

/// A distribution of times to about 2 %, in few bytes: 32 steps from each power of two to the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Distribution(BTreeMap<u16, f64>);

/// Significant bits of a value behind the leading bit.
const BITS: u32 = 5;

impl Distribution {
    fn record(&mut self, report: Option<&HistogramReport>) {
        let Some(report) = report else { return };
        for (value, count) in report.values.iter().zip(&report.counts) {
            *self.0.entry(step_of(*value)).or_default() += *count as f64;
        }
    }

    fn add(&mut self, other: &Self, share: f64) {
        for (step, count) in &other.0 {
            *self.0.entry(*step).or_default() += count * share;
        }
    }

    fn since(&self, before: &Self) -> Self {
        let counts = self.0.iter().map(|(step, count)| (*step, count - before.0.get(step).unwrap_or(&0.0)));
        Self(counts.filter(|(_, count)| *count > 0.0).collect())
    }

    fn quantile(&self, share: f64) -> f64 {
        let wanted = self.0.values().sum::<f64>() * share;
        let mut seen = 0.0;
        for (step, count) in &self.0 {
            seen += count;
            if seen >= wanted {
                return middle_of(*step);
            }
        }
        self.0.last_key_value().map_or(0.0, |(step, _)| middle_of(*step))
    }

    /// In microseconds; nothing if there are no times.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let micros = |share| self.quantile(share) / 1000.0;
        (!self.0.is_empty()).then(|| Latency { p50: micros(0.5), p99: micros(0.99), max: micros(1.0) })
    }
}

fn step_of(value: u64) -> u16 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    // At most 58 shifts of 32 steps each, plus a number below 64.
    ((shift << BITS) as u64 + (value >> shift)) as u16
}

fn middle_of(step: u16) -> f64 {
    let shift = (u32::from(step) >> BITS).saturating_sub(1);
    let low = (u64::from(step) - u64::from(shift << BITS)) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_wide_as_two_percent_of_their_values_and_grow_with_them() {
        let mut last = 0;
        for value in (0..200).chain([1_000, 12_345, 1_000_000, 987_654_321, 3_600_000_000_000, u64::MAX]) {
            let step = step_of(value);
            assert!(step >= last, "{value}");
            last = step;
            let middle = middle_of(step);
            assert!((middle - value as f64).abs() <= value as f64 * 0.02, "{value} became {middle}");
        }
    }

    #[test]
    fn differences_of_distributions_have_only_what_came_since() {
        let report = |values: &[u64], counts: &[u64]| HistogramReport { values: values.into(), counts: counts.into() };
        let (mut before, mut now) = (Distribution::default(), Distribution::default());
        before.record(Some(&report(&[1_000_000], &[1_000])));
        now.record(Some(&report(&[5_000, 1_000_000], &[10, 1_000])));
        let latency = now.since(&before).latency().expect("ten times are new");
        assert!((4.9..5.1).contains(&latency.p50) && latency.p99 == latency.p50, "{latency:?}");
        assert_eq!(now.since(&now.clone()).latency(), None);
    }
}
