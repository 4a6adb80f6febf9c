//! The master of a Galerna cluster: takes topologies, schedules them, sees them through.

pub mod scheduler;
