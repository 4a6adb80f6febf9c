//! Sums up two incarnations in one report.

mod user;

use std::collections::BTreeMap;

use galerna_protocol::{HistogramReport, StreamReport, WorkerReport, add_error, order_errors};

/// So many errors are kept of what is summed up.
const MOST_ERRORS: usize = 200;

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
                own.blocked_ns += task.blocked_ns;
                own.busy_ns += task.busy_ns;
                user::add(&mut own.user_metrics, task.user_metrics);
                task.streams.into_iter().for_each(|stream| add_stream(&mut own.streams, stream));
            }
        }
    }
    for latency in from.latencies {
        match into.latencies.iter_mut().find(|own| own.component == latency.component) {
            None => into.latencies.push(latency),
            Some(own) => {
                add_histogram(&mut own.execute, latency.execute);
                add_histogram(&mut own.complete, latency.complete);
                add_histogram(&mut own.process, latency.process);
            }
        }
    }
    user::add_histograms(&mut into.user_histograms, from.user_histograms);
    for error in from.errors {
        add_error(&mut into.errors, error);
    }
    order_errors(&mut into.errors, MOST_ERRORS);
    if into.failure.is_empty() {
        into.failure = from.failure;
    }
    into.unexpected_ends += from.unexpected_ends;
    into.may_lack_counts |= from.may_lack_counts;
    into.fenced_batches += from.fenced_batches;
}

/// Takes out what was so at one moment: of a worker that is gone, nothing waits any more.
pub(super) fn clear_gauges(report: &mut WorkerReport) {
    for task in &mut report.tasks {
        (task.pending, task.queued, task.queue_capacity, task.retrying) = (0, 0, 0, None);
        (task.source_position, task.source_lag) = Default::default();
        user::clear_gauges(&mut task.user_metrics);
    }
}

fn add_stream(into: &mut Vec<StreamReport>, from: StreamReport) {
    match into.iter_mut().find(|own| (&own.from, &own.stream) == (&from.from, &from.stream)) {
        None => into.push(from),
        Some(own) => {
            own.emitted += from.emitted;
            own.executed += from.executed;
            own.acked += from.acked;
            own.failed += from.failed;
        }
    }
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

#[cfg(test)]
mod tests {
    use galerna_protocol::{ComponentLatency, ErrorReport, TaskReport};

    use super::*;

    #[test]
    fn distributions_and_errors_are_added_up() {
        let report = |values: &[u64], message: &str| WorkerReport {
            latencies: vec![ComponentLatency {
                component: "split".to_owned(),
                execute: Some(HistogramReport { values: values.to_vec(), counts: vec![2; values.len()] }),
                process: Some(HistogramReport { values: values.to_vec(), counts: vec![3; values.len()] }),
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
        let process = sum.latencies[0].process.clone().expect("measured");
        assert_eq!((process.values, process.counts), (vec![1, 3, 5], vec![3, 3, 6]));
        assert_eq!(sum.errors.iter().map(|error| error.count).collect::<Vec<_>>(), [6, 3]);
    }
    #[test]
    fn counts_are_added_up_by_stream_whatever_their_order() {
        let stream = |from: &str, stream: &str, executed| StreamReport {
            from: from.to_owned(),
            stream: stream.to_owned(),
            executed,
            acked: executed - 1,
            failed: 1,
            ..StreamReport::default()
        };
        let report = |task: u32, streams: Vec<StreamReport>| WorkerReport {
            tasks: vec![TaskReport { task, streams, blocked_ns: 7, busy_ns: 3, ..TaskReport::default() }],
            ..WorkerReport::default()
        };
        let own = StreamReport { stream: "default".to_owned(), emitted: 5, ..StreamReport::default() };
        let mut sum = report(4, vec![own.clone(), stream("lines", "default", 10), stream("lines", "late", 20)]);
        add(&mut sum, report(4, vec![stream("lines", "late", 3), stream("words", "late", 4), own]));
        add(&mut sum, report(5, vec![stream("lines", "late", 100)]));
        let task = &sum.tasks[0];
        assert_eq!((task.task, task.blocked_ns, task.busy_ns), (4, 14, 6));
        let counts: Vec<_> =
            task.streams.iter().map(|s| (s.from.as_str(), s.emitted, s.executed, s.acked, s.failed)).collect();
        assert_eq!(counts, [("", 10, 0, 0, 0), ("lines", 0, 10, 9, 1), ("lines", 0, 23, 21, 2), ("words", 0, 4, 3, 1)]);
        assert_eq!(sum.tasks[1].streams, [stream("lines", "late", 100)]);
    }
}
