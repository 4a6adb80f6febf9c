//! Checks for tests: bytes from outside are refused, or give a frame whose parts fit together.

use std::sync::Arc;

use galerna_topology_api::engine::Batch;

use super::{decode, encode};
use crate::graph::Graph;
use crate::link::Frame;
use crate::parcel::Parcel;

/// Decodes bytes. If they are a frame, its parts fit together, and its encoding is a frame as well.
///
/// # Panics
/// When that is not so.
pub(crate) fn check_bytes(bytes: &[u8], graph: &Graph) {
    let Ok(frame) = decode(bytes, graph) else { return };
    let mut again = Vec::new();
    encode(&frame, &mut again);
    if let Err(error) = decode(&again, graph) {
        panic!("the encoding of {frame:?} is refused: {error}");
    }
    if let Frame::Rows { parcel, .. } = &frame {
        assert_fits(parcel, graph);
    }
}

/// Every row has a sender of the stream, a receiver, values and ties.
///
/// # Panics
/// When that is not so.
pub(crate) fn assert_fits(parcel: &Parcel, graph: &Graph) {
    let batch = &parcel.batch;
    assert_eq!(batch.values.len(), batch.rows * batch.source.fields.len());
    assert!(batch.anchors.is_empty() || batch.anchors.len() == batch.rows);
    assert!(batch.more_anchors.iter().all(|(row, _)| (*row as usize) < batch.rows));
    assert_eq!(parcel.runs.last().map(|run| run.end as usize), Some(batch.rows));
    let mut rows = 0;
    parcel.clone().scatter(|part, run| {
        assert!(graph.place_of(run.target).is_some());
        rows += part.len();
        part.append_to(&mut Batch::new(batch.source.clone()));
    });
    assert_eq!(rows, batch.rows);
    let mut sent = 0;
    for (end, sender) in batch.senders.runs(batch.rows) {
        let streams = graph.place_of(sender.task).map(|place| &graph.node(place).streams);
        assert!(streams.is_some_and(|streams| streams.iter().any(|stream| Arc::ptr_eq(stream, &batch.source))));
        assert!(end > sent);
        sent = end;
    }
    assert_eq!(sent, batch.rows);
}
