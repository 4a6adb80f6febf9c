//! What a run came to: counts per component, latencies, errors. Serializes to the JSON that
//! `galerna local --output json` prints.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Its tasks run.
    Running,
    /// All input was processed.
    Finished,
    /// It was stopped before its input ended.
    Stopped,
    /// It could not go on, gave tuples up, or its last words were lost.
    Failed,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFailure {
    /// A word for scripts: `start_failed`, `fatal`, `gave_up`, `finish_failed`, `tuples_failed`, `aborted`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// A run's counts, live or final.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The topology's name.
    pub topology: String,
    /// How it stands.
    pub status: RunStatus,
    /// Time since it was started.
    #[serde(rename = "duration_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// Tuples that the spouts emitted, a second.
    pub tuples_per_second: f64,
    /// From the departure of a spout's batch to the ack of a tuple in it; absent without acks.
    pub complete_latency_us: Option<Latency>,
    /// Each component, in the order of the topology's definition.
    pub components: Vec<ComponentSummary>,
    /// The errors by component and kind, causes before what follows from them, the latest first.
    #[serde(rename = "recent_errors")]
    pub errors: Vec<ErrorReport>,
    /// Why it failed, if it did.
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    pub failure: Option<RunFailure>,
}

/// The counts of one component.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ComponentSummary {
    /// Its id.
    pub id: String,
    /// `spout` or `bolt`.
    pub kind: &'static str,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many executors run them.
    pub executors: u32,
    /// Tuples that it emitted; one emit counts once, to however many tasks it goes.
    pub emitted: u64,
    /// Tuples that it executed.
    pub executed: u64,
    /// For a bolt, tuples that it acked; for a spout, trees that were completed.
    pub acked: u64,
    /// For a bolt, tuples that it failed; for a spout, trees that failed or timed out.
    pub failed: u64,
    /// Tuples that a reliable spout emitted again.
    pub replayed: u64,
    /// Tuples that a reliable spout did not try again.
    pub gave_up: u64,
    /// How often tasks were made anew after a panic.
    pub restarts: u64,
    /// Errors that were reported, equal ones counted each time.
    pub errors: u64,
    /// Of a spout: trees that are open.
    pub pending: u64,
    /// Of a reliable spout: the tuples that have failed and are emitted again, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrying: Option<RetryingSummary>,
    /// Of one execute (or one `next`) per batch; absent before the first.
    pub execute_latency_us: Option<Latency>,
    /// Of a spout's trees, from the departure of their batch; absent without acks.
    pub complete_latency_us: Option<Latency>,
    /// Counters that the component keeps by name, summed over its tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
}

/// Tuples of a reliable spout that have failed and are neither acked nor given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetryingSummary {
    /// How many they are.
    pub tuples: u64,
    /// Time since the first of them failed first.
    #[serde(rename = "for_ms", serialize_with = "as_millis")]
    pub duration: Duration,
    /// Why this tuple failed last, with the component that failed it.
    pub reason: String,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half were faster.
    pub p50: f64,
    /// All but one in a hundred were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// Errors of one component that differ in values alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The component.
    pub component: String,
    /// The task that reported it last.
    pub task: u32,
    /// The message of the first error of this kind: its values are a sample.
    pub message: String,
    /// How often errors of this kind came.
    pub count: u64,
    /// The message with placeholders for values: errors of one component and kind are counted together.
    #[serde(skip)]
    pub kind: String,
    /// Whether the error only follows from others, as a tuple that was given up follows from its failures.
    #[serde(skip)]
    pub is_consequence: bool,
    /// When the first error of this kind came.
    #[serde(skip)]
    pub first_unix_ms: i64,
    /// When the latest one came.
    #[serde(skip)]
    pub last_unix_ms: i64,
}

fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}
