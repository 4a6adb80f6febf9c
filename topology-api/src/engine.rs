//! What the runtime needs from components and nobody else does: batches, staging areas, type-erased
//! cells that run user code over whole batches, and the ports that user code reaches the runtime by.
//!
//! Authors of topologies do not need this module.

mod batch;
mod bolt_cell;
mod decisions;
mod port;
mod room;
mod spout_cell;
mod staging;

use std::future::Future;
use std::pin::Pin;

pub use crate::emitter::{auto_emitter, emitter};
pub use crate::held::{HeldEntry, HeldTable, NotHeld};
pub use crate::output_handle::{HeldDecision, OutputCommand, OutputRow};
pub use crate::printable::printable;
pub use batch::{Anchor, Batch, Root, Sender, Senders, TupleSource};
pub use bolt_cell::{BatchCell, BoltCall, BoltCell, BoltEvent, BoltFactory, Done, ErasedBolt, Flow};
pub(crate) use decisions::NO_ROW;
pub use decisions::{Decision, Decisions};
pub use port::{BoltHost, DeadLetter, SpoutHost, SpoutSettled, TaskPort};
pub use room::{HandedOver, Room};
pub use spout_cell::{ErasedSpout, Settled, SpoutCall, SpoutCell, SpoutFactory};
pub use staging::{HeldEvent, RowAnchors, Staged, StagedRow, Staging, Unstaged};

/// A boxed future, as the erased traits return them: one allocation a batch.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
