//! The final metrics that the components of an ended topology have kept by name. Gauges say what was so at a moment,
//! so none are left.

use galerna_protocol::user_metric::Value;
use galerna_protocol::{UserDistribution, UserMetric};
use serde::{Deserialize, Serialize};

/// A counter or a histogram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct EndedMetric {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    histogram: Option<[u64; 4]>,
}

impl EndedMetric {
    /// What is kept of a metric.
    pub(super) fn of(metric: &UserMetric) -> Option<Self> {
        let ended = Self { name: metric.name.clone(), ..Self::default() };
        match metric.value.as_ref()? {
            Value::Counter(count) => Some(Self { counter: Some(*count), ..ended }),
            Value::Histogram(UserDistribution { count, p50, p99, max }) => {
                Some(Self { histogram: Some([*count, *p50, *p99, *max]), ..ended })
            }
            Value::Gauge(_) => None,
        }
    }
}

impl From<&EndedMetric> for UserMetric {
    fn from(ended: &EndedMetric) -> Self {
        let histogram =
            ended.histogram.map(|[count, p50, p99, max]| Value::Histogram(UserDistribution { count, p50, p99, max }));
        Self { name: ended.name.clone(), value: ended.counter.map(Value::Counter).or(histogram) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_histograms_outlive_their_topology_and_gauges_do_not() {
        let metric = |name: &str, value| UserMetric { name: name.to_owned(), value: Some(value) };
        let counter = metric("hits", Value::Counter(7));
        let histogram = metric("bytes", Value::Histogram(UserDistribution { count: 4, p50: 1, p99: 2, max: 3 }));
        for one in [&counter, &histogram] {
            let ended = EndedMetric::of(one).expect("it is kept");
            let text = serde_json::to_string(&ended).expect("it is written");
            let read: EndedMetric = serde_json::from_str(&text).expect("it is read");
            assert_eq!(UserMetric::from(&read), *one);
        }
        assert_eq!(EndedMetric::of(&metric("level", Value::Gauge(1.5))), None);
    }
}
