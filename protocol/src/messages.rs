//! The generated messages and services, and the little that is added to them.

use std::fmt;

#[allow(clippy::all, unreachable_pub, missing_docs, reason = "generated")]
mod v1 {
    include!("generated/galerna.v1.rs");
}

pub use v1::*;

/// So many metrics of a kind are told of one component; those of its tasks may have different names.
pub const MOST_USER_METRICS: usize = 100;

impl WorkerId {
    /// The worker in this slot of this supervisor.
    pub fn new(supervisor: impl Into<String>, slot: u32) -> Self {
        Self { supervisor: supervisor.into(), slot }
    }
}

/// `node-1:6701`.
impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.supervisor, self.slot)
    }
}

impl TaskRange {
    /// The tasks from `first` to `last`, both included.
    pub fn new(first: u32, last: u32) -> Self {
        Self { first, last }
    }

    /// How many tasks it has.
    pub fn count(&self) -> u32 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// Its tasks.
    pub fn tasks(&self) -> std::ops::Range<u32> {
        self.first..self.last + 1
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.os, self.architecture, self.libc)
    }
}
