//! Runs the tasks of topologies: in one process, or in several workers that are linked.
//!
//! Whoever launches a topology hands it to a [`LocalRun`]; tests use the kit of the feature `testing`. Inside,
//! each task is a loop over its inbox (`task`), what it sends is dealt and batched by its `outbox`,
//! trees are tracked by the `ledger` of the spout task that opened them. The crate knows no store
//! and no scheduler: it runs what it is given.

mod acks;
mod clock;
mod cluster;
mod credit;
mod crew;
mod dead_letters;
mod edges;
mod exchange;
mod graph;
mod in_flight_limit;
mod inbox;
mod lane;
mod ledger;
mod link;
mod local;
mod message;
mod outbox;
mod output;
mod panics;
mod parcel;
mod plan;
mod port;
mod random;
mod routing;
mod run;
mod run_queue;
mod runtimes;
mod stats;
mod summary;
mod tap;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod watchdog;
mod wire;

pub use clock::WallClock;
pub use cluster::process;
pub use local::{LocalOptions, LocalRun, StartError};
pub use summary::{ComponentSummary, ErrorReport, Latency, RetryingSummary, RunFailure, RunStatus, RunSummary};
