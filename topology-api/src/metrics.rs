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

/// The metrics of one task, by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<Named>>);

#[derive(Debug, Default)]
struct Named {
    counters: BTreeMap<SmolStr, Counter>,
    gauges: BTreeMap<SmolStr, Gauge>,
    histograms: BTreeMap<SmolStr, Histogram>,
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
        self.lock().counters.entry(name.into()).or_default().clone()
    }

    /// The gauge of this name.
    pub fn gauge(&self, name: &str) -> Gauge {
        self.lock().gauges.entry(name.into()).or_default().clone()
    }

    /// The histogram of this name.
    pub fn histogram(&self, name: &str) -> Histogram {
        self.lock().histograms.entry(name.into()).or_default().clone()
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
