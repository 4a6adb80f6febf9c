//! All metrics of a nimbus.

use galerna_coordination::metrics::Metric;

const TOPOLOGY: &[&str] = &["topology", "topology_id"];

pub(super) const IS_LEADER: Metric = Metric::gauge("galerna_nimbus_is_leader", "Whether this nimbus leads.", &[]);
pub(super) const LEADER_CHANGES: Metric = Metric::counter(
    "galerna_nimbus_leader_changes_total",
    "How often this nimbus has seen another leader than before.",
    &[],
);
pub(super) const ASSIGNMENT_CHANGES: Metric =
    Metric::counter("galerna_nimbus_assignment_changes_total", "Assignments that this nimbus has written.", &[]);
pub(super) const SCHEDULES: Metric =
    Metric::histogram("galerna_nimbus_schedule_seconds", "How long the scheduler took to make a plan.", &[]);
pub(super) const ROUNDS: Metric = Metric::histogram(
    "galerna_nimbus_reconcile_seconds",
    "How long the leader took to compare what is wanted with what is, and to write what followed.",
    &[],
);
pub(super) const CALLS: Metric = Metric::histogram(
    "galerna_nimbus_rpc_seconds",
    "How long a call took until its answer began; `code` is gRPC's, such as `ok` or `unavailable`.",
    &["method", "code"],
);
pub(super) const ARTIFACTS: Metric = Metric::gauge("galerna_nimbus_artifacts", "How many programs are kept here.", &[]);
pub(super) const ARTIFACT_BYTES: Metric =
    Metric::gauge("galerna_nimbus_artifact_bytes", "How much room the programs take that are kept here.", &[]);

pub(super) const MEMBERS: Metric = Metric::gauge("galerna_cluster_nimbuses", "How many nimbuses there are.", &[]);
pub(super) const SUPERVISORS: Metric = Metric::gauge(
    "galerna_cluster_supervisors",
    "How many supervisors are registered: `active`, or `leaving` and given no new work.",
    &["state"],
);
pub(super) const SLOTS: Metric = Metric::gauge(
    "galerna_cluster_slots",
    "The slots of registered supervisors: `used` ones have a worker, `free` ones can get one, `leaving` ones get none \
     any more.",
    &["state"],
);
pub(super) const TOPOLOGIES: Metric =
    Metric::gauge("galerna_cluster_topologies", "How many topologies have this status.", &["status"]);
pub(super) const HISTORY: Metric =
    Metric::gauge("galerna_cluster_history_topologies", "How many topologies that have ended are remembered.", &[]);
pub(super) const WORKERS_WANTED: Metric = Metric::gauge(
    "galerna_topology_workers_wanted",
    "How many workers the topology should have; 0 once it was killed or has finished.",
    TOPOLOGY,
);
pub(super) const WORKERS_ASSIGNED: Metric =
    Metric::gauge("galerna_topology_workers_assigned", "How many workers have a slot.", TOPOLOGY);
pub(super) const EXECUTORS_WANTED: Metric = Metric::gauge(
    "galerna_topology_executors_wanted",
    "How many executors the topology should have; 0 once it was killed or has finished.",
    TOPOLOGY,
);
pub(super) const EXECUTORS_ASSIGNED: Metric =
    Metric::gauge("galerna_topology_executors_assigned", "How many executors have a worker.", TOPOLOGY);
pub(super) const IS_SHORT: Metric = Metric::gauge(
    "galerna_topology_unplaced",
    "Whether the scheduler cannot give the topology all that it wants; `galerna describe` says why.",
    TOPOLOGY,
);
pub(super) const GENERATION: Metric = Metric::gauge(
    "galerna_topology_generation",
    "The version of the topology's assignment; it grows whenever something moves.",
    TOPOLOGY,
);

/// All of them, but for what all daemons have.
pub(super) const ALL: &[Metric] = &[
    IS_LEADER,
    LEADER_CHANGES,
    MEMBERS,
    SUPERVISORS,
    SLOTS,
    TOPOLOGIES,
    HISTORY,
    WORKERS_WANTED,
    WORKERS_ASSIGNED,
    EXECUTORS_WANTED,
    EXECUTORS_ASSIGNED,
    IS_SHORT,
    GENERATION,
    ASSIGNMENT_CHANGES,
    SCHEDULES,
    ROUNDS,
    CALLS,
    ARTIFACTS,
    ARTIFACT_BYTES,
];
