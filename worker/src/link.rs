//! Links between workers: what crosses them, and the end that delivers it.
//!
//! In one process a link is a queue and a task that encodes and decodes every frame, so that
//! several workers in a test exchange exactly what they would over a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::{Batch, TupleSource};
use tokio::sync::mpsc;

use crate::acks::AckBatch;
use crate::credit::Credit;
use crate::edges::Marker;
use crate::message::{CreditReturn, Delivery, Message};
use crate::wire;

/// What crosses a link.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    /// Tuples, and what they weigh.
    Data { batch: Batch, weight: usize },
    /// A statement about the edge between two tasks.
    Marker { from: TaskId, to: TaskId, marker: Marker },
    /// News of a spout's trees.
    Acks(AckBatch),
    /// Credit that goes back to `from`, for what it sent to `to`.
    Credit { from: TaskId, to: TaskId, weight: usize },
}

impl Frame {
    /// The frame for a message to a task at the other end.
    pub(crate) fn from_message(to: TaskId, message: Message) -> Self {
        match message {
            Message::Data(Delivery { batch, weight, .. }) => Self::Data { batch, weight },
            Message::Marker { from, marker } => Self::Marker { from, to, marker },
            Message::Acks(batch) => Self::Acks(batch),
            Message::Control(control) => unreachable!("{control:?} is for tasks of the same worker"),
        }
    }
}

/// The sending end.
#[derive(Clone, Debug)]
pub(crate) struct LinkSender(mpsc::UnboundedSender<Frame>);

impl LinkSender {
    // Unbounded in itself: as a task's inbox, bounded by credits, open trees and edges.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Frame>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Sends a frame; a link that is closed with its worker needs none.
    pub(crate) fn send(&self, frame: Frame) {
        let _ = self.0.send(frame);
    }
}

/// The descriptions of all streams, by task and the stream's place, to name what arrives.
pub(crate) type Sources = BTreeMap<(TaskId, u16), Arc<TupleSource>>;

/// The receiving end of a link: the tasks of its worker.
pub(crate) struct LinkEnd {
    pub(crate) inboxes: Arc<BTreeMap<TaskId, mpsc::UnboundedSender<Message>>>,
    /// The credits of this worker's tasks towards tasks elsewhere, by both.
    pub(crate) credits: Arc<BTreeMap<(TaskId, TaskId), Arc<Credit>>>,
    pub(crate) sources: Arc<Sources>,
    /// The link in the other direction.
    pub(crate) back: LinkSender,
}

impl LinkEnd {
    /// Carries frames until the sending end is gone.
    pub(crate) async fn run(self, mut frames: mpsc::UnboundedReceiver<Frame>) {
        let mut bytes = Vec::new();
        while let Some(frame) = frames.recv().await {
            bytes.clear();
            wire::encode(&frame, &mut bytes);
            match wire::decode(&bytes, &self.sources) {
                Ok(frame) => self.deliver(frame),
                Err(error) => tracing::error!(%error, "a frame that this process encoded cannot be decoded"),
            }
        }
    }

    fn deliver(&self, frame: Frame) {
        let (to, message) = match frame {
            Frame::Data { batch, weight } => {
                let (from, to) = (batch.source.task, batch.target);
                let credit = CreditReturn::Link { link: self.back.clone(), from, to };
                (to, Message::Data(Delivery { batch, weight, credit }))
            }
            Frame::Marker { from, to, marker } => (to, Message::Marker { from, marker }),
            Frame::Acks(batch) => (batch.spout, Message::Acks(batch)),
            Frame::Credit { from, to, weight } => {
                if let Some(credit) = self.credits.get(&(from, to)) {
                    credit.give_back(weight);
                }
                return;
            }
        };
        if let Some(inbox) = self.inboxes.get(&to) {
            // A task that has ended needs nothing more.
            let _ = inbox.send(message);
        }
    }
}
