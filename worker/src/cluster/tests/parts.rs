//! Parts of a worker, for tests of links alone. Its spout is task 1, its bolt tasks 2 and 3.

use std::sync::{Arc, LazyLock};

use galerna_topology_api::engine::{Anchor, Root, Sender};
use galerna_topology_api::{TaskId, Value};
use tokio::sync::mpsc;

use crate::acks::{AckDelta, AckKind};
use crate::clock::{Clock, WallClock};
use crate::credit::Progress;
use crate::exchange::{Exchange, To};
use crate::graph::{Graph, example};
use crate::inbox::{Arrivals, Inbox};
use crate::lane::{Budget, Lane};
use crate::link::Frame;
use crate::parcel::Acks;
use crate::run::RunShared;
use crate::wire;

static GRAPH: LazyLock<Arc<Graph>> = LazyLock::new(|| Arc::new(example::graph(1, 2)));

pub(in crate::cluster) fn graph() -> Arc<Graph> {
    GRAPH.clone()
}

pub(in crate::cluster) fn exchange() -> Arc<Exchange> {
    Arc::new(Exchange::new(graph(), 1, Budget::DEFAULT))
}

/// A run that nothing happens in but errors.
pub(in crate::cluster) fn run() -> Arc<RunShared> {
    Arc::new(RunShared::new(WallClock::system(), mpsc::unbounded_channel().0))
}

/// A lane of its own for a task, and what comes for the task.
pub(in crate::cluster) fn arrivals(exchange: &Arc<Exchange>, task: TaskId) -> Arrivals {
    let lane = Arc::new(Lane::new(exchange.add_lane(), &graph(), exchange, Clock::start()));
    let inbox = Inbox::new();
    exchange.open(task, To::Lane(lane.port.clone(), inbox.clone()), Vec::new());
    inbox.arrivals(lane)
}

fn sender() -> Sender {
    Sender { task: 1, launch: 1, is_final: false }
}

/// A batch of one row from task 1.
pub(in crate::cluster) fn data(to: TaskId) -> Frame {
    Frame::Rows { lane: 1, launch: 1, limit: 1024, parcel: example::parcel(&graph(), sender(), to, 1) }
}

/// A batch of one row from task 1, anchored to a tree in `slot` of task 1.
pub(in crate::cluster) fn row(to: TaskId, value: impl Into<Value>, slot: u32) -> Frame {
    let mut parcel = example::parcel(&graph(), sender(), to, 1);
    parcel.batch.values[0] = value.into();
    let root = Root { spout: 1, incarnation: 1, slot, generation: 0 };
    parcel.batch.anchors.push(Anchor { root, edge: 1 });
    Frame::Rows { lane: 1, launch: 1, limit: 1024, parcel }
}

/// One ack for a tree in `slot` of task 1.
pub(in crate::cluster) fn ack(slot: u32) -> Frame {
    let delta = AckDelta { spout: 1, incarnation: 1, slot, generation: 0, kind: AckKind::Ack, xor: 1 };
    Frame::Acks(Acks { deltas: vec![delta], failures: Vec::new() })
}

pub(in crate::cluster) fn credit() -> Frame {
    Frame::Credit { lane: 1, launch: 1, to: 2, weight: 1, progress: Progress::default() }
}

pub(in crate::cluster) fn encoded(frame: &Frame) -> bytes::Bytes {
    let mut bytes = Vec::new();
    wire::encode(frame, &mut bytes);
    bytes.into()
}
