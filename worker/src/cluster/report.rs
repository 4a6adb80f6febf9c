//! What a worker tells of itself: counts of all tasks that it has run, latencies, errors.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_protocol::{ComponentLatency, ErrorReport, HistogramReport, TaskReport, WorkerReport};
use galerna_topology_api::{Histogram, TaskId};
use smol_str::SmolStr;

use crate::crew::{Crew, component_of};
use crate::stats::TaskStats;
use crate::watchdog::Watched;

/// The counts of all tasks that run here, or did.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// Shared with the watchdog.
    current: Arc<Mutex<BTreeMap<TaskId, Watched>>>,
    /// Those of tasks that have ended here, perhaps several launches of one.
    past: Vec<(TaskId, Arc<TaskStats>)>,
}

impl Tallies {
    fn current(&self) -> MutexGuard<'_, BTreeMap<TaskId, Watched>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn started(&mut self, component: SmolStr, task: TaskId, stats: Arc<TaskStats>) {
        self.ended(task);
        self.current().insert(task, (component, task, stats));
    }

    pub(super) fn ended(&mut self, task: TaskId) {
        let ended = self.current().remove(&task);
        self.past.extend(ended.map(|(_, task, stats)| (task, stats)));
    }

    /// The tasks that run now, whenever that is asked.
    pub(super) fn watched(&self) -> impl Fn() -> Vec<Watched> + use<> {
        let current = self.current.clone();
        move || current.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn all(&self) -> Vec<(TaskId, Arc<TaskStats>)> {
        let mut all = self.past.clone();
        all.extend(self.current().values().map(|(_, task, stats)| (*task, stats.clone())));
        all
    }

    /// Counts, latencies and errors; `running` are the tasks that run now, and since when.
    pub(super) fn report(&self, crew: &Crew, running: &[(TaskId, i64)]) -> WorkerReport {
        let mut tasks: BTreeMap<TaskId, TaskReport> = BTreeMap::new();
        let mut latencies: BTreeMap<String, (Histogram, Histogram)> = BTreeMap::new();
        for (task, stats) in self.all() {
            let report = tasks.entry(task).or_insert_with(|| TaskReport { task, ..TaskReport::default() });
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            report.emitted += count(&stats.emitted);
            report.executed += count(&stats.executed);
            report.acked += count(&stats.acked);
            report.failed += count(&stats.failed);
            report.replayed += count(&stats.replayed);
            report.gave_up += count(&stats.gave_up);
            report.restarts += count(&stats.restarts);
            report.errors += count(&stats.errors);
            if let Some(component) = component_of(&crew.topology, task) {
                let (execute, complete) = latencies.entry(component.id.to_string()).or_default();
                execute.merge(&stats.execute_latency);
                complete.merge(&stats.complete_latency);
            }
        }
        for (task, started) in running {
            if let Some(report) = tasks.get_mut(task) {
                report.started_unix_ms = *started;
            }
        }
        let errors = crew.run.errors().into_iter().map(|error| ErrorReport {
            component: error.component,
            task: error.task,
            message: error.message,
            count: error.count,
            last_unix_ms: error.last_unix_ms,
            worker: None,
        });
        let latencies = latencies.into_iter().map(|(component, (execute, complete))| ComponentLatency {
            component,
            execute: Some(recorded(&execute)),
            complete: Some(recorded(&complete)),
            process: None,
        });
        WorkerReport {
            tasks: tasks.into_values().collect(),
            latencies: latencies.collect(),
            errors: errors.collect(),
            failure: crew.run.failure().map(|failure| failure.message).unwrap_or_default(),
            ..WorkerReport::default()
        }
    }
}

fn recorded(histogram: &Histogram) -> HistogramReport {
    let (values, counts) = histogram.recorded().into_iter().unzip();
    HistogramReport { values, counts }
}
