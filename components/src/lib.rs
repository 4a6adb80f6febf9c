//! Stock spouts and bolts, usable from YAML alone.
//!
//! Each is a struct that serde reads from its properties in YAML (unknown ones are errors) and that
//! implements one of the traits of `galerna-topology-api`. [`register`] names them all to a
//! [`Catalogue`], such as the registry of the `galerna` program. This crate must know nothing of
//! how YAML is read nor of how topologies run.
#![deny(missing_docs)]

mod bolts;
mod catalogue;
mod format;
#[cfg(test)]
mod harness;
mod lines;
mod spouts;

pub use bolts::{Console, CountBy, FileSink, Filter, Log, MapFields, Null, SplitWords, TestWordCounter, TopN};
pub use catalogue::{Catalogue, StockType, register};
pub use spouts::{ExecLines, FileLines, Generator, LineId, RandomWords, SocketLines, StdinLines, TestWords, Values};
