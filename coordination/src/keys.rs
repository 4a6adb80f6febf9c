//! The layout of keys, here and nowhere else. Values are JSON.
//!
//! | key under `/galerna/<cluster>/` | value | writer |
//! |---|---|---|
//! | `nimbus/leader` | [`Leader`], with a lease | the leading Nimbus |
//! | `nimbus/members/<id>` | [`Member`], with a lease | each Nimbus |
//! | `supervisors/<id>` | [`Registration`], with a lease | that supervisor |
//! | `topologies/<id>/spec` | `TopologySpec` | the leader |
//! | `topologies/<id>/desired` | [`Desired`] | the leader |
//! | `names/<name>` | the id of the living topology of that name | the leader |
//! | `assignments/<id>` | `Assignment` | the leader |
//! | `history/<id>` | what ended and how, with final counts | the leader |

use std::collections::BTreeMap;

use galerna_protocol::Platform;
use serde::{Deserialize, Serialize};

/// Whether clusters and daemons may be called that: it can stand in a key, and be the name of a folder.
pub fn is_name(name: &str) -> bool {
    name.len() <= 200
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|one| one.is_ascii_alphanumeric() || "_.-".contains(one))
}

/// Makes the keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys of the cluster of this name.
    pub fn new(cluster: &str) -> Self {
        Self { root: format!("/galerna/{cluster}/") }
    }

    /// What all keys begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Whose key this is: the leader's.
    pub fn leader(&self) -> String {
        format!("{}nimbus/leader", self.root)
    }

    /// The prefix of all Nimbus daemons.
    pub fn members(&self) -> String {
        format!("{}nimbus/members/", self.root)
    }

    /// A Nimbus daemon.
    pub fn member(&self, id: &str) -> String {
        format!("{}{id}", self.members())
    }

    /// The prefix of all supervisors.
    pub fn supervisors(&self) -> String {
        format!("{}supervisors/", self.root)
    }

    /// A supervisor.
    pub fn supervisor(&self, id: &str) -> String {
        format!("{}{id}", self.supervisors())
    }

    /// The prefix of all topologies.
    pub fn topologies(&self) -> String {
        format!("{}topologies/", self.root)
    }

    /// What was submitted.
    pub fn spec(&self, topology: &str) -> String {
        format!("{}{topology}/spec", self.topologies())
    }

    /// What is wanted of a topology.
    pub fn desired(&self, topology: &str) -> String {
        format!("{}{topology}/desired", self.topologies())
    }

    /// The prefix of all names.
    pub fn names(&self) -> String {
        format!("{}names/", self.root)
    }

    /// Who has a name.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.names())
    }

    /// The prefix of all assignments.
    pub fn assignments(&self) -> String {
        format!("{}assignments/", self.root)
    }

    /// A topology's assignment.
    pub fn assignment(&self, topology: &str) -> String {
        format!("{}{topology}", self.assignments())
    }

    /// The prefix of all that has ended.
    pub fn history(&self) -> String {
        format!("{}history/", self.root)
    }

    /// What has ended.
    pub fn ended(&self, topology: &str) -> String {
        format!("{}{topology}", self.history())
    }
}

/// Who leads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leader {
    /// Its id.
    pub id: String,
    /// `host:port` of its RPC.
    pub address: String,
}

/// A Nimbus that lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// `host:port` of its RPC.
    pub address: String,
}

/// A supervisor that lives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// The host that others reach it at.
    pub host: String,
    /// The port of its RPC.
    pub port: u16,
    /// The numbers of its slots.
    pub slots: Vec<u32>,
    /// Points of CPU (100 are a core).
    pub cpu: f64,
    /// Mebibytes of memory.
    pub memory_mb: f64,
    /// What it runs.
    pub platform: Platform,
    /// Tells this start of the daemon from others of its name.
    pub session: String,
    /// When it started.
    pub started_unix_ms: i64,
    /// Whether it is about to go: it must get no new work, and what it has is moved away.
    pub is_leaving: bool,
    /// If it is about to go: when it goes, with what is still there.
    pub leave_by_unix_ms: i64,
    /// Tells its disks apart: on a new one it knows nothing of what it has run before.
    pub disk: String,
}

impl Registration {
    /// `host:port` of its RPC.
    pub fn address(&self) -> String {
        galerna_protocol::host_port(&self.host, self.port)
    }
}

/// How a topology stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Its spouts emit.
    #[default]
    Active,
    /// Its spouts emit nothing.
    Inactive,
    /// It comes to its end and is removed then.
    Killed,
    /// Its input has ended, and everything is processed.
    Finished,
}

/// What is wanted of a topology.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desired {
    /// How it is to stand.
    pub status: Status,
    /// When it was submitted.
    pub submitted_unix_ms: i64,
    /// How many workers it asks for.
    pub workers: u32,
    /// How many executors each component has, where that was changed.
    pub executors: BTreeMap<String, u32>,
    /// Killed: when its workers are ended though they have not drained.
    pub kill_deadline_unix_ms: i64,
    /// Being rebalanced: when tasks that have not drained are moved the hard way.
    pub rebalance_deadline_unix_ms: Option<i64>,
    /// Finished: why that was no good end, if so.
    pub failure: String,
    /// The supervisors that have ever run it, with the disk that each has counted on: its counts are
    /// exact while all of them report.
    pub ran_on: BTreeMap<String, String>,
    /// Whether what a supervisor had counted is lost.
    pub has_lost_counts: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_out_of_a_folder_are_not_taken() {
        for good in ["word-count-17", "a.b_C-1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a\\b", "-a", "a b", "é", &"a".repeat(201)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
