//! What crosses the links between workers, and the links within one process.
//!
//! In one process a link is a queue and a task that encodes and decodes every frame, so that
//! several workers in a test exchange exactly what they would over a network.

use std::fmt;
use std::sync::Arc;

use galerna_protocol::WorkerId;
use galerna_topology_api::{Failure, TaskId};
use tokio::sync::mpsc;

use crate::credit::Progress;
use crate::edges::Mark;
use crate::exchange::Exchange;
use crate::graph::Graph;
use crate::parcel::{Acks, Parcel};
use crate::wire;

/// What crosses a link.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Tuples of a lane of this launch of a worker, and how much may be under way from the lane to the first task.
    Rows { lane: u32, launch: u32, limit: u32, parcel: Parcel },
    /// A statement of a task about its edges.
    Mark(Mark),
    /// News of spouts' trees.
    Acks(Acks),
    /// Credit for a lane of this launch of a worker, for rows that it sent to `to`, with the progress of `to`.
    Credit { lane: u32, launch: u32, to: TaskId, weight: usize, progress: Progress },
    /// The sender sends nothing more to a task that moves, as the assignment of this generation says.
    Hold { task: TaskId, generation: u64 },
    /// The sender runs a task no more that moves.
    Released { task: TaskId, generation: u64 },
    /// All launches of a worker before this one are lost.
    Lost { worker: WorkerId, incarnation: u64 },
}

/// The sending end of a link. Frames arrive in the order in which they are sent.
pub(crate) trait Link: fmt::Debug + Send + Sync {
    /// Sends a frame, without waiting; a link that is closed with its worker needs none. Bounded by credits, open
    /// trees and edges. Returns rows that the link cannot carry, which must fail.
    fn send(&self, frame: Frame) -> Option<Unsent>;
}

/// Rows that a link cannot carry.
#[derive(Debug)]
pub(crate) struct Unsent {
    /// The lane that sent them.
    pub(crate) lane: u32,
    pub(crate) parcel: Parcel,
    pub(crate) failure: Arc<Failure>,
}

/// Gives back credit to a lane of a launch of the worker at the other end, for rows that it sent to `to`.
pub(crate) fn give_back_by(link: &dyn Link, (lane, launch): (u32, u32), to: TaskId, weight: usize, progress: Progress) {
    link.send(Frame::Credit { lane, launch, to, weight, progress });
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
    fn send(&self, frame: Frame) -> Option<Unsent> {
        let _ = self.0.send(frame);
        None
    }
}

/// Carries frames of a link within the process until its sending end is gone.
pub(crate) async fn carry(
    mut frames: mpsc::UnboundedReceiver<Frame>,
    to: Arc<Exchange>,
    graph: Arc<Graph>,
    back: Arc<dyn Link>,
) {
    let mut bytes = Vec::new();
    while let Some(frame) = frames.recv().await {
        bytes.clear();
        wire::encode(&frame, &mut bytes);
        match wire::decode(&bytes, &graph) {
            Ok(frame) => to.deliver(frame, &back),
            Err(error) => tracing::error!(%error, "a frame that this process encoded cannot be decoded"),
        }
    }
}
