//! What the author of a topology writes against: values, tuples, spouts, bolts, groupings and the
//! builder that wires them into a validated [`Topology`].
//!
//! Authors usually meet this crate through the `galerna` façade. Everything here is data, traits
//! and pure decisions: the crate knows no runtime, no network and no serialization format, so that
//! a component can be written, constructed and validated without running anything. What the
//! runtime needs from components stands apart in [`engine`].
#![deny(missing_docs)]

mod batch_bolt;
mod bolt;
mod builder;
mod config;
mod context;
mod emitter;
pub mod engine;
mod error;
mod failure;
mod fields;
mod grouping;
mod held;
mod hooks;
pub mod human;
mod metrics;
mod output_handle;
mod printable;
mod resources;
mod retry;
mod spout;
mod spout_emitter;
mod suggest;
mod tasks;
mod topology;
mod tuple;
mod validate;
mod value;
mod wiring;

pub use batch_bolt::{BatchBolt, TupleBatch};
pub use bolt::{Bolt, BoltResult, ManualBolt};
pub use builder::{BoltDeclarer, SpoutDeclarer, TopologyBuilder};
pub use config::{ConfigKey, ConfigProblem, KeyStatus, TopologyConfig};
pub use context::{ComponentInfo, TopologyContext, TopologyInfo};
pub use emitter::{BatchEmitter, EmitError, Emitter, ManualEmitter, Row};
pub use error::{Error, Result};
pub use failure::Failure;
pub use fields::{DEFAULT_STREAM, Fields, StreamSpec, Streams};
pub use grouping::{CustomGrouping, CustomGroupingFactory, Grouping, GroupingContext};
pub use held::{HeldId, HeldTuple};
pub use hooks::{ExecuteInfo, TaskHook, WorkerHook};
pub use metrics::{Counter, Gauge, Histogram, MOST_METRICS, Metrics, MetricsSnapshot};
pub use output_handle::{HeldRef, OutputClosed, OutputCommand, OutputGuard, OutputHandle};
pub use resources::Resources;
pub use retry::{
    Bound, Boundedness, DeadLetters, Failed, OnGiveUp, PolicyError, Retries, RetryBuffer, RetryPolicy, Retrying,
};
pub use spout::{Next, Spout};
pub use spout_emitter::SpoutEmitter;
pub use suggest::nearest;
pub use tasks::{TaskId, tasks_of_executors};
pub use topology::{Component, ComponentKind, Input, ResourceLoad, Topology};
pub use tuple::{FieldError, FieldKey, Tuple};
pub use validate::{InvalidTopology, Problem, Subject};
pub use value::{RowError, Timestamp, Value, ValueKind, from_value, to_value};
pub use wiring::{WiredInput, Wiring};
