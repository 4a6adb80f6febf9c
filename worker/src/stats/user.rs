//! What components keep by name, as workers report it.

use std::collections::BTreeMap;

use galerna_protocol::{MOST_USER_METRICS, TaskReport, UserHistograms};
use galerna_topology_api::{Histogram, Metrics};

use super::report::recorded;

/// The histograms of all components, each merged over the tasks and their launches.
#[derive(Default)]
pub(super) struct Histograms {
    sums: BTreeMap<String, BTreeMap<String, Histogram>>,
    /// Counters and gauges that were added to reports of tasks so far.
    named: usize,
}

/// Counters and gauges in the report of one worker, at most: a report must fit into a message.
const MOST_NAMED: usize = 20_000;

impl Histograms {
    /// Adds the counters of one launch of a task to its report, and the histograms to those of its component. Of a
    /// launch that runs (`is_running`), the gauges, too.
    pub(super) fn add(&mut self, component: &str, metrics: &Metrics, is_running: bool, report: &mut TaskReport) {
        let own = metrics.snapshot();
        let has_gauges = is_running && !own.gauges.is_empty();
        let has_room = self.named < MOST_NAMED;
        if has_room && (has_gauges || !own.counters.is_empty()) {
            self.named += own.counters.len() + own.gauges.len();
            let into = report.user_metrics.get_or_insert_default();
            for (name, count) in own.counters {
                if into.counters.len() < MOST_USER_METRICS || into.counters.contains_key(name.as_str()) {
                    *into.counters.entry(name.into()).or_default() += count;
                }
            }
            if is_running {
                into.gauges.extend(own.gauges.into_iter().map(|(name, value)| (name.into(), value)));
            }
        }
        if !own.histograms.is_empty() {
            let sums = self.sums.entry(component.to_owned()).or_default();
            for (name, histogram) in own.histograms {
                if sums.len() < MOST_USER_METRICS || sums.contains_key(name.as_str()) {
                    sums.entry(name.into()).or_default().merge(&histogram);
                }
            }
        }
    }

    /// All of them.
    pub(super) fn report(self) -> Vec<UserHistograms> {
        let reports = self.sums.into_iter().map(|(component, histograms)| UserHistograms {
            component,
            histograms: histograms.into_iter().map(|(name, sum)| (name, recorded(&sum))).collect(),
        });
        reports.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_are_summed_and_only_those_that_run_have_gauges() {
        let launch = |count, level, values: &[u64]| {
            let metrics = Metrics::default();
            metrics.counter("hits").add(count);
            metrics.gauge("size").set(level);
            metrics.histogram("bytes").record_all(values.iter().copied());
            metrics
        };
        let (mut all, mut report) = (Histograms::default(), TaskReport::default());
        all.add("bolt", &launch(3, 5.0, &[1, 2]), false, &mut report);
        assert!(report.user_metrics.as_ref().is_some_and(|user| user.gauges.is_empty()));
        all.add("bolt", &launch(4, 7.5, &[2]), true, &mut report);
        all.add("other", &Metrics::default(), true, &mut report);
        let user = report.user_metrics.expect("there are some");
        assert_eq!((user.counters["hits"], user.gauges["size"]), (7, 7.5));
        let histograms = all.report();
        assert_eq!((histograms.len(), histograms[0].component.as_str()), (1, "bolt"));
        let bytes = &histograms[0].histograms["bytes"];
        assert_eq!((&bytes.values, &bytes.counts), (&vec![1, 2], &vec![1, 2]));
    }
}
