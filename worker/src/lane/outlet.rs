//! The rows of one stream that a lane sends to the tasks of one bolt.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::TaskId;
use galerna_topology_api::engine::{Batch, TupleSource};

use super::shuffle::Shuffle;
use super::waiting::Buffer;
use super::{DestId, LaneCredits};
use crate::graph::Place;
use crate::parcel::{FULL, Parcel};

/// Rows for one task that wait for room.
pub(super) struct Waiting {
    pub(super) buffer: Buffer,
    /// Since when they wait.
    pub(super) since: Duration,
}

/// Rows that all receivers share.
pub(super) struct Shared {
    pub(super) buffer: Buffer,
    pub(super) shuffle: Shuffle,
    /// Whether rows wait for room.
    pub(super) is_blocked: bool,
    /// The number of waiting rows at which they are shared without waiting for more.
    pub(super) full_at: usize,
}

/// What a lane knows of a receiving task.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target {
    /// The weight that may be sent before the credit is looked at again.
    pub(super) room: u32,
    /// The weight of rows whose credit is not taken yet, and their bytes.
    pub(super) weight: u32,
    pub(super) bytes: u32,
}

/// See the module.
pub(super) struct Outlet {
    pub(super) source: Arc<TupleSource>,
    /// The receiving component.
    pub(super) receiver: Place,
    /// Its first task.
    pub(super) first: TaskId,
    /// The receiving tasks; nothing before the first row.
    pub(super) targets: Vec<Target>,
    /// Those whose credit is not taken yet.
    pub(super) untaken: Vec<u32>,
    /// For a shuffle grouping.
    pub(super) shared: Option<Box<Shared>>,
    /// Rows that have room, by destination.
    pub(super) loads: Vec<Option<Box<Parcel>>>,
    /// Rows for single tasks that wait for room, by the number of the task.
    pub(super) waiting: BTreeMap<usize, Waiting>,
    /// Whether it is among those with rows that wait.
    pub(super) is_listed: bool,
}

/// Where a row goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// To a destination: the task has room.
    Load(DestId),
    /// To the rows that wait for a task's room.
    Waiting(usize),
    /// To the rows that all receivers share.
    Shared,
}

impl Outlet {
    pub(super) fn new(source: Arc<TupleSource>, receiver: Place, first: TaskId, shuffle: Option<Shuffle>) -> Self {
        let shared = shuffle.map(|shuffle| {
            let buffer = Buffer::new(source.clone());
            Box::new(Shared { buffer, shuffle, is_blocked: false, full_at: FULL })
        });
        let (targets, untaken, loads) = (Vec::new(), Vec::new(), Vec::new());
        Self { source, receiver, first, targets, untaken, shared, loads, waiting: BTreeMap::new(), is_listed: false }
    }

    /// The only receiver of a shuffle without a choice.
    #[inline]
    pub(super) fn only(&self) -> Option<usize> {
        self.shared.as_ref().and_then(|shared| shared.shuffle.only())
    }

    /// The task with this number.
    #[inline]
    pub(super) fn task(&self, target: usize) -> TaskId {
        self.first + target as TaskId
    }

    /// The batch that a row is pushed to.
    #[inline(always)]
    pub(super) fn batch(&mut self, slot: Slot) -> &mut Batch {
        match slot {
            Slot::Load(dest) => &mut self.load(dest).batch,
            Slot::Waiting(target) => {
                let source = &self.source;
                let new = || Waiting { buffer: Buffer::new(source.clone()), since: Duration::ZERO };
                &mut self.waiting.entry(target).or_insert_with(new).buffer.batch
            }
            Slot::Shared => match &mut self.shared {
                Some(shared) => &mut shared.buffer.batch,
                None => unreachable!("only an outlet with shared rows has such a slot"),
            },
        }
    }

    /// The parcel that is being filled for a destination.
    #[inline(always)]
    pub(super) fn load(&mut self, dest: DestId) -> &mut Parcel {
        let place = dest as usize;
        if place >= self.loads.len() {
            self.loads.resize_with(place + 1, || None);
        }
        let source = &self.source;
        self.loads[place].get_or_insert_with(|| Box::new(Parcel::new(source.clone())))
    }

    /// Takes the credit for all rows whose credit is not taken yet.
    pub(super) fn settle(&mut self, credits: &LaneCredits) {
        if self.untaken.is_empty() {
            return;
        }
        let (first, targets) = (self.first, &mut self.targets);
        credits.take_all(self.untaken.drain(..).map(|target| {
            let Target { weight, bytes, .. } = &mut targets[target as usize];
            (first + target, mem::take(weight) as usize, mem::take(bytes) as usize)
        }));
    }

    /// Whether rows wait for room.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.shared.as_ref().is_some_and(|shared| shared.buffer.waiting() > 0)
    }
}
