//! What is remembered of a topology that has ended.

mod user;

use std::collections::BTreeSet;

use galerna_protocol::{AssignedWorker, ComponentStats, ErrorReport, Latency, TopologySummary, WorkerId, WorkerReport};
use serde::{Deserialize, Serialize};

use self::user::EndedMetric;

/// How many of them are kept.
pub(crate) const LONGEST_HISTORY: usize = 100;
/// So many errors of each are kept.
const MOST_ERRORS: usize = 20;
/// The bytes of an error's message that are kept.
const LONGEST_MESSAGE: usize = 500;
/// So many metrics of each component are kept: the record must fit into a value of the store.
const MOST_METRICS: usize = 20;
/// So many of its workers are kept.
const MOST_WORKERS: usize = 500;

/// What ended, how, and its final counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Ended {
    pub(crate) name: String,
    /// `FINISHED` or `KILLED`.
    pub(crate) status: String,
    pub(crate) submitted_unix_ms: i64,
    pub(crate) ended_unix_ms: i64,
    /// Of its last assignment.
    pub(crate) generation: u64,
    /// Why that was no good end, if so.
    pub(crate) failure: String,
    pub(crate) are_counts_exact: bool,
    pub(crate) components: Vec<EndedComponent>,
    pub(crate) owner: String,
    /// The workers that ran it, for as long as their supervisors keep logs.
    pub(crate) workers: Vec<WorkerId>,
    /// The latest errors, with long messages cut off.
    pub(crate) errors: Vec<ErrorReport>,
}

impl Ended {
    /// As `list` and `describe` show it.
    pub(crate) fn summary(&self, id: &str) -> TopologySummary {
        let time = u64::try_from(self.ended_unix_ms.saturating_sub(self.submitted_unix_ms)).unwrap_or(0);
        TopologySummary {
            name: self.name.clone(),
            id: id.to_owned(),
            status: self.status.clone(),
            tasks: self.components.iter().map(|component| component.tasks).sum(),
            executors: self.components.iter().map(|component| component.executors).sum(),
            uptime_secs: if self.submitted_unix_ms > 0 { time / 1000 } else { 0 },
            owner: self.owner.clone(),
            ..TopologySummary::default()
        }
    }
}

/// The workers that have reported or are assigned, each once.
pub(crate) fn kept_workers<'a>(
    reports: impl Iterator<Item = &'a WorkerReport>,
    assigned: impl Iterator<Item = &'a AssignedWorker>,
) -> Vec<WorkerId> {
    let reported = reports.filter_map(|report| report.id.as_ref());
    let workers: BTreeSet<&WorkerId> = reported.chain(assigned.filter_map(|worker| worker.id.as_ref())).collect();
    workers.into_iter().take(MOST_WORKERS).cloned().collect()
}

/// As many of these errors, and as much of their messages, as the store keeps.
pub(crate) fn kept_errors(mut errors: Vec<ErrorReport>) -> Vec<ErrorReport> {
    errors.truncate(MOST_ERRORS);
    for error in &mut errors {
        if error.message.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE).rev().find(|end| error.message.is_char_boundary(*end));
            error.message.truncate(end.unwrap_or(0));
            error.message.push('…');
        }
    }
    errors
}

/// The final counts of a component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct EndedComponent {
    id: String,
    kind: String,
    tasks: u32,
    executors: u32,
    emitted: u64,
    executed: u64,
    acked: u64,
    failed: u64,
    replayed: u64,
    gave_up: u64,
    restarts: u64,
    errors: u64,
    execute_latency: Option<EndedLatency>,
    complete_latency: Option<EndedLatency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_metrics: Vec<EndedMetric>,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct EndedLatency {
    p50: f64,
    p99: f64,
    max: f64,
}

impl From<&ComponentStats> for EndedComponent {
    fn from(stats: &ComponentStats) -> Self {
        let latency = |latency: &Option<Latency>| {
            latency.as_ref().map(|latency| EndedLatency { p50: latency.p50, p99: latency.p99, max: latency.max })
        };
        Self {
            id: stats.id.clone(),
            kind: stats.kind.clone(),
            tasks: stats.tasks,
            executors: stats.executors,
            emitted: stats.emitted,
            executed: stats.executed,
            acked: stats.acked,
            failed: stats.failed,
            replayed: stats.replayed,
            gave_up: stats.gave_up,
            restarts: stats.restarts,
            errors: stats.errors,
            execute_latency: latency(&stats.execute_latency),
            complete_latency: latency(&stats.complete_latency),
            user_metrics: stats.user_metrics.iter().filter_map(EndedMetric::of).take(MOST_METRICS).collect(),
        }
    }
}

impl From<&EndedComponent> for ComponentStats {
    fn from(ended: &EndedComponent) -> Self {
        let latency = |latency: Option<EndedLatency>| {
            latency.map(|latency| Latency { p50: latency.p50, p99: latency.p99, max: latency.max })
        };
        Self {
            id: ended.id.clone(),
            kind: ended.kind.clone(),
            tasks: ended.tasks,
            executors: ended.executors,
            emitted: ended.emitted,
            executed: ended.executed,
            acked: ended.acked,
            failed: ended.failed,
            replayed: ended.replayed,
            gave_up: ended.gave_up,
            restarts: ended.restarts,
            errors: ended.errors,
            execute_latency: latency(ended.execute_latency),
            complete_latency: latency(ended.complete_latency),
            user_metrics: ended.user_metrics.iter().map(Into::into).collect(),
            // Nothing of an ended topology is retried, and it has no rates.
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keeps_the_latest_errors_and_the_beginning_of_long_messages() {
        let error = |message: &str| ErrorReport { message: message.into(), ..Default::default() };
        let errors = kept_errors((0..30).map(|number| error(&format!("{number} {}", "ü".repeat(300)))).collect());
        assert_eq!(errors.len(), MOST_ERRORS);
        assert!(errors.iter().all(|error| error.message.len() <= LONGEST_MESSAGE + 3), "{errors:?}");
        assert!(errors[19].message.starts_with("19 ü") && errors[19].message.ends_with("ü…"), "{errors:?}");
        assert_eq!(kept_errors(vec![error("short")]), [error("short")]);
    }

    #[test]
    fn record_of_an_earlier_version_can_be_read() {
        let ended: Ended = serde_json::from_str(r#"{"name":"words","status":"KILLED"}"#).expect("it is read");
        assert_eq!((ended.workers.len(), ended.errors.len(), ended.summary("words-1").uptime_secs), (0, 0, 0));
    }
}
