//! What the scheduler answers.

use std::collections::BTreeMap;

use super::Assignment;

/// What is to be done, for every topology of the view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By id.
    pub topologies: BTreeMap<String, TopologyPlan>,
}

/// What is to be done about one topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyPlan {
    /// What.
    pub decision: Decision,
    /// What it wants and does not get, why, and what would help; for people.
    pub shortfall: Option<String>,
}

/// What becomes of an assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays as it is, or waits where it was.
    Unchanged,
    /// It is replaced by this one, the next generation.
    Assign(Assignment),
    /// There is none, and no room for one; the shortfall says why.
    Unplaced,
}
