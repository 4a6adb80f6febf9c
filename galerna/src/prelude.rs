//! What a topology program imports: `use galerna::prelude::*;`.

pub use std::process::ExitCode;

pub use galerna_flux::{Flux, Registry};
pub use galerna_topology_api::{
    BatchBolt, BatchEmitter, Bolt, BoltResult, Boundedness, CustomGrouping, CustomGroupingFactory, DeadLetters,
    Emitter, Error, Failed, Failure, Fields, Grouping, GroupingContext, HeldId, HeldRef, HeldTuple, ManualBolt,
    ManualEmitter, Next, OnGiveUp, OutputClosed, OutputCommand, OutputGuard, OutputHandle, Result, Retries,
    RetryBuffer, RetryPolicy, Spout, SpoutEmitter, Streams, TaskHook, TaskId, Timestamp, Topology, TopologyBuilder,
    TopologyConfig, TopologyContext, Tuple, TupleBatch, Value, WorkerHook, values,
};
pub use serde::{Deserialize, Serialize};

pub use crate::stock::Stock;
