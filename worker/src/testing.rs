//! The test kit: run a topology inside a test function, on a clock that may be paused.
//!
//! ```
//! use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, TopologyBuilder, Tuple, values};
//! use galerna_worker::testing::*;
//!
//! struct Shout;
//! impl Bolt for Shout {
//!     fn output(&self) -> Streams { Streams::default_fields(["word"]) }
//!     async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
//!         out.emit(values![format!("{}!", tuple.str("word")?)]);
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> TestResult {
//! let mut builder = TopologyBuilder::new("shouting");
//! builder.spout("words", || MockSpout::new(["word"], [values!["a"], values!["b"]]));
//! builder.bolt("shout", || Shout).shuffle("words");
//! let run = LocalCluster::new().complete(builder.build()?).await?;
//! assert_same_tuples(run.emitted("shout"), [values!["a!"], values!["b!"]]);
//! assert_eq!(run.spout("words").acked(), 2);
//! # Ok(()) }
//! ```

mod cluster;
mod compare;
mod feeder;
mod frames;
mod harness;
mod mock;
mod ready;

pub use cluster::{Completed, LocalCluster, RunFailed, RunningCluster, SpoutCounts};
pub use compare::assert_same_tuples;
pub use feeder::Feeder;
#[doc(hidden)]
pub use frames::decode_frame;
pub use harness::{Asked, BoltHarness, EmittedRow, Executed, SpoutHarness, TaskOptions};
pub use mock::MockSpout;
pub use ready::check_ready_is_cancel_safe;

/// What test functions return, so that `?` works on any error.
pub type TestResult<T = ()> = galerna_topology_api::Result<T>;
