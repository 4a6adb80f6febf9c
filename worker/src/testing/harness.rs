//! One component without a cluster: a task of a bolt or of a spout, called by the test.

mod batch;
mod bolt;
mod bolt_host;
mod port;
mod rows;
mod spout;
mod spout_host;
mod task;

pub use bolt::{BoltHarness, Executed};
pub use spout::{Asked, SpoutHarness};
pub use spout_host::EmittedRow;
pub use task::TaskOptions;
