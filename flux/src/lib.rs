//! Flux: Storm's YAML for topologies, read strictly into a [`Topology`](galerna_topology_api::Topology).
//!
//! A program lists its spouts, bolts and other types in a [`Registry`]; a file names them and wires
//! them; [`Flux`] reads the file, makes every component once to see that it can be made, and answers
//! with a topology or with everything that is wrong, each thing at its line and column. Nothing is
//! run: the crate knows no runtime and no network.
//!
//! The way of a file: `parse` (text to nodes with places) → `substitute` (`${…}`) → `read` (nodes to
//! definitions) → `load` (includes) → `construct` (definitions to components, by serde) →
//! `assemble` (wired and validated). `resolved` writes what was read as a file again, without
//! anything left to resolve.
//!
//! # Why saphyr-parser
//! Messages about meaning need the place of every key and value, and whether a scalar was quoted.
//! `yaml_serde` keeps neither beyond its own errors; finding a place again by deserializing once
//! more along a path works for one error at a time, not for all of them, and sees nothing of
//! merges. `marked-yaml` has places, but takes no anchors and aliases. `saphyr-parser` is a small
//! pure-Rust YAML 1.2 parser, maintained, tested with the YAML test suite; it gives events with exact
//! places and is pulled, so that limits end the reading early.
#![deny(missing_docs)]

mod assemble;
mod construct;
mod definition;
mod diagnostic;
mod flux;
mod json_schema;
mod load;
mod node;
mod parse;
mod problems;
mod read;
mod registry;
mod resolved;
mod scalar;
mod shape;
mod source;
mod substitute;

pub use construct::Ref;
pub use diagnostic::{Diagnostic, FluxError, Severity};
pub use flux::{Flux, Loaded};
pub use json_schema::schema;
pub use registry::{PropertyInfo, Registry, TypeDoc, TypeInfo, TypeKind};
pub use resolved::AbsolutePath;
