//! The present of topologies: rates of the last seconds and minutes, pending tuples, positions of sources.

use std::time::Duration;

use galerna_protocol::{ComponentStats, DescribeReply, SourceSummary, TaskReport, TopologySummary, Window};
use tokio::time::Instant;

use crate::core::{Core, lock};
use crate::counts;
use crate::rates::{self, Sum, Tally};
use crate::reports::Reports;
use crate::stats;
use crate::view::{Topology, View};

impl Core {
    /// Adds rates, levels and sources to the description of a topology.
    pub(super) fn describe_now(&self, view: &View, reports: &Reports, topology: &Topology, reply: &mut DescribeReply) {
        let (now, age) = (Instant::now(), self.freshness());
        {
            let rates = lock(&self.rates);
            let over = |length| rates.over(&topology.id, length, now, age);
            let (short, long) = (over(rates::SHORT), over(rates::LONG));
            for component in &mut reply.components {
                component.last_10_s = short.as_ref().map(|sum| of_component(sum, component));
                component.last_10_min = long.as_ref().map(|sum| of_component(sum, component));
            }
        }
        for task in tasks_now(reports, topology, now, age) {
            let Some(id) = stats::component_of(&topology.spec, task.task).map(|component| &component.id) else {
                continue;
            };
            if let Some(component) = reply.components.iter_mut().find(|component| component.id == *id) {
                component.pending = component.pending.saturating_add(task.pending);
                component.queued = component.queued.saturating_add(task.queued);
                component.queue_capacity = component.queue_capacity.saturating_add(task.queue_capacity);
            }
            if !task.source_position.is_empty() {
                reply.sources.push(SourceSummary {
                    component: id.clone(),
                    task: task.task,
                    position: task.source_position.clone(),
                    lag: task.source_lag,
                });
            }
        }
        reply.sources.sort_by_key(|source| source.task);
        reply.gaps = gaps(view, reports, topology, now, age);
    }

    /// Adds the rates of the whole topology to a summary.
    pub(super) fn summarize_now(&self, reports: &Reports, topology: &Topology, summary: &mut TopologySummary) {
        let (now, age) = (Instant::now(), self.freshness());
        let is_spout = |task: u32| stats::component_of(&topology.spec, task).is_some_and(|one| one.is_spout);
        let spouts = tasks_now(reports, topology, now, age).into_iter().filter(|task| is_spout(task.task));
        summary.pending = spouts.map(|task| task.pending).fold(0, u64::saturating_add);
        let sum = lock(&self.rates).over(&topology.id, rates::SHORT, now, age);
        summary.last_10_s = sum.map(|sum| of_topology(&sum, topology));
    }
}

/// The latest reports of the tasks of the newest launches.
fn tasks_now<'a>(reports: &'a Reports, topology: &Topology, now: Instant, age: Duration) -> Vec<&'a TaskReport> {
    reports.current(&topology.id, now, age).into_values().flat_map(|worker| &worker.tasks).collect()
}

/// Supervisors without a fresh report.
fn gaps(view: &View, reports: &Reports, topology: &Topology, now: Instant, age: Duration) -> Vec<String> {
    let Some(assignment) = view.assignments.get(&topology.id) else { return Vec::new() };
    let mut supervisors: Vec<&str> = counts::supervisors_of(&assignment.value).collect();
    supervisors.sort_unstable();
    supervisors.dedup();
    let gap = |supervisor: &str| match reports.silence(supervisor, now) {
        None => Some(format!("{supervisor} has not reported to the nimbus that leads")),
        Some(silence) if silence > age => Some(format!("{supervisor} has not reported for {} s", silence.as_secs())),
        Some(_) => None,
    };
    supervisors.into_iter().filter_map(gap).collect()
}

fn of_component(sum: &Sum, component: &ComponentStats) -> Window {
    sum.tallies.get(&component.id).map_or_else(
        || Window { seconds: sum.seconds, ..Window::default() },
        |tally| window(sum.seconds, tally, component.tasks),
    )
}

/// The rates of the spouts, with the executed tuples of the bolts.
fn of_topology(sum: &Sum, topology: &Topology) -> Window {
    let (mut whole, mut tasks) = (Tally::default(), 0);
    for component in &topology.spec.components {
        let Some(tally) = sum.tallies.get(&component.id) else { continue };
        tasks += component.tasks;
        let executed = whole.executed + tally.executed;
        if component.is_spout {
            whole.add(tally, 1.0);
        }
        whole.executed = executed;
    }
    Window { busy: None, execute_latency: None, ..window(sum.seconds, &whole, tasks) }
}

fn window(seconds: f64, tally: &Tally, tasks: u32) -> Window {
    let share = |nanos: f64| (nanos / (seconds * 1e9 * f64::from(tasks.max(1)))).clamp(0.0, 1.0);
    Window {
        seconds,
        emitted: tally.emitted / seconds,
        executed: tally.executed / seconds,
        acked: tally.acked / seconds,
        failed: tally.failed / seconds,
        execute_latency: tally.execute.latency(),
        complete_latency: tally.complete.latency(),
        busy: tally.tells_busy.then(|| share(tally.busy_ns)),
        blocked: share(tally.blocked_ns),
    }
}
