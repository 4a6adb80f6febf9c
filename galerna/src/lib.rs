//! Build topologies in Rust and YAML, run them in one process, test them.
//!
//! Galerna is a distributed topology runtime in the manner of Storm: *spouts* take tuples in from
//! the outside, *bolts* work on them, and a YAML file says which is wired to which. This crate is
//! all that a topology program depends on: the traits to implement ([`prelude`]), the registry of
//! what YAML may name, the test kit (`testing`, behind the feature of that name) and the command
//! line ([`main()`]).
//!
//! ```no_run
//! use galerna::prelude::*;
//!
//! /// The YAML's `properties`.
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Split {
//!     field: String,
//! }
//!
//! impl Bolt for Split {
//!     fn output(&self) -> Streams {
//!         Streams::default_fields(["word"])
//!     }
//!
//!     async fn execute(&mut self, line: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
//!         for word in line.str(&self.field)?.split_whitespace() {
//!             out.emit(values![word]);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     galerna::main(Registry::stock().bolt::<Split>("split"))
//! }
//! ```
//!
//! It knows how to call the other crates and what to tell people. It runs nothing itself.
#![deny(missing_docs)]

pub mod cli;
#[cfg(doctest)]
mod guide;
pub mod prelude;
mod stock;
#[cfg(feature = "testing")]
pub mod testing;

pub use cli::main;
pub use galerna_flux as flux;
pub use galerna_topology_api as topology_api;
pub use galerna_worker as worker;
pub use serde;
pub use stock::Stock;
