//! Sums what workers have reported into what people ask for.

mod user;

use std::collections::BTreeMap;

use galerna_coordination::keys::Desired;
use galerna_protocol::{
    ComponentSpec, ComponentStats, ErrorReport, HistogramReport, Latency, Retrying, TopologySpec, WorkerReport,
    add_error, order_errors,
};
use galerna_topology_api::Histogram;

/// The most errors that are told.
const MOST_ERRORS: usize = 500;

/// How many executors a component has: as submitted, or as changed since.
pub(crate) fn executors(component: &ComponentSpec, desired: &Desired) -> u32 {
    let executors = desired.executors.get(&component.id).copied().unwrap_or(component.executors);
    executors.clamp(1, component.tasks.max(1))
}

/// The component that a task is of.
pub(crate) fn component_of(spec: &TopologySpec, task: u32) -> Option<&ComponentSpec> {
    spec.components.iter().find(|one| task >= one.first_task && task - one.first_task < one.tasks)
}

/// The counts of each component, summed over workers and their incarnations.
pub(crate) fn component_stats<'a>(
    spec: &TopologySpec,
    desired: &Desired,
    reports: impl IntoIterator<Item = &'a WorkerReport>,
) -> Vec<ComponentStats> {
    let mut stats: Vec<ComponentStats> = spec.components.iter().map(|component| empty(component, desired)).collect();
    let latencies: Vec<(Histogram, Histogram)> = spec.components.iter().map(|_| Default::default()).collect();
    let mut user: BTreeMap<&str, user::Sums> = BTreeMap::new();
    for report in reports {
        for task in &report.tasks {
            let Some(component) = component_of(spec, task.task) else { continue };
            user.entry(&component.id).or_default().add(task);
            let Some(sum) = stats.iter_mut().find(|sum| sum.id == component.id) else { continue };
            for (sum, count) in [
                (&mut sum.emitted, task.emitted),
                (&mut sum.executed, task.executed),
                (&mut sum.acked, task.acked),
                (&mut sum.failed, task.failed),
                (&mut sum.replayed, task.replayed),
                (&mut sum.gave_up, task.gave_up),
                (&mut sum.restarts, task.restarts),
                (&mut sum.errors, task.errors),
            ] {
                *sum = sum.saturating_add(count);
            }
            add_retrying(&mut sum.retrying, task.retrying.as_ref());
        }
        for latency in &report.latencies {
            let Some(index) = stats.iter().position(|sum| sum.id == latency.component) else { continue };
            add(&latencies[index].0, latency.execute.as_ref());
            add(&latencies[index].1, latency.complete.as_ref());
        }
        for histograms in &report.user_histograms {
            user.entry(&histograms.component).or_default().add_histograms(histograms);
        }
    }
    for (stats, (execute, complete)) in stats.iter_mut().zip(&latencies) {
        stats.execute_latency = latency(execute);
        stats.complete_latency = latency(complete);
        stats.user_metrics = user.remove(stats.id.as_str()).map(user::Sums::into_metrics).unwrap_or_default();
    }
    stats
}

fn empty(component: &ComponentSpec, desired: &Desired) -> ComponentStats {
    ComponentStats {
        id: component.id.clone(),
        kind: if component.is_spout { "spout" } else { "bolt" }.to_owned(),
        tasks: component.tasks,
        executors: executors(component, desired),
        ..ComponentStats::default()
    }
}

fn add(histogram: &Histogram, report: Option<&HistogramReport>) {
    let Some(report) = report else { return };
    for (value, count) in report.values.iter().zip(&report.counts) {
        histogram.record_many(*value, *count);
    }
}

fn latency(nanoseconds: &Histogram) -> Option<Latency> {
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    (nanoseconds.count() > 0).then(|| Latency {
        p50: micros(nanoseconds.quantile(0.5)),
        p99: micros(nanoseconds.quantile(0.99)),
        max: micros(nanoseconds.max()),
    })
}

/// All errors by component and kind, causes before what follows from them, the newest first.
pub(crate) fn errors<'a>(reports: impl IntoIterator<Item = &'a WorkerReport>) -> Vec<ErrorReport> {
    let mut errors = Vec::new();
    for report in reports {
        for error in &report.errors {
            let worker = error.worker.clone().or_else(|| report.id.clone());
            add_error(&mut errors, ErrorReport { worker, ..error.clone() });
        }
    }
    order_errors(&mut errors, MOST_ERRORS);
    errors
}

/// What several tasks are retrying, together: since when is that of the first.
fn add_retrying(sum: &mut Option<Retrying>, retrying: Option<&Retrying>) {
    let Some(retrying) = retrying else { return };
    let Some(sum) = sum else {
        *sum = Some(retrying.clone());
        return;
    };
    sum.tuples = sum.tuples.saturating_add(retrying.tuples);
    if retrying.for_ms > sum.for_ms {
        sum.for_ms = retrying.for_ms;
        sum.reason.clone_from(&retrying.reason);
    }
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{ComponentLatency, TaskReport, WorkerId};

    use super::*;
    use crate::spec::tests::component;

    fn spec() -> TopologySpec {
        TopologySpec { components: vec![component("words", 1, 2), component("count", 3, 2)], ..Default::default() }
    }

    #[test]
    fn counts_and_latencies_are_summed_over_workers_and_incarnations() {
        let report = |incarnation, task, emitted, micros: u64| WorkerReport {
            incarnation,
            tasks: vec![TaskReport { task, emitted, ..Default::default() }],
            latencies: vec![ComponentLatency {
                component: "count".into(),
                execute: Some(HistogramReport { values: vec![micros * 1000], counts: vec![10] }),
                ..Default::default()
            }],
            ..Default::default()
        };
        // The last one is of a task that nobody knows.
        let reports = [report(1, 1, 5, 100), report(2, 1, 7, 100), report(1, 2, 1, 300), report(1, 9, 100, 300)];
        let stats = component_stats(&spec(), &Desired::default(), &reports);
        assert_eq!((stats[0].id.as_str(), stats[0].kind.as_str(), stats[0].emitted), ("words", "spout", 13));
        assert_eq!((stats[1].emitted, stats[0].execute_latency), (0, None));
        let latency = stats[1].execute_latency.expect("it was measured");
        assert!((99.0..101.0).contains(&latency.p50) && (297.0..304.0).contains(&latency.p99), "{latency:?}");
        assert!(stats[1].complete_latency.is_none());
    }

    #[test]
    fn equal_errors_are_one_and_the_newest_comes_first() {
        let error = |message: &str, count, last_unix_ms| ErrorReport {
            message: message.into(),
            count,
            last_unix_ms,
            ..Default::default()
        };
        let report = |errors| WorkerReport { id: Some(WorkerId::new("a", 1)), errors, ..Default::default() };
        let reports = [report(vec![error("old", 1, 1), error("both", 2, 2)]), report(vec![error("both", 3, 9)])];
        let errors = errors(&reports);
        let shown: Vec<_> = errors.iter().map(|one| (one.message.as_str(), one.count, one.last_unix_ms)).collect();
        assert_eq!(shown, [("both", 5, 9), ("old", 1, 1)]);
        assert_eq!(errors[0].worker, Some(WorkerId::new("a", 1)));
    }
}
