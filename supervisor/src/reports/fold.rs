//! Sums up two incarnations in one report.

use std::collections::BTreeMap;

use galerna_protocol::{ErrorReport, HistogramReport, WorkerReport};

/// So many errors are kept of what is summed up.
const MOST_ERRORS: usize = 20;

/// Adds what `from` has counted to `into`.
pub(super) fn add(into: &mut WorkerReport, from: WorkerReport) {
    for task in from.tasks {
        match into.tasks.iter_mut().find(|own| own.task == task.task) {
            None => into.tasks.push(task),
            Some(own) => {
                own.emitted += task.emitted;
                own.executed += task.executed;
                own.acked += task.acked;
                own.failed += task.failed;
                own.replayed += task.replayed;
                own.gave_up += task.gave_up;
                own.restarts += task.restarts;
                own.errors += task.errors;
            }
        }
    }
    for latency in from.latencies {
        match into.latencies.iter_mut().find(|own| own.component == latency.component) {
            None => into.latencies.push(latency),
            Some(own) => {
                add_histogram(&mut own.execute, latency.execute);
                add_histogram(&mut own.complete, latency.complete);
            }
        }
    }
    for error in from.errors {
        add_error(&mut into.errors, error);
    }
    into.errors.sort_by_key(|error| std::cmp::Reverse(error.last_unix_ms));
    into.errors.truncate(MOST_ERRORS);
    if into.failure.is_empty() {
        into.failure = from.failure;
    }
    into.may_lack_counts |= from.may_lack_counts;
    into.fenced_batches += from.fenced_batches;
}

fn add_histogram(into: &mut Option<HistogramReport>, from: Option<HistogramReport>) {
    let Some(from) = from else { return };
    let mut counts = BTreeMap::new();
    for histogram in into.iter().chain([&from]) {
        for (value, count) in histogram.values.iter().zip(&histogram.counts) {
            *counts.entry(*value).or_insert(0) += count;
        }
    }
    *into = Some(HistogramReport { values: counts.keys().copied().collect(), counts: counts.into_values().collect() });
}

fn add_error(into: &mut Vec<ErrorReport>, error: ErrorReport) {
    let is_same = |own: &&mut ErrorReport| {
        (&own.component, own.task, &own.message) == (&error.component, error.task, &error.message)
    };
    match into.iter_mut().find(is_same) {
        None => into.push(error),
        Some(own) => {
            own.count += error.count;
            own.last_unix_ms = own.last_unix_ms.max(error.last_unix_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::ComponentLatency;

    use super::*;

    #[test]
    fn distributions_and_errors_are_added_up() {
        let report = |values: &[u64], message: &str| WorkerReport {
            latencies: vec![ComponentLatency {
                component: "split".to_owned(),
                execute: Some(HistogramReport { values: values.to_vec(), counts: vec![2; values.len()] }),
                ..ComponentLatency::default()
            }],
            errors: vec![ErrorReport { message: message.to_owned(), count: 3, ..ErrorReport::default() }],
            ..WorkerReport::default()
        };
        let mut sum = report(&[1, 5], "no");
        add(&mut sum, report(&[3, 5], "no"));
        add(&mut sum, report(&[], "other"));
        let execute = sum.latencies[0].execute.clone().expect("measured");
        assert_eq!((execute.values, execute.counts), (vec![1, 3, 5], vec![2, 2, 4]));
        assert_eq!(sum.errors.iter().map(|error| error.count).collect::<Vec<_>>(), [6, 3]);
    }
}
