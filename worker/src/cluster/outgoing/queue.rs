//! The frames of one stream that the peer has not confirmed, with their numbers. Pure.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use galerna_protocol::LinkPacket;
use galerna_topology_api::TaskId;

use crate::cluster::LONGEST_PACKET;
use crate::wire;

/// Bytes of frames that go into one packet, if there are as many.
const FULL_PACKET: usize = 256 * 1024;

/// A frame that the peer has not confirmed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) bytes: Bytes,
    /// The tasks that it is for, if it has to reach these tasks wherever they run.
    pub(super) tasks: Box<[TaskId]>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    /// The number of the first frame in the queue.
    first: u64,
    entries: VecDeque<Entry>,
    /// How many of the entries the connection in use has taken.
    taken: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { first: 1, entries: VecDeque::new(), taken: 0 }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// Numbers begin at 1 again, and all entries are sent again.
    pub(super) fn begin_anew(&mut self) {
        self.first = 1;
        self.taken = 0;
    }

    /// A new connection sends all entries again.
    pub(super) fn rewind(&mut self) {
        self.taken = 0;
    }

    /// The number of the first entry.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next entry to be pushed.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Drops the entries up to this number: they have arrived.
    pub(super) fn confirm(&mut self, number: u64) {
        let count = ((number + 1).saturating_sub(self.first) as usize).min(self.entries.len());
        self.entries.drain(..count);
        self.first += count as u64;
        self.taken = self.taken.saturating_sub(count);
    }

    /// What to send next: several frames, or a long one in pieces. Empty if all entries are taken.
    pub(super) fn take_packets(&mut self) -> Vec<LinkPacket> {
        let first = self.first + self.taken as u64;
        let (mut frames, mut size) = (Vec::new(), 0);
        while let Some(entry) = self.entries.get(self.taken) {
            if entry.bytes.len() > LONGEST_PACKET && frames.is_empty() {
                self.taken += 1;
                return pieces(first, &entry.bytes);
            }
            if !frames.is_empty() && size + entry.bytes.len() > FULL_PACKET {
                break;
            }
            size += entry.bytes.len();
            frames.push(entry.bytes.clone());
            self.taken += 1;
        }
        if frames.is_empty() { Vec::new() } else { vec![LinkPacket { hello: None, first, frames, is_piece: false }] }
    }

    /// The entries that are for some of these tasks, still encoded.
    pub(super) fn for_tasks(&self, tasks: &BTreeSet<TaskId>) -> impl Iterator<Item = &Bytes> {
        let is_for_them = |entry: &&Entry| entry.tasks.iter().any(|task| tasks.contains(task));
        self.entries.iter().filter(is_for_them).map(|entry| &entry.bytes)
    }

    /// The number of batches for these tasks.
    pub(super) fn batches_for(&self, tasks: &BTreeSet<TaskId>) -> u64 {
        self.for_tasks(tasks).filter(|bytes| wire::is_batch(bytes)).count() as u64
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.taken = 0;
    }
}

fn pieces(first: u64, bytes: &Bytes) -> Vec<LinkPacket> {
    let count = bytes.len().div_ceil(LONGEST_PACKET);
    let piece = |at: usize| {
        let end = ((at + 1) * LONGEST_PACKET).min(bytes.len());
        let frames = vec![bytes.slice(at * LONGEST_PACKET..end)];
        LinkPacket { hello: None, first, frames, is_piece: at + 1 < count }
    };
    (0..count).map(piece).collect()
}
