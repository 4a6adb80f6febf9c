//! The encoding of frames: compact, without self-description; both ends run the same executable.
//!
//! Integers are LEB128, signed ones zigzag, edges and floats 8 bytes little-endian; what has no
//! fixed size has its length in front. Value tags above the last known one are reserved.

#[cfg(any(test, feature = "testing"))]
mod fits;
mod reader;
mod value;

use std::sync::Arc;
use std::time::Duration;

use galerna_protocol::WorkerId;
use galerna_topology_api::Failure;
use galerna_topology_api::engine::{Anchor, Root, Sender};

use crate::acks::{AckDelta, AckKind};
use crate::credit::Progress;
use crate::edges::{Ending, Mark, Marker};
use crate::exchange::HELD;
use crate::graph::Graph;
use crate::link::Frame;
use crate::parcel::{Acks, Parcel, Run, row_bytes};
#[cfg(any(test, feature = "testing"))]
pub(crate) use fits::check_bytes;
use reader::Reader;
pub(crate) use value::DEEPEST;

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// The bytes end too early.
    #[error("the frame ends too early")]
    Short,
    /// Bytes are left over.
    #[error("{0} bytes too many behind the frame")]
    Long(usize),
    /// A number that stands for nothing.
    #[error("unknown {what} {found}")]
    Unknown {
        /// What the number stands for.
        what: &'static str,
        /// The number.
        found: u64,
    },
    /// A number beyond its range.
    #[error("a number is out of range")]
    Range,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// Lists in lists beyond the limit.
    #[error("values are nested deeper than {0}")]
    Depth(usize),
}

const DATA: u8 = 0;
const MARKER: u8 = 1;
const ACKS: u8 = 2;
const CREDIT: u8 = 3;
const HOLD: u8 = 4;
const RELEASED: u8 = 5;
const LOST: u8 = 6;

/// The number of this encoding. Workers that link run the same executable, so that it differs only
/// where that was circumvented.
pub(crate) const WIRE_VERSION: u32 = 5;

const FLUSH: u8 = 0;
const END_FINISHED: u8 = 1;
const END_STOPPED: u8 = 2;
const OPEN: u8 = 3;

const FAILED: u8 = 0;
const TIMED_OUT: u8 = 1;
const LOST_TUPLE: u8 = 2;

const HAS_ANCHORS: u8 = 1;

/// The most rows of a frame: a parcel takes no more once it is full.
const MOST_ROWS: usize = 1 << 20;

/// Appends a number.
#[inline]
fn put(number: impl Into<u64>, bytes: &mut Vec<u8>) {
    let number = number.into();
    if number < 0x80 {
        bytes.push(number as u8);
    } else {
        put_long(number, bytes);
    }
}

fn put_long(mut number: u64, bytes: &mut Vec<u8>) {
    let mut groups = [0; 10];
    let mut count = 0;
    while number >= 0x80 {
        groups[count] = number as u8 | 0x80;
        number >>= 7;
        count += 1;
    }
    groups[count] = number as u8;
    // To append all, whose number is known, and take some off again beats appending one by one.
    let len = bytes.len() + count + 1;
    bytes.extend_from_slice(&groups);
    bytes.truncate(len);
}

/// About how many bytes the encoding of a frame has, where values are short.
pub(crate) fn usual_size(frame: &Frame) -> usize {
    const FRAME: usize = 32;
    const VALUE: usize = 12;
    const ANCHOR: usize = 24;
    const RUN: usize = 4;
    const ACK: usize = 20;
    const FAILURE: usize = 64;
    match frame {
        Frame::Rows { parcel: Parcel { batch, runs, .. }, .. } => {
            FRAME + batch.values.len() * VALUE + batch.anchors.len() * ANCHOR + runs.len() * RUN
        }
        Frame::Acks(acks) => FRAME + acks.deltas.len() * ACK + acks.failures.len() * FAILURE,
        _ => FRAME,
    }
}

/// Whether `frame` encodes a batch.
pub(crate) fn is_batch(frame: &[u8]) -> bool {
    frame.first() == Some(&DATA)
}

/// Appends the encoding of a frame.
pub(crate) fn encode(frame: &Frame, bytes: &mut Vec<u8>) {
    match frame {
        Frame::Rows { lane, launch, limit, parcel } => {
            bytes.push(DATA);
            put(*lane, bytes);
            put(*launch, bytes);
            put(*limit, bytes);
            encode_parcel(parcel, bytes);
        }
        Frame::Mark(Mark { from, marker }) => {
            bytes.push(MARKER);
            put(from.task, bytes);
            put(from.launch, bytes);
            match marker {
                Marker::Flush(number) => {
                    bytes.push(FLUSH);
                    put(*number, bytes);
                }
                Marker::End(Ending::Finished) => bytes.push(END_FINISHED),
                Marker::End(Ending::Stopped) => bytes.push(END_STOPPED),
                Marker::Open => bytes.push(OPEN),
            }
        }
        Frame::Acks(Acks { deltas, failures }) => {
            bytes.push(ACKS);
            put(deltas.len() as u64, bytes);
            for AckDelta { spout, incarnation, slot, generation, kind, xor } in deltas {
                put(*spout, bytes);
                put(*incarnation, bytes);
                put(*slot, bytes);
                put(*generation, bytes);
                bytes.push(*kind as u8);
                bytes.extend_from_slice(&xor.to_le_bytes());
            }
            put(failures.len() as u64, bytes);
            failures.iter().for_each(|failure| encode_failure(failure, bytes));
        }
        Frame::Credit { lane, launch, to, weight, progress } => {
            bytes.push(CREDIT);
            put(*lane, bytes);
            put(*launch, bytes);
            put(*to, bytes);
            put(*weight as u64, bytes);
            put(progress.pace.as_nanos() as u64, bytes);
            bytes.push(progress.is_idle.into());
        }
        Frame::Hold { task, generation } => {
            bytes.push(HOLD);
            put(*task, bytes);
            put(*generation, bytes);
        }
        Frame::Released { task, generation } => {
            bytes.push(RELEASED);
            put(*task, bytes);
            put(*generation, bytes);
        }
        Frame::Lost { worker, incarnation } => {
            bytes.push(LOST);
            value::encode_text(&worker.supervisor, bytes);
            put(worker.slot, bytes);
            put(*incarnation, bytes);
        }
    }
}

/// The rows, where they come from and go to, their values, and their ties to trees.
fn encode_parcel(Parcel { batch, runs, .. }: &Parcel, bytes: &mut Vec<u8>) {
    let has_anchors = !batch.anchors.is_empty();
    put(batch.senders.of(0).task, bytes);
    put(batch.source.stream_index, bytes);
    put(batch.rows as u64, bytes);
    bytes.push(u8::from(has_anchors) * HAS_ANCHORS);
    let mut first = 0;
    let senders: Vec<(usize, Sender)> = batch.senders.runs(batch.rows).collect();
    put(senders.len() as u64, bytes);
    for (end, Sender { task, launch, is_final }) in senders {
        put((end - first) as u64, bytes);
        put(task, bytes);
        put(launch, bytes);
        bytes.push(is_final.into());
        first = end;
    }
    first = 0;
    put(runs.len() as u64, bytes);
    for Run { end, target, extra, .. } in runs {
        put((*end as usize - first) as u64, bytes);
        put(*target, bytes);
        put(*extra, bytes);
        first = *end as usize;
    }
    batch.values.iter().for_each(|value| value::encode(value, bytes));
    if has_anchors {
        batch.anchors.iter().for_each(|anchor| encode_anchor(*anchor, bytes));
        put(batch.more_anchors.len() as u64, bytes);
        for (row, anchor) in &batch.more_anchors {
            put(*row, bytes);
            encode_anchor(*anchor, bytes);
        }
    }
}

fn encode_anchor(Anchor { root, edge }: Anchor, bytes: &mut Vec<u8>) {
    put(root.spout, bytes);
    put(root.incarnation, bytes);
    put(root.slot, bytes);
    put(root.generation, bytes);
    bytes.extend_from_slice(&edge.to_le_bytes());
}

/// Reads a frame.
///
/// # Errors
/// When the bytes are no frame, or do not fit the topology.
pub(crate) fn decode(bytes: &[u8], graph: &Graph) -> Result<Frame, WireError> {
    let mut reader = Reader::new(bytes);
    let frame = match reader.byte()? {
        DATA => Frame::Rows {
            lane: reader.number()?,
            launch: reader.number()?,
            limit: reader.number()?,
            parcel: decode_parcel(&mut reader, graph)?,
        },
        MARKER => {
            let from = Sender { task: task_of(&mut reader, graph)?, launch: reader.number()?, is_final: false };
            let marker = match reader.byte()? {
                FLUSH => Marker::Flush(reader.number()?),
                END_FINISHED => Marker::End(Ending::Finished),
                END_STOPPED => Marker::End(Ending::Stopped),
                OPEN => Marker::Open,
                found => return Err(WireError::Unknown { what: "marker", found: found.into() }),
            };
            Frame::Mark(Mark { from, marker })
        }
        ACKS => decode_acks(&mut reader)?,
        CREDIT => Frame::Credit {
            lane: reader.number()?,
            launch: reader.number()?,
            to: task_of(&mut reader, graph)?,
            weight: reader.number()?,
            progress: Progress { pace: Duration::from_nanos(reader.number()?), is_idle: reader.byte()? != 0 },
        },
        HOLD => Frame::Hold { task: reader.number()?, generation: reader.number()? },
        RELEASED => Frame::Released { task: reader.number()?, generation: reader.number()? },
        LOST => {
            let worker = WorkerId::new(value::decode_text(&mut reader)?, reader.number()?);
            Frame::Lost { worker, incarnation: reader.number()? }
        }
        found => return Err(WireError::Unknown { what: "frame", found: found.into() }),
    };
    reader.finish()?;
    Ok(frame)
}

/// Reads the number of a task of the topology.
fn task_of(reader: &mut Reader<'_>, graph: &Graph) -> Result<u32, WireError> {
    let task = reader.number()?;
    match graph.place_of(task) {
        Some(_) => Ok(task),
        None => Err(WireError::Unknown { what: "task", found: task.into() }),
    }
}

fn decode_acks(reader: &mut Reader<'_>) -> Result<Frame, WireError> {
    let count = reader.count(13)?;
    let mut deltas = Vec::with_capacity(count);
    for _ in 0..count {
        let (spout, incarnation) = (reader.number()?, reader.number()?);
        let (slot, generation) = (reader.number()?, reader.number()?);
        let kind = match reader.byte()? {
            0 => AckKind::Ack,
            1 => AckKind::Fail,
            2 => AckKind::Held,
            3 => AckKind::Reset,
            4 => AckKind::Released,
            found => return Err(WireError::Unknown { what: "ack", found: found.into() }),
        };
        deltas.push(AckDelta { spout, incarnation, slot, generation, kind, xor: reader.fixed()? });
    }
    let count = reader.count(1)?;
    let failures: Result<Vec<_>, WireError> = (0..count).map(|_| decode_failure(reader).map(Arc::new)).collect();
    Ok(Frame::Acks(Acks { deltas, failures: failures? }))
}

fn encode_failure(failure: &Failure, bytes: &mut Vec<u8>) {
    match failure {
        Failure::Failed { component, message } => {
            bytes.push(FAILED);
            value::encode_text(component, bytes);
            value::encode_text(message, bytes);
        }
        Failure::TimedOut => bytes.push(TIMED_OUT),
        // A kind that this release does not know cannot have been made by it.
        _ => bytes.push(LOST_TUPLE),
    }
}

fn decode_failure(reader: &mut Reader<'_>) -> Result<Failure, WireError> {
    Ok(match reader.byte()? {
        FAILED => Failure::Failed { component: value::decode_text(reader)?, message: value::decode_text(reader)? },
        TIMED_OUT => Failure::TimedOut,
        LOST_TUPLE => Failure::Lost,
        found => return Err(WireError::Unknown { what: "failure", found: found.into() }),
    })
}

fn decode_parcel(reader: &mut Reader<'_>, graph: &Graph) -> Result<Parcel, WireError> {
    let (task, stream) = (reader.number()?, reader.number()?);
    let source = graph.stream_of(task, stream);
    let source = source.ok_or(WireError::Unknown { what: "stream of task", found: task.into() })?.clone();
    let component = graph.place_of(task);
    let arity = source.fields.len();
    let mut parcel = Parcel::new(source);
    let batch = &mut parcel.batch;
    batch.rows = reader.number()?;
    let flags = reader.byte()?;
    // Rows without values take no bytes of their own, but each sender and each receiver has at least one row.
    if batch.rows == 0 || batch.rows > MOST_ROWS {
        return Err(WireError::Range);
    }
    let senders = reader.count(4)?;
    let mut first = 0;
    for _ in 0..senders {
        let end = next_end(reader, first, batch.rows)?;
        let task = task_of(reader, graph)?;
        if graph.place_of(task) != component {
            return Err(WireError::Unknown { what: "task of the stream", found: task.into() });
        }
        batch.senders.begin(first, Sender { task, launch: reader.number()?, is_final: reader.byte()? != 0 });
        first = end;
    }
    if first != batch.rows {
        return Err(WireError::Range);
    }
    let runs = reader.count(3)?;
    first = 0;
    for _ in 0..runs {
        let end = next_end(reader, first, batch.rows)?;
        let target = task_of(reader, graph)?;
        parcel.runs.push(Run { end: end as u32, target, extra: reader.number()?, lane: HELD });
        first = end;
    }
    if first != batch.rows {
        return Err(WireError::Range);
    }
    let values = batch.rows.checked_mul(arity).ok_or(WireError::Range)?;
    reader.check_room(values)?;
    batch.values.reserve_exact(values);
    for _ in 0..values {
        batch.values.push(value::decode(reader)?);
    }
    if flags & HAS_ANCHORS != 0 {
        reader.check_room(batch.rows)?;
        batch.anchors.reserve_exact(batch.rows);
        for _ in 0..batch.rows {
            batch.anchors.push(decode_anchor(reader)?);
        }
        let more = reader.count(13)?;
        batch.more_anchors =
            (0..more).map(|_| Ok((reader.number()?, decode_anchor(reader)?))).collect::<Result<_, WireError>>()?;
        let is_ascending = batch.more_anchors.is_sorted_by_key(|(row, _)| *row);
        let is_within = batch.more_anchors.last().is_none_or(|(row, _)| (*row as usize) < batch.rows);
        if !is_ascending || !is_within {
            return Err(WireError::Range);
        }
    }
    let heap: usize = batch.values.iter().map(galerna_topology_api::Value::heap_size).sum();
    parcel.bytes = heap + batch.rows * row_bytes(arity);
    Ok(parcel)
}

/// Reads the length of a run of rows that begins at `first`, and returns its end. A run has at least one row, and
/// ends within the rows.
fn next_end(reader: &mut Reader<'_>, first: usize, rows: usize) -> Result<usize, WireError> {
    let len: usize = reader.number()?;
    let end = first.checked_add(len).filter(|end| len > 0 && *end <= rows);
    end.ok_or(WireError::Range)
}

fn decode_anchor(reader: &mut Reader<'_>) -> Result<Anchor, WireError> {
    let root = Root {
        spout: reader.number()?,
        incarnation: reader.number()?,
        slot: reader.number()?,
        generation: reader.number()?,
    };
    Ok(Anchor { root, edge: reader.fixed()? })
}

#[cfg(test)]
mod tests;
