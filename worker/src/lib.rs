//! Runs the tasks of topologies: in one process, or in several workers that are linked.
mod summary;
pub use summary::{ComponentSummary, ErrorReport, Latency, RunFailure, RunStatus, RunSummary};
