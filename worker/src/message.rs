//! What tasks send each other.

use std::sync::Arc;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Batch;
use tokio::sync::mpsc;

use crate::acks::AckBatch;
use crate::credit::Credit;
use crate::edges::Marker;
use crate::link::{Frame, LinkSender};

/// Something that enters a task.
#[derive(Debug)]
pub(crate) enum Message {
    /// Tuples for a bolt.
    Data(Delivery),
    /// A statement about one of a bolt's edges, in order with its tuples.
    Marker {
        /// The task at the other end of the edge.
        from: TaskId,
        /// The statement.
        marker: Marker,
    },
    /// News of a spout's trees.
    Acks(AckBatch),
    /// An order of the run's coordinator, to a spout.
    Control(Control),
}

/// A batch, and what it weighs against its sender's credit.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) batch: Batch,
    pub(crate) weight: usize,
    pub(crate) credit: CreditReturn,
}

/// Who gets the credit back when a batch is done.
#[derive(Debug)]
pub(crate) enum CreditReturn {
    /// A task in this worker.
    Local(Arc<Credit>),
    /// A task at the other end of a link.
    Link {
        /// The way back.
        link: LinkSender,
        /// The task that sent the batch.
        from: TaskId,
        /// The task that received it.
        to: TaskId,
    },
}

impl CreditReturn {
    /// Gives the credit back.
    pub(crate) fn give_back(&self, weight: usize) {
        match self {
            Self::Local(credit) => credit.give_back(weight),
            Self::Link { link, from, to } => link.send(Frame::Credit { from: *from, to: *to, weight }),
        }
    }
}

/// An order to a spout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Emit again after a deactivation.
    Activate,
    /// Emit nothing for now.
    Deactivate,
    /// Emit nothing more, and end once everything emitted is settled.
    Drain,
}

/// The way into a task.
#[derive(Clone, Debug)]
pub(crate) enum Sink {
    // Unbounded in itself: tuples are bounded by credits, acks by open trees, markers by edges.
    Local(mpsc::UnboundedSender<Message>),
    Link { link: LinkSender, to: TaskId },
}

impl Sink {
    /// Sends a message. A task that has ended needs none.
    pub(crate) fn send(&self, message: Message) {
        match self {
            Self::Local(inbox) => {
                let _ = inbox.send(message);
            }
            Self::Link { link, to } => link.send(Frame::from_message(*to, message)),
        }
    }
}
