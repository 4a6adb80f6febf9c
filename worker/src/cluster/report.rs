//! What a worker tells of itself: counts of all tasks that it has run, latencies, errors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_protocol::{ErrorReport, WorkerReport};
use galerna_topology_api::TaskId;
use smol_str::SmolStr;

use crate::crew::Crew;
use crate::stats::{Counted, TaskStats, report};
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

    /// With whether they run now.
    fn all(&self) -> Vec<(TaskId, Arc<TaskStats>, bool)> {
        let past = self.past.iter().map(|(task, stats)| (*task, stats.clone(), false));
        let current = self.current();
        past.chain(current.values().map(|(_, task, stats)| (*task, stats.clone(), true))).collect()
    }

    /// Counts, latencies and errors; `running` are the tasks that run now, and since when.
    pub(super) fn report(&self, crew: &Crew, running: &[(TaskId, i64)]) -> WorkerReport {
        let Counted { mut tasks, latencies, user_histograms } = report(&crew.topology, crew.run.clock, self.all());
        for (task, started) in running {
            if let Ok(place) = tasks.binary_search_by_key(task, |report| report.task) {
                tasks[place].started_unix_ms = *started;
            }
        }
        let errors = crew.run.errors().into_iter().map(|error| ErrorReport {
            component: error.component,
            task: error.task,
            message: error.message,
            count: error.count,
            last_unix_ms: error.last_unix_ms,
            worker: None,
            kind: error.kind,
            is_consequence: error.is_consequence,
            first_unix_ms: error.first_unix_ms,
        });
        WorkerReport {
            tasks,
            latencies,
            user_histograms,
            errors: errors.collect(),
            uptime_ms: crew.run.clock.now().as_millis() as u64,
            failure: crew.run.failure().map(|failure| failure.message).unwrap_or_default(),
            ..WorkerReport::default()
        }
    }
}
