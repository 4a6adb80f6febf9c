//! The test kit: run a topology in a test function, on a clock that can be paused, and look at what
//! became of every tuple.
//!
//! ```
//! use galerna::prelude::*;
//! use galerna::testing::*;
//!
//! # const YAML: &str = "{name: words,
//! #   spouts: [{id: lines, className: stdin-lines}],
//! #   bolts: [{id: split, className: split-words, properties: {field: line}},
//! #     {id: count, className: count-by, properties: {fields: [word]}}],
//! #   streams: [{from: lines, to: split, grouping: {type: SHUFFLE}},
//! #     {from: split, to: count, grouping: {type: FIELDS, args: [word]}}]}";
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> TestResult {
//! let topology = Flux::parse(YAML).build(&Registry::stock())?;
//! let cluster = LocalCluster::new().mock_spout("lines", [values!["a b"], values!["b"]]);
//! let run = cluster.complete(topology).await?;
//! assert_same_tuples(run.emitted("count"), [values!["a", 1], values!["b", 2]]);
//! assert_eq!(run.spout("lines").acked(), 2);
//! # Ok(()) }
//! ```

pub use galerna_worker::testing::*;
