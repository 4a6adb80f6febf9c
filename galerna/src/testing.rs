//! The test kit: run a topology in a test function, on a clock that can be paused, and look at what
//! became of every tuple.
//!
//! ```ignore
//! #[tokio::test(start_paused = true)]
//! async fn counts_every_word() -> TestResult {
//!     let topology = Flux::read("topology.yaml").build(&registry())?;
//!     let run = LocalCluster::new().mock_spout("lines", [values!["a b"], values!["b"]]).complete(topology).await?;
//!     assert_same_tuples(run.emitted("count"), [values!["a", 1], values!["b", 2]]);
//!     Ok(())
//! }
//! ```

pub use galerna_worker::testing::*;
