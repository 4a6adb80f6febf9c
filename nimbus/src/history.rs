//! What is remembered of a topology that has ended.

mod user;

use galerna_protocol::{ComponentStats, Latency};
use serde::{Deserialize, Serialize};

use self::user::EndedMetric;

/// How many of them are kept.
pub(crate) const LONGEST_HISTORY: usize = 100;

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
            user_metrics: stats.user_metrics.iter().filter_map(EndedMetric::of).collect(),
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
        }
    }
}
