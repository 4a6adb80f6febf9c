//! Counters, gauges and histograms that components keep by name.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hdrhistogram::Histogram as Hdr;
use smol_str::SmolStr;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
    /// What it has come to.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
    /// What it was set to last; 0 before.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// A distribution of whole numbers, to 1 % of their value.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Mutex<Hdr<u64>>>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Hdr::new(2).unwrap_or_else(|_| unreachable!("two digits are within bounds")))))
    }
}

impl Histogram {
    fn lock(&self) -> MutexGuard<'_, Hdr<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a value.
    pub fn record(&self, value: u64) {
        self.record_many(value, 1);
    }

    /// Notes a value several times.
    pub fn record_many(&self, value: u64, count: u64) {
        // It resizes automatically, so that recording cannot fail for want of range.
        let _ = self.lock().record_n(value, count);
    }

    /// Notes many values at once.
    pub fn record_all(&self, values: impl IntoIterator<Item = u64>) {
        let mut histogram = self.lock();
        for value in values {
            let _ = histogram.record(value);
        }
    }

    /// How many values were noted.
    pub fn count(&self) -> u64 {
        self.lock().len()
    }

    /// The value below which this share (0 to 1) of the noted values lies; 0 when there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        self.lock().value_at_quantile(share)
    }

    /// The largest value noted.
    pub fn max(&self) -> u64 {
        self.lock().max()
    }

    /// All values that were noted, ascending, each with how often: as exact as the histogram is.
    pub fn recorded(&self) -> Vec<(u64, u64)> {
        self.lock().iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
    }

    /// Adds all that another histogram noted.
    pub fn merge(&self, other: &Self) {
        if !Arc::ptr_eq(&self.0, &other.0) {
            let other = other.lock().clone();
            // Both resize automatically, so that adding cannot fail for want of range.
            let _ = self.lock().add(other);
        }
    }
}

/// The most metrics of one task, of all kinds together.
pub const MOST_METRICS: usize = 100;

/// The longest name of a metric, in characters.
const LONGEST_NAME: usize = 100;

/// The metrics of one task, by name. Cheap to clone.
///
/// A task has at most [`MOST_METRICS`]. What goes beyond, or has an empty name or one of more than 100 characters,
/// works but is shown nowhere, and the task lists one error.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Named>>);

#[derive(Debug, Default)]
struct Named {
    counters: BTreeMap<SmolStr, Counter>,
    gauges: BTreeMap<SmolStr, Gauge>,
    histograms: BTreeMap<SmolStr, Histogram>,
    /// Whether a metric was refused.
    has_refused: bool,
}

impl Named {
    fn count(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.histograms.len()
    }

    /// The metric of this name among those of its kind, and the error of the first refusal.
    fn find<T: Clone + Default>(
        &mut self,
        kind: fn(&mut Self) -> &mut BTreeMap<SmolStr, T>,
        name: &str,
    ) -> (T, Option<String>) {
        if let Some(known) = kind(self).get(name) {
            return (known.clone(), None);
        }
        let refusal = if self.count() >= MOST_METRICS {
            Some(format!(
                "metric `{}` is not shown: the task has {MOST_METRICS} metrics, the most it may have",
                shown(name)
            ))
        } else if name.is_empty() {
            Some("a metric without a name is not shown".to_owned())
        } else if name.chars().nth(LONGEST_NAME).is_some() {
            Some(format!("metric `{}` is not shown: its name has more than {LONGEST_NAME} characters", shown(name)))
        } else {
            let metric = T::default();
            kind(self).insert(name.into(), metric.clone());
            return (metric, None);
        };
        (T::default(), refusal.filter(|_| !std::mem::replace(&mut self.has_refused, true)))
    }
}

/// The start of a name, for messages.
fn shown(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// All metrics of a task at one moment.
#[derive(Clone, Debug, Default)]
pub struct MetricsSnapshot {
    /// Counters and what they have come to.
    pub counters: BTreeMap<SmolStr, u64>,
    /// Gauges and what they were set to.
    pub gauges: BTreeMap<SmolStr, f64>,
    /// Histograms (shared with the task, not copied).
    pub histograms: BTreeMap<SmolStr, Histogram>,
}

impl Metrics {
    fn lock(&self) -> MutexGuard<'_, Named> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counter of this name.
    pub fn counter(&self, name: &str) -> Counter {
        self.find_counter(name).0
    }

    /// The gauge of this name.
    pub fn gauge(&self, name: &str) -> Gauge {
        self.find_gauge(name).0
    }

    /// The histogram of this name.
    pub fn histogram(&self, name: &str) -> Histogram {
        self.find_histogram(name).0
    }

    /// As [`counter`](Self::counter), with the error to list.
    pub(crate) fn find_counter(&self, name: &str) -> (Counter, Option<String>) {
        self.lock().find(|named| &mut named.counters, name)
    }

    /// As [`gauge`](Self::gauge), with the error to list.
    pub(crate) fn find_gauge(&self, name: &str) -> (Gauge, Option<String>) {
        self.lock().find(|named| &mut named.gauges, name)
    }

    /// As [`histogram`](Self::histogram), with the error to list.
    pub(crate) fn find_histogram(&self, name: &str) -> (Histogram, Option<String>) {
        self.lock().find(|named| &mut named.histograms, name)
    }

    /// All of them.
    pub fn snapshot(&self) -> MetricsSnapshot {
        let named = self.lock();
        MetricsSnapshot {
            counters: named.counters.iter().map(|(name, counter)| (name.clone(), counter.value())).collect(),
            gauges: named.gauges.iter().map(|(name, gauge)| (name.clone(), gauge.value())).collect(),
            histograms: named.histograms.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_beyond_the_limit_work_and_are_refused_with_one_error() {
        let metrics = Metrics::default();
        for number in 0..MOST_METRICS - 1 {
            assert_eq!(metrics.find_counter(&number.to_string()).1, None);
        }
        assert_eq!(metrics.find_gauge("last").1, None);
        let (beyond, refusal) = metrics.find_histogram("beyond");
        beyond.record(7);
        let message = "metric `beyond` is not shown: the task has 100 metrics, the most it may have";
        assert_eq!((beyond.count(), refusal.as_deref()), (1, Some(message)));
        assert_eq!(metrics.find_counter("more").1, None, "one error is enough");
        metrics.counter("0").add(3);
        let all = metrics.snapshot();
        assert_eq!((all.counters.len(), all.gauges.len(), all.histograms.len()), (MOST_METRICS - 1, 1, 0));
        assert_eq!(metrics.find_counter("0").0.value(), 3);
    }

    #[test]
    fn names_that_are_empty_or_too_long_are_refused() {
        for name in [String::new(), "x".repeat(LONGEST_NAME + 1)] {
            let metrics = Metrics::default();
            assert!(metrics.find_counter(&name).1.is_some());
            assert!(metrics.snapshot().counters.is_empty());
        }
        assert_eq!(Metrics::default().find_counter(&"é".repeat(LONGEST_NAME)).1, None);
    }
}
