//! Distributions of times, in fixed buckets.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The upper bounds of the buckets, in nanoseconds: from 10 µs to a minute.
const BOUNDS: [u64; 21] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// How times are distributed: how many there are, of which length about, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// How many are within each bound, and not within the one before; then those beyond the last.
    counts: [u64; BOUNDS.len() + 1],
    nanoseconds: u128,
}

impl Distribution {
    /// Notes a time.
    pub fn note(&mut self, time: Duration) {
        self.note_many(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    /// Notes so many of a time in nanoseconds.
    pub fn note_many(&mut self, nanoseconds: u64, count: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < nanoseconds);
        self.counts[bucket] += count;
        self.nanoseconds += u128::from(nanoseconds) * u128::from(count);
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum, in seconds.
    pub fn sum(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }

    /// The upper bound of each bucket in seconds, and how many are in this bucket alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        // Whole numbers are divided, so that 2.5 ms are 0.0025 and nothing else.
        let bounds = BOUNDS.iter().map(|bound| *bound as f64 / 1e9).chain([f64::INFINITY]);
        bounds.zip(self.counts)
    }
}

/// Distributions of times by the values of some labels, of which there are few.
#[derive(Debug, Default)]
pub struct Timings<const LABELS: usize>(Mutex<BTreeMap<[&'static str; LABELS], Distribution>>);

impl<const LABELS: usize> Timings<LABELS> {
    /// Notes a time.
    pub fn note(&self, labels: [&'static str; LABELS], time: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(labels).or_default().note(time);
    }

    /// What has come together up to now.
    pub fn all(&self) -> BTreeMap<[&'static str; LABELS], Distribution> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_it_is_within() {
        let mut distribution = Distribution::default();
        distribution.note_many(10_000, 2);
        distribution.note_many(10_001, 3);
        distribution.note(Duration::from_secs(61));
        let filled: Vec<_> = distribution.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.000_01, 2), (0.000_025, 3), (f64::INFINITY, 1)]);
        assert_eq!((distribution.count(), distribution.sum()), (6, 61.000_050_003));
        assert!(BOUNDS.is_sorted());
    }
}
