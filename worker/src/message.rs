//! What tasks get.

use galerna_topology_api::TaskId;

use crate::acks::AckBatch;
use crate::credit::Progress;
use crate::edges::InputState;
use crate::link::Frame;
use crate::parcel::{Delivery, Origin};

/// Something that enters a task.
#[derive(Debug)]
pub(crate) enum Message {
    /// Tuples for a bolt.
    Data(Delivery),
    /// The state of a bolt's whole input has changed, in order with its tuples.
    Input(InputState),
    /// News of a spout's trees.
    Acks(AckBatch),
    /// An order of whoever runs the worker.
    Control(Control),
}

/// Gives back the credit for rows that a task has processed.
pub(crate) fn give_back(origin: &Origin, task: TaskId, weight: usize, progress: Progress) {
    match origin {
        Origin::Lane(credits) => credits.give_back(task, weight, progress),
        Origin::Link { link, lane, launch } => {
            link.send(Frame::Credit { lane: *lane, launch: *launch, to: task, weight, progress });
        }
        Origin::Worker => {}
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
