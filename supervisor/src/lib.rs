//! The node daemon of a Galerna cluster: runs the workers that it is assigned.
//!
//! It watches what the store wants of its slots, gets the executables, launches workers and launches
//! them again, tells them their plans, keeps their last reports, and tells Nimbus. It does not schedule
//! and knows nothing of tuples. Workers outlive it: a restarted daemon adopts those that it finds.

mod artifacts;
#[cfg(feature = "etcd")]
mod cli;
mod daemon;
mod decide;
mod error;
mod files;
mod health;
mod keeper;
mod launcher;
mod leaving;
mod liveness;
mod logs;
mod machine;
mod memory;
mod metrics;
mod options;
mod records;
mod registration;
mod reporting;
mod reports;
mod restarts;
mod service;
mod shared;
mod size;
mod view;

#[cfg(feature = "etcd")]
pub use cli::main;
pub use daemon::Supervisor;
pub use error::StartError;
pub use launcher::{Control, Exit, Identity, Launch, Launcher, Process, Processes};
pub use metrics::metrics;
pub use options::{Options, WorkerMemory};
