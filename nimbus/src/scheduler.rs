//! Decides which worker runs what: a pure function of what is there, what is wanted and what runs.

mod assignment;
mod plan;
mod view;
mod wire;

pub use assignment::{Assignment, Handover, clear_handovers, clear_handovers_from, executors_of, is_handover_needed};
pub use plan::{Decision, Plan, TopologyPlan};
pub use view::{ClusterView, ComponentView, SupervisorView, TopologyView};

/// What is to be done.
pub fn schedule(_view: &ClusterView) -> Plan {
    Plan::default()
}
