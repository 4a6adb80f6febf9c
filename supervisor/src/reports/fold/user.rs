//! Sums up what components keep by name.

use galerna_protocol::{MOST_USER_METRICS, UserHistograms, UserMetrics};

use super::add_histogram;

/// Adds the counters of an earlier launch. Its gauges are gone with it.
pub(super) fn add(into: &mut Option<UserMetrics>, from: Option<UserMetrics>) {
    let Some(from) = from.filter(|from| !from.counters.is_empty()) else { return };
    let into = into.get_or_insert_default();
    for (name, count) in from.counters {
        if into.counters.len() < MOST_USER_METRICS || into.counters.contains_key(&name) {
            let sum = into.counters.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}

/// Adds the histograms of an earlier launch.
pub(super) fn add_histograms(into: &mut Vec<UserHistograms>, from: Vec<UserHistograms>) {
    for of in from {
        match into.iter_mut().find(|own| own.component == of.component) {
            None => into.push(of),
            Some(own) => {
                for (name, histogram) in of.histograms {
                    if own.histograms.len() >= MOST_USER_METRICS && !own.histograms.contains_key(&name) {
                        continue;
                    }
                    let mut sum = own.histograms.remove(&name);
                    add_histogram(&mut sum, Some(histogram));
                    own.histograms.extend(sum.map(|sum| (name, sum)));
                }
            }
        }
    }
}

/// Takes out the gauges: the task does not run any more.
pub(super) fn clear_gauges(user: &mut Option<UserMetrics>) {
    if let Some(user) = user {
        user.gauges.clear();
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{HistogramReport, TaskReport, WorkerReport};

    use super::super::{add, clear_gauges};
    use super::*;

    fn report(hits: u64, level: f64, values: &[u64]) -> WorkerReport {
        let histogram = HistogramReport { values: values.to_vec(), counts: vec![1; values.len()] };
        let user =
            UserMetrics { counters: [("hits".to_owned(), hits)].into(), gauges: [("level".to_owned(), level)].into() };
        WorkerReport {
            tasks: vec![TaskReport { task: 1, user_metrics: Some(user), ..TaskReport::default() }],
            user_histograms: vec![UserHistograms {
                component: "count".to_owned(),
                histograms: [("bytes".to_owned(), histogram)].into(),
            }],
            ..WorkerReport::default()
        }
    }

    #[test]
    fn counters_are_summed_histograms_merged_and_gauges_are_those_of_the_living_launch() {
        let (mut sum, mut gone) = (report(5, 1.0, &[2, 3]), report(7, 9.0, &[1, 3]));
        clear_gauges(&mut gone);
        assert!(gone.tasks[0].user_metrics.as_ref().is_some_and(|user| user.gauges.is_empty()));
        add(&mut sum, gone);
        add(&mut sum, WorkerReport::default());
        let user = sum.tasks[0].user_metrics.as_ref().expect("there are some");
        assert_eq!((user.counters["hits"], user.gauges["level"]), (12, 1.0));
        let bytes = &sum.user_histograms[0].histograms["bytes"];
        assert_eq!((&bytes.values, &bytes.counts), (&vec![1, 2, 3], &vec![1, 1, 2]));
    }
}
