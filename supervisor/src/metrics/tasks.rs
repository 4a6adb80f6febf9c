//! The counts of tasks and streams, and the times of components, summed over all incarnations that have run
//! here: so they never go back, whatever becomes of a worker or of this daemon.

use std::collections::BTreeMap;

use galerna_coordination::metrics::{Distribution, Families, Metric};
use galerna_protocol::{ComponentSpec, HistogramReport, StreamReport, TaskReport, WorkerReport, WorkerState};

use super::{Topology, of};

/// What has come together of one task.
#[derive(Debug, Default)]
struct Total {
    counts: TaskReport,
    streams: BTreeMap<(String, String), StreamReport>,
    is_up: bool,
}

/// Adds everything that is known of a topology's tasks.
pub(super) fn add(families: &mut Families, topology: &Topology<'_>) {
    for (task, total) in totals(&topology.reports) {
        // What the topology does not have, nobody could tell apart.
        if let Some(component) = topology.spec.components.iter().find(|one| has(one, task)) {
            let labels = [&*topology.spec.name, topology.id, &component.id, &task.to_string()];
            add_task(families, labels, component, &total);
        }
    }
    for component in &topology.spec.components {
        let labels = [&*topology.spec.name, topology.id, &component.id];
        let reported = || topology.reports.iter().flat_map(|report| &report.latencies);
        let own = || reported().filter(|one| one.component == component.id);
        if component.is_spout {
            add_times(families, &of::COMPLETE, labels, own().filter_map(|one| one.complete.as_ref()));
        } else {
            add_times(families, &of::EXECUTE, labels, own().filter_map(|one| one.execute.as_ref()));
            add_times(families, &of::PROCESS, labels, own().filter_map(|one| one.process.as_ref()));
        }
    }
}

pub(super) fn has(component: &ComponentSpec, task: u32) -> bool {
    task >= component.first_task && task - component.first_task < component.tasks
}

fn totals(reports: &[&WorkerReport]) -> BTreeMap<u32, Total> {
    let mut totals: BTreeMap<u32, Total> = BTreeMap::new();
    for report in reports {
        for task in &report.tasks {
            totals.entry(task.task).or_default().add(task, runs(report, task.task));
        }
    }
    totals
}

/// Whether a task runs in this worker now. Those that it had before are in its report, too.
pub(super) fn runs(report: &WorkerReport, task: u32) -> bool {
    let lives = matches!(report.state(), WorkerState::Running | WorkerState::Finished);
    lives && report.executors.iter().any(|range| (range.first..=range.last).contains(&task))
}

impl Total {
    fn add(&mut self, task: &TaskReport, runs: bool) {
        let sum = &mut self.counts;
        sum.emitted += task.emitted;
        sum.executed += task.executed;
        sum.acked += task.acked;
        sum.failed += task.failed;
        sum.replayed += task.replayed;
        sum.gave_up += task.gave_up;
        sum.restarts += task.restarts;
        sum.errors += task.errors;
        sum.blocked_ns += task.blocked_ns;
        if runs {
            self.is_up = true;
            sum.pending += task.pending;
            sum.queued += task.queued;
            sum.queue_capacity += task.queue_capacity;
            sum.retrying = task.retrying.clone();
        }
        for stream in &task.streams {
            let sum = self.streams.entry((stream.from.clone(), stream.stream.clone())).or_default();
            sum.emitted += stream.emitted;
            sum.executed += stream.executed;
            sum.acked += stream.acked;
            sum.failed += stream.failed;
        }
    }
}

fn add_task(families: &mut Families, labels: [&str; 4], component: &ComponentSpec, total: &Total) {
    let counts = &total.counts;
    let (is_spout, is_bolt) = (component.is_spout, !component.is_spout);
    let counters: [(&Metric, u64, bool); 8] = [
        (&of::EMITTED, counts.emitted, true),
        (&of::EXECUTED, counts.executed, is_bolt),
        (&of::ACKED, counts.acked, true),
        (&of::FAILED, counts.failed, true),
        (&of::REPLAYED, counts.replayed, is_spout),
        (&of::GAVE_UP, counts.gave_up, is_spout),
        (&of::RESTARTS, counts.restarts, true),
        (&of::ERRORS, counts.errors, true),
    ];
    for (metric, count, _) in counters.into_iter().filter(|(_, _, applies)| *applies) {
        families.add(metric, &labels, count);
    }
    families.add(&of::BLOCKED, &labels, counts.blocked_ns as f64 / 1e9);
    families.add(&of::UP, &labels, u64::from(total.is_up));
    families.add(&of::PENDING, &labels, counts.pending);
    if is_spout {
        let retrying = counts.retrying.clone().unwrap_or_default();
        families.add(&of::RETRYING, &labels, retrying.tuples);
        families.add(&of::RETRYING_SECONDS, &labels, retrying.for_ms as f64 / 1e3);
    }
    if is_bolt {
        families.add(&of::QUEUED, &labels, counts.queued);
        families.add(&of::QUEUE_CAPACITY, &labels, counts.queue_capacity);
    }
    let [name, id, component, task] = labels;
    for ((from, stream), counts) in &total.streams {
        let labels = [name, id, component, task, stream, from];
        let is_own = from.is_empty();
        if is_own {
            families.add(&of::STREAM_EMITTED, &labels, counts.emitted);
        } else {
            families.add(&of::STREAM_EXECUTED, &labels, counts.executed);
        }
        if is_spout == is_own {
            families.add(&of::STREAM_ACKED, &labels, counts.acked);
            families.add(&of::STREAM_FAILED, &labels, counts.failed);
        }
    }
}

fn add_times<'a>(
    families: &mut Families,
    metric: &Metric,
    labels: [&str; 3],
    reported: impl Iterator<Item = &'a HistogramReport>,
) {
    let mut sum: Option<Distribution> = None;
    for histogram in reported {
        let sum = sum.get_or_insert_default();
        for (nanoseconds, count) in histogram.values.iter().zip(&histogram.counts) {
            sum.note_many(*nanoseconds, *count);
        }
    }
    if let Some(sum) = sum {
        families.add(metric, &labels, sum);
    }
}
