//! What tasks get.

use crate::acks::AckBatch;
use crate::edges::InputState;
use crate::parcel::Delivery;

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
