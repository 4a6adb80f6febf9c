//! What the scheduler is told: who offers room, who wants it, and what runs where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Assignment;

/// The facts of one decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterView {
    /// The supervisors that count as alive, by id. One that is not listed is lost, and what it ran too.
    pub supervisors: BTreeMap<String, SupervisorView>,
    /// All topologies that hold or want slots, by id.
    pub topologies: BTreeMap<String, TopologyView>,
}

/// What a supervisor offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SupervisorView {
    /// The numbers of its slots, those in use included.
    pub slots: Vec<u32>,
    /// Points of CPU in all (100 are a core); 0 sets no limit.
    pub cpu: f64,
    /// Mebibytes of memory in all; 0 sets no limit.
    pub memory_mb: f64,
    /// Whether it can get anything new.
    pub accepts_new_work: bool,
    /// Whether it is about to go: it gets nothing new, and what it runs is moved away.
    pub is_leaving: bool,
}

/// What a topology wants, and what it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TopologyView {
    /// When it was submitted: earlier ones are served first, then by id.
    pub submitted_unix_ms: i64,
    /// Its components, in its own order.
    pub components: Vec<ComponentView>,
    /// How many workers it asks for.
    pub workers: u32,
    /// What it runs on now, if anything.
    pub assignment: Option<Assignment>,
    /// Supervisors where its workers failed to start again and again.
    pub avoid: BTreeSet<String>,
    /// The supervisors whose platform fits its artifact; `None` if all do.
    pub allowed: Option<Arc<BTreeSet<String>>>,
    /// Whether the wanted workers and executors are to be put into effect now. It may stay set until a
    /// plan says [`Decision::Unchanged`](super::Decision) while no handovers are pending.
    pub is_rebalance_wanted: bool,
    /// Whether it is killed or has finished: it holds its slots, and nothing of it is moved or placed.
    pub is_ending: bool,
}

/// A component of a topology.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ComponentView {
    /// Its first task.
    pub first_task: u32,
    /// How many tasks it has.
    pub tasks: u32,
    /// How many executors it asks for; at least 1 and at most `tasks` are made of it.
    pub executors: u32,
    /// Points of CPU that each task asks for; 0 if it does not say.
    pub cpu: f64,
    /// Mebibytes that each task asks for; 0 if it does not say.
    pub memory_mb: f64,
}
