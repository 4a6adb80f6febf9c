//! The harness's side of the calls of a spout: numbers the emitted rows and keeps them for the test.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};

use galerna_topology_api::engine::{Flow, Room, RowAnchors, SpoutHost, SpoutSettled, Staged, Staging};
use galerna_topology_api::{Streams, TaskId, Value};

use super::rows::take_rows;

/// A row that a spout emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct EmittedRow {
    /// The stream.
    pub stream: String,
    /// The values, in the order of the stream's fields.
    pub values: Vec<Value>,
    /// The task that the row is meant for, on a direct stream.
    pub direct: Option<TaskId>,
    /// The number by which the test acks or fails the tuple: the count of reliable tuples before. `None` if the
    /// spout emitted the row without a message id, or the config switches tracking off.
    pub number: Option<usize>,
}

impl AsRef<[Value]> for EmittedRow {
    fn as_ref(&self) -> &[Value] {
        &self.values
    }
}

/// Keeps the rows that the spout emits.
pub(super) struct Host {
    streams: Arc<Streams>,
    room: Arc<Room>,
    is_tracking: bool,
    pub(super) emitted: Vec<EmittedRow>,
    /// The number of reliable tuples emitted so far.
    tracked: usize,
    /// The numbers of the tuples that are neither acked nor failed.
    pub(super) open: BTreeSet<usize>,
}

impl Host {
    pub(super) fn new(staging: &Staging, is_tracking: bool) -> Self {
        let (streams, room) = (staging.streams.clone(), staging.room());
        Self { streams, room, is_tracking, emitted: Vec::new(), tracked: 0, open: BTreeSet::new() }
    }

    /// Takes rows, and appends the number of each tracked row to `slots`.
    fn take_rows(&mut self, staged: &mut Staged, slots: &mut Vec<u32>) {
        for (row, stream, values) in take_rows(staged, &self.streams) {
            let number = (self.is_tracking && row.anchors() == RowAnchors::Tracked).then(|| {
                let number = self.tracked;
                slots.push(number as u32);
                self.open.insert(number);
                self.tracked += 1;
                number
            });
            self.emitted.push(EmittedRow { stream, values, direct: row.direct(), number });
        }
    }

    /// Takes the rows that the running call has handed over. Returns whether there were rows.
    fn take_mail(&mut self, slots: &mut Vec<u32>) -> bool {
        let (parts, _) = self.room.take();
        let has_rows = !parts.is_empty();
        parts.into_iter().for_each(|mut part| self.take_rows(&mut part.staged, slots));
        if has_rows {
            self.room.made();
        }
        has_rows
    }
}

impl SpoutHost for Host {
    fn settle(&mut self, done: &mut Staged, slots: &mut Vec<u32>) -> SpoutSettled {
        self.take_rows(done, slots);
        self.take_mail(slots);
        SpoutSettled { flow: Flow::Stop, is_tracking: self.is_tracking }
    }

    fn poll_pending(&mut self, done: &mut Staged, slots: &mut Vec<u32>, _: &mut Context<'_>) -> Poll<()> {
        self.take_rows(done, slots);
        if self.take_mail(slots) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A harness gives no orders.
    fn calls_off(&mut self, _: bool) -> bool {
        false
    }

    fn time_call(&mut self, _: bool) -> bool {
        false
    }
}
