//! The master of a Galerna cluster: takes topologies, schedules them, sees them through.
//!
//! [`Nimbus`] is the daemon; whoever constructs it hands in the store and the listener. It must never
//! know how tuples flow: it deals with processes, slots and counts.

mod artifact;
mod blobs;
#[cfg(feature = "etcd")]
mod cli;
mod core;
mod counts;
mod daemon;
mod difference;
mod health;
mod history;
mod keeper;
mod leader;
mod metrics;
mod options;
mod rates;
mod reconcile;
mod reports;
mod rpc;
pub mod scheduler;
mod spec;
mod stats;
mod steps;
mod transfer;
mod view;
mod workers;

#[cfg(feature = "etcd")]
pub use cli::main;
pub use daemon::{Nimbus, StartError};
pub use metrics::metrics;
pub use options::Options;
