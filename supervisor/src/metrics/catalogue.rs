//! All metrics of a supervisor.

use galerna_coordination::metrics::Metric;

const TASK: &[&str] = &["topology", "topology_id", "component", "task"];
const STREAM: &[&str] = &["topology", "topology_id", "component", "task", "stream", "from"];
const COMPONENT: &[&str] = &["topology", "topology_id", "component"];
const WORKER: &[&str] = &["topology", "topology_id", "slot"];
const TOPOLOGY: &[&str] = &["topology", "topology_id"];

pub(super) const REGISTERED: Metric =
    Metric::gauge("galerna_supervisor_registered", "Whether the registration in the store surely holds.", &[]);
pub(super) const LEAVING: Metric =
    Metric::gauge("galerna_supervisor_leaving", "Whether it is about to go and gets no new work.", &[]);
pub(super) const SLOTS: Metric = Metric::gauge("galerna_supervisor_slots", "How many workers it runs at most.", &[]);
pub(super) const SLOTS_USED: Metric =
    Metric::gauge("galerna_supervisor_slots_used", "How many of its slots are assigned or have a worker.", &[]);
pub(super) const ARTIFACTS: Metric =
    Metric::gauge("galerna_supervisor_artifacts", "How many programs are kept here.", &[]);
pub(super) const ARTIFACT_BYTES: Metric =
    Metric::gauge("galerna_supervisor_artifact_bytes", "How much room the programs take that are kept here.", &[]);

pub(super) const EMITTED: Metric =
    Metric::counter("galerna_task_emitted_total", "Tuples that the task has emitted.", TASK);
pub(super) const EXECUTED: Metric =
    Metric::counter("galerna_task_executed_total", "Tuples that the task has executed.", TASK);
pub(super) const ACKED: Metric = Metric::counter(
    "galerna_task_acked_total",
    "Of a spout, tuples that were processed completely; of a bolt, tuples that it has acked.",
    TASK,
);
pub(super) const FAILED: Metric = Metric::counter(
    "galerna_task_failed_total",
    "Of a spout, tuples that failed or ran out of time somewhere; of a bolt, tuples that it has failed.",
    TASK,
);
pub(super) const REPLAYED: Metric =
    Metric::counter("galerna_task_replayed_total", "Tuples that the spout has emitted again.", TASK);
pub(super) const GAVE_UP: Metric =
    Metric::counter("galerna_task_gave_up_total", "Tuples that the spout has given up after too many attempts.", TASK);
pub(super) const RETRYING: Metric =
    Metric::gauge("galerna_task_retrying", "Tuples of the spout that have failed and are emitted again.", TASK);
pub(super) const RETRYING_SECONDS: Metric = Metric::gauge(
    "galerna_task_retrying_seconds",
    "How long the tuple that has failed for longest has been retried; 0 if none is.",
    TASK,
);
pub(super) const RESTARTS: Metric =
    Metric::counter("galerna_task_restarts_total", "How often the task was made anew after a panic.", TASK);
pub(super) const ERRORS: Metric = Metric::counter("galerna_task_errors_total", "Errors of the task.", TASK);
pub(super) const BLOCKED: Metric = Metric::counter(
    "galerna_task_blocked_seconds_total",
    "How long the task has waited for room at those it sends to.",
    TASK,
);
pub(super) const UP: Metric =
    Metric::gauge("galerna_task_up", "Whether the task runs here; 0 once it runs elsewhere or nowhere.", TASK);
pub(super) const PENDING: Metric = Metric::gauge(
    "galerna_task_pending",
    "Of a spout, tuples that are under way in the topology; of a bolt, tuples that it keeps.",
    TASK,
);
pub(super) const QUEUED: Metric =
    Metric::gauge("galerna_task_queued", "Tuples that have arrived at the bolt and wait to be executed.", TASK);
pub(super) const QUEUE_CAPACITY: Metric =
    Metric::gauge("galerna_task_queue_capacity", "How many tuples may be under way to the bolt.", TASK);

pub(super) const STREAM_EMITTED: Metric = Metric::counter(
    "galerna_stream_emitted_total",
    "Tuples that the task has emitted on a stream of its own; `from` is empty.",
    STREAM,
);
pub(super) const STREAM_EXECUTED: Metric = Metric::counter(
    "galerna_stream_executed_total",
    "Tuples of that stream of `from` that the task has executed.",
    STREAM,
);
pub(super) const STREAM_ACKED: Metric = Metric::counter(
    "galerna_stream_acked_total",
    "Of a spout, tuples of its stream that were processed completely; of a bolt, tuples of the stream of `from` \
     that it has acked.",
    STREAM,
);
pub(super) const STREAM_FAILED: Metric = Metric::counter(
    "galerna_stream_failed_total",
    "Of a spout, tuples of its stream that failed or ran out of time; of a bolt, tuples of the stream of `from` \
     that it has failed.",
    STREAM,
);

pub(super) const EXECUTE: Metric = Metric::histogram(
    "galerna_component_execute_seconds",
    "How long the bolt's calls of `execute` took; one of each batch is timed.",
    COMPONENT,
);
pub(super) const PROCESS: Metric = Metric::histogram(
    "galerna_component_process_seconds",
    "How long it took from the bolt's call of `execute` to the ack.",
    COMPONENT,
);
pub(super) const COMPLETE: Metric = Metric::histogram(
    "galerna_component_complete_seconds",
    "How long it took from the departure of the spout's tuple until it was processed completely.",
    COMPONENT,
);

pub(super) const STATE: Metric = Metric::gauge(
    "galerna_worker_state",
    "Always 1; `state` is `starting`, `running`, `finished`, `drained`, `not_responding` where the worker sends no \
     heartbeat, or `absent` where a worker is wanted and none is.",
    &["topology", "topology_id", "slot", "state"],
);
pub(super) const STARTED: Metric =
    Metric::gauge("galerna_worker_start_time_seconds", "When the worker was launched, in seconds since 1970.", WORKER);
pub(super) const MEMORY: Metric =
    Metric::gauge("galerna_worker_resident_memory_bytes", "The memory that the worker's process holds.", WORKER);
pub(super) const LAUNCHES: Metric = Metric::counter(
    "galerna_worker_launches_total",
    "How often a worker of the topology was launched since the daemon started.",
    TOPOLOGY,
);
pub(super) const WORKER_RESTARTS: Metric = Metric::counter(
    "galerna_worker_restarts_total",
    "How often the worker's process ended though nobody had ordered it.",
    WORKER,
);
pub(super) const FAILED_LAUNCHES: Metric = Metric::gauge(
    "galerna_worker_failed_launches",
    "How often in a row the worker did not stay up; told from the third time on, until it does.",
    WORKER,
);
pub(super) const FENCED: Metric = Metric::counter(
    "galerna_worker_fenced_batches_total",
    "Batches that workers have dropped because they came from a worker that was replaced, or were for a task that runs elsewhere now.",
    TOPOLOGY,
);

/// All of them, but for what all daemons have.
pub(super) const ALL: &[Metric] = &[
    EMITTED,
    EXECUTED,
    ACKED,
    FAILED,
    REPLAYED,
    GAVE_UP,
    RETRYING,
    RETRYING_SECONDS,
    RESTARTS,
    ERRORS,
    BLOCKED,
    UP,
    PENDING,
    QUEUED,
    QUEUE_CAPACITY,
    STREAM_EMITTED,
    STREAM_EXECUTED,
    STREAM_ACKED,
    STREAM_FAILED,
    EXECUTE,
    PROCESS,
    COMPLETE,
    STATE,
    STARTED,
    MEMORY,
    LAUNCHES,
    WORKER_RESTARTS,
    FAILED_LAUNCHES,
    FENCED,
    REGISTERED,
    LEAVING,
    SLOTS,
    SLOTS_USED,
    ARTIFACTS,
    ARTIFACT_BYTES,
];
