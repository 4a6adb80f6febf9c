//! Sums what components keep by name.

use std::collections::BTreeMap;

use galerna_protocol::user_metric::Value;
use galerna_protocol::{MOST_USER_METRICS, TaskReport, UserDistribution, UserHistograms, UserMetric};
use galerna_topology_api::Histogram;

/// The metrics of one component.
#[derive(Default)]
pub(super) struct Sums {
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    histograms: BTreeMap<String, Histogram>,
}

impl Sums {
    /// Adds the counters and gauges of a task.
    pub(super) fn add(&mut self, task: &TaskReport) {
        let Some(user) = &task.user_metrics else { return };
        for (name, count) in &user.counters {
            let sum = self.counters.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*count);
        }
        for (name, value) in &user.gauges {
            *self.gauges.entry(name.clone()).or_default() += value;
        }
    }

    /// Adds the histograms that a worker has reported of the component.
    pub(super) fn add_histograms(&mut self, reported: &UserHistograms) {
        for (name, histogram) in &reported.histograms {
            super::add(self.histograms.entry(name.clone()).or_default(), Some(histogram));
        }
    }

    /// All of them, by kind and name.
    pub(super) fn into_metrics(self) -> Vec<UserMetric> {
        let counters = self.counters.into_iter().map(|(name, sum)| metric(name, Value::Counter(sum)));
        let gauges = self.gauges.into_iter().map(|(name, sum)| metric(name, Value::Gauge(sum)));
        let histograms = self.histograms.into_iter().map(|(name, sum)| {
            let (p50, p99) = (sum.quantile(0.5), sum.quantile(0.99));
            metric(name, Value::Histogram(UserDistribution { count: sum.count(), p50, p99, max: sum.max() }))
        });
        let most = MOST_USER_METRICS;
        counters.take(most).chain(gauges.take(most)).chain(histograms.take(most)).collect()
    }
}

fn metric(name: String, value: Value) -> UserMetric {
    UserMetric { name, value: Some(value) }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{HistogramReport, UserMetrics};

    use super::*;

    #[test]
    fn counters_and_gauges_are_summed_over_tasks_and_histograms_merged_over_workers() {
        let mut sums = Sums::default();
        for (hits, level, value) in [(3, 0.5, 10), (4, 2.0, 20)] {
            let user = UserMetrics {
                counters: [("hits".to_owned(), hits)].into(),
                gauges: [("level".to_owned(), level)].into(),
            };
            sums.add(&TaskReport { user_metrics: Some(user), ..TaskReport::default() });
            let histogram = HistogramReport { values: vec![value], counts: vec![5] };
            let histograms = [("bytes".to_owned(), histogram)].into();
            sums.add_histograms(&UserHistograms { component: "count".to_owned(), histograms });
        }
        let distribution = UserDistribution { count: 10, p50: 10, p99: 20, max: 20 };
        let expected = [
            metric("hits".to_owned(), Value::Counter(7)),
            metric("level".to_owned(), Value::Gauge(2.5)),
            metric("bytes".to_owned(), Value::Histogram(distribution)),
        ];
        assert_eq!(sums.into_metrics(), expected);
    }
}
