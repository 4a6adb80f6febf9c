//! What crosses the links between workers, and the links within one process.
//!
//! In one process a link is a queue and a task that encodes and decodes every frame, so that
//! several workers in a test exchange exactly what they would over a network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use galerna_protocol::WorkerId;
use galerna_topology_api::TaskId;
use galerna_topology_api::engine::{Batch, TupleSource};
use tokio::sync::mpsc;

use crate::acks::AckBatch;
use crate::credit::Progress;
use crate::edges::Marker;
use crate::exchange::Exchange;
use crate::message::{Delivery, Message};
use crate::wire;

/// What crosses a link.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Tuples, what they weigh, and how much may be under way between the two tasks.
    Data { batch: Batch, weight: usize, limit: u32 },
    /// A statement about the edge between two tasks.
    Marker { from: TaskId, to: TaskId, marker: Marker },
    /// News of a spout's trees.
    Acks(AckBatch),
    /// Credit for a launch of `from`, for rows that it sent to `to`, with the progress of `to`.
    Credit { from: TaskId, launch: u32, to: TaskId, weight: usize, progress: Progress },
    /// The sender sends nothing more to a task that moves, as the assignment of this generation says.
    Hold { task: TaskId, generation: u64 },
    /// The sender runs a task no more that moves.
    Released { task: TaskId, generation: u64 },
    /// All launches of a worker before this one are lost.
    Lost { worker: WorkerId, incarnation: u64 },
}

impl Frame {
    /// The frame for a message to a task at the other end. Orders stay within their worker.
    pub(crate) fn from_message(to: TaskId, message: Message) -> Option<Self> {
        Some(match message {
            Message::Data(Delivery { batch, weight, credit }) => Self::Data { batch, weight, limit: credit.limit() },
            Message::Marker { from, marker } => Self::Marker { from, to, marker },
            Message::Acks(batch) => Self::Acks(batch),
            Message::Control(_) | Message::Reopen(_) => return None,
        })
    }
}

/// The sending end of a link. Frames arrive in the order in which they are sent.
pub(crate) trait Link: fmt::Debug + Send + Sync {
    /// Sends a frame, without waiting; a link that is closed with its worker needs none. Bounded as
    /// a task's inbox is: by credits, open trees and edges.
    fn send(&self, frame: Frame);
}

/// The sending end of a link within the process.
#[derive(Clone, Debug)]
pub(crate) struct QueueLink(mpsc::UnboundedSender<Frame>);

impl QueueLink {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Frame>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }
}

impl Link for QueueLink {
    fn send(&self, frame: Frame) {
        let _ = self.0.send(frame);
    }
}

/// The descriptions of all streams, by task and the stream's place, to name what arrives.
pub(crate) type Sources = BTreeMap<(TaskId, u16), Arc<TupleSource>>;

/// Carries frames of a link within the process until its sending end is gone.
pub(crate) async fn carry(
    mut frames: mpsc::UnboundedReceiver<Frame>,
    to: Arc<Exchange>,
    mut sources: Sources,
    back: Arc<dyn Link>,
) {
    let mut bytes = Vec::new();
    while let Some(frame) = frames.recv().await {
        bytes.clear();
        wire::encode(&frame, &mut bytes);
        match wire::decode(&bytes, &mut sources) {
            Ok(frame) => to.deliver(frame, &back),
            Err(error) => tracing::error!(%error, "a frame that this process encoded cannot be decoded"),
        }
    }
}
