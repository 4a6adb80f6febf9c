//! What tasks send each other.

use std::sync::Arc;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::Batch;

use crate::acks::AckBatch;
use crate::credit::{Credit, Progress};
use crate::edges::Marker;
use crate::exchange::Door;
use crate::link::{Frame, Link};

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
    /// An order of whoever runs the worker.
    Control(Control),
    /// The source tasks of these edges were launched again: their earlier markers are void.
    Reopen(Arc<[TaskId]>),
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
        link: Arc<dyn Link>,
        /// The task that sent the batch, and which launch of it.
        from: TaskId,
        /// The launch.
        launch: u32,
        /// The task that received it.
        to: TaskId,
        /// How much could be under way between the two when it was sent.
        limit: u32,
    },
}

impl CreditReturn {
    /// Gives the credit back.
    pub(crate) fn give_back(&self, weight: usize, progress: Progress) {
        match self {
            Self::Local(credit) => credit.give_back(weight, progress),
            Self::Link { link, from, launch, to, .. } => {
                link.send(Frame::Credit { from: *from, launch: *launch, to: *to, weight, progress });
            }
        }
    }

    /// How much may be under way between the two tasks, as far as is known here.
    pub(crate) fn limit(&self) -> u32 {
        match self {
            Self::Local(credit) => credit.limit(),
            Self::Link { limit, .. } => *limit,
        }
    }
}

/// An order to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// A spout: emit again after a deactivation.
    Activate,
    /// A spout: emit nothing for now.
    Deactivate,
    /// A spout: emit nothing more, and end once everything emitted is settled.
    Drain,
    /// A spout: a worker is lost through which tuples may have passed. All open trees fail.
    FailOpen,
    /// The task moves, and nothing more comes in: settle what is in hand, then end.
    Release,
    /// A task whose input has ended: clean up and end. Any other ends as soon as it can.
    Exit,
}

/// The way into a task.
pub(crate) type Sink = Arc<Door>;
