//! What tasks have counted, as workers report it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use galerna_protocol::{ComponentLatency, HistogramReport, Retrying, StreamReport, TaskReport, UserHistograms};
use galerna_topology_api::{Histogram, TaskId, Topology};

use super::user::Histograms;
use super::{Once, StreamStats, TaskStats};
use crate::clock::Clock;
use crate::crew::component_of;

/// What the tasks of a worker have counted and measured.
pub(crate) struct Counted {
    pub(crate) tasks: Vec<TaskReport>,
    pub(crate) latencies: Vec<ComponentLatency>,
    pub(crate) user_histograms: Vec<UserHistograms>,
}

/// Counts and latencies of all these tasks, of which there may be several launches. Of what is so
/// now, only that of tasks that run now (`true`) counts.
pub(crate) fn report(
    topology: &Topology,
    clock: Clock,
    all: impl IntoIterator<Item = (TaskId, Arc<TaskStats>, bool)>,
) -> Counted {
    let mut tasks: BTreeMap<TaskId, TaskReport> = BTreeMap::new();
    let mut latencies: BTreeMap<String, [Histogram; 3]> = BTreeMap::new();
    let (mut user, mut once) = (Histograms::default(), Once::default());
    for (task, stats, is_running) in all {
        let report = tasks.entry(task).or_insert_with(|| TaskReport { task, ..TaskReport::default() });
        stats.add_counts(report, clock);
        if is_running {
            stats.put_gauges(report, clock);
        }
        if let Some(component) = component_of(topology, task) {
            user.add(&component.id, &stats.metrics, is_running, report);
            let [execute, complete, process] = latencies.entry(component.id.to_string()).or_default();
            if let Some(latencies) = once.pick(&stats) {
                execute.merge(&latencies.execute);
                complete.merge(&latencies.complete);
                process.merge(&latencies.process);
            }
        }
    }
    let latencies = latencies.into_iter().map(|(component, [execute, complete, process])| ComponentLatency {
        component,
        execute: Some(recorded(&execute)),
        complete: Some(recorded(&complete)),
        process: Some(recorded(&process)),
    });
    Counted { tasks: tasks.into_values().collect(), latencies: latencies.collect(), user_histograms: user.report() }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl TaskStats {
    fn add_counts(&self, report: &mut TaskReport, clock: Clock) {
        if report.streams.is_empty() {
            report.streams = self.streams.iter().map(StreamStats::named).collect();
        }
        // All launches of a task have the same streams in the same order.
        for (stream, into) in self.streams.iter().zip(&mut report.streams) {
            let counts = stream.counts();
            into.emitted += counts.emitted;
            into.executed += counts.executed;
            into.acked += counts.acked;
            into.failed += counts.failed;
            report.emitted += counts.emitted;
            report.executed += counts.executed;
            report.acked += counts.acked;
            report.failed += counts.failed;
        }
        report.replayed += count(&self.replayed);
        report.gave_up += count(&self.gave_up);
        report.restarts += count(&self.restarts);
        report.errors += count(&self.errors);
        report.blocked_ns += self.waiting.total(clock);
        report.busy_ns += self.activity.busy(clock);
    }

    fn put_gauges(&self, report: &mut TaskReport, clock: Clock) {
        report.pending = count(&self.pending);
        report.queued = count(&self.queued);
        report.queue_capacity = self.queue_capacity.get();
        report.retrying = self.retrying().map(|retrying| Retrying {
            tuples: retrying.tuples,
            for_ms: clock.now().saturating_sub(retrying.since).as_millis() as u64,
            reason: retrying.failure.to_string(),
        });
        if let Some((position, lag)) = self.source.get() {
            (report.source_position, report.source_lag) = (position, lag);
        }
    }
}

impl StreamStats {
    fn named(&self) -> StreamReport {
        StreamReport { from: self.from.to_string(), stream: self.stream.to_string(), ..StreamReport::default() }
    }
}

pub(super) fn recorded(histogram: &Histogram) -> HistogramReport {
    let (values, counts) = histogram.recorded().into_iter().unzip();
    HistogramReport { values, counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_of_a_source_is_the_last_one_and_not_too_long() {
        let (stats, mut report) = (TaskStats::default(), TaskReport::default());
        stats.put_gauges(&mut report, Clock::start());
        assert_eq!((report.source_position.as_str(), report.source_lag), ("", None));
        stats.source.set("book.txt: line 1", Some(9));
        stats.source.set("book.txt: line 2", None);
        stats.put_gauges(&mut report, Clock::start());
        assert_eq!((report.source_position.as_str(), report.source_lag), ("book.txt: line 2", None));
        stats.source.set(&"é".repeat(5_000), Some(0));
        stats.put_gauges(&mut report, Clock::start());
        assert_eq!((report.source_position.chars().count(), report.source_lag), (200, Some(0)));
    }
}
