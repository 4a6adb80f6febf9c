//! What one call of user code emits and acks, before the engine takes it up.

use std::mem;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{Decisions, HandedOver, OutputRow, Room};
use crate::emitter::{EmitError, Row};
use crate::fields::{DEFAULT_STREAM, Streams};
use crate::held::{HeldTable, NotHeld};
use crate::tasks::TaskId;
use crate::value::Value;

/// What a staged row is anchored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowAnchors {
    /// Nothing: it belongs to no tree.
    None,
    /// The tuple in this row of the batch: the one that the call was given.
    Input(u32),
    /// The held tuples in these slots, `held_anchors[start..start + len]`.
    Held {
        /// Index of the first slot.
        start: u32,
        /// How many slots.
        len: u32,
    },
    /// Its own new tree: the row has a message id (the next of the call's).
    Tracked,
}

/// One staged row; its values lie in [`Staged::values`], row after row.
///
/// Four plain numbers, because it is written and read for every tuple: an enum is put together in
/// memory and read back whole, which waits for its parts to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedRow {
    stream: u16,
    anchors: u16,
    /// The named task, or 0; tasks are counted from 1.
    direct: TaskId,
    first: u32,
    second: u32,
}

const NONE: u16 = 0;
const INPUT: u16 = 1;
const HELD: u16 = 2;
const TRACKED: u16 = 3;
/// A flag beside the values above: the row is the first of its call.
const BEGINS_CALL: u16 = 1 << 15;

impl StagedRow {
    #[inline(always)]
    fn new(stream: u16, anchors: RowAnchors, direct: Option<TaskId>) -> Self {
        let (anchors, first, second) = match anchors {
            RowAnchors::None => (NONE, 0, 0),
            RowAnchors::Input(row) => (INPUT, row, 0),
            RowAnchors::Held { start, len } => (HELD, start, len),
            RowAnchors::Tracked => (TRACKED, 0, 0),
        };
        Self { stream, anchors, direct: direct.unwrap_or(0), first, second }
    }

    /// The stream's place among the declared ones.
    #[inline]
    pub fn stream(&self) -> u16 {
        self.stream
    }

    /// What it is anchored to.
    #[inline]
    pub fn anchors(&self) -> RowAnchors {
        match self.anchors & !BEGINS_CALL {
            INPUT => RowAnchors::Input(self.first),
            HELD => RowAnchors::Held { start: self.first, len: self.second },
            TRACKED => RowAnchors::Tracked,
            _ => RowAnchors::None,
        }
    }

    /// Whether the row is the first of its call, in a list of rows of several calls.
    #[inline]
    pub fn begins_call(&self) -> bool {
        self.anchors & BEGINS_CALL != 0
    }

    /// The task that it is meant for, on a direct stream.
    #[inline]
    pub fn direct(&self) -> Option<TaskId> {
        (self.direct != 0).then_some(self.direct)
    }
}

/// Why the rows of a command were not staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unstaged {
    /// A row is anchored to a tuple of a lost instance. The tuple failed with that instance.
    Lost,
    /// A row does not fit its stream, or is anchored to a tuple that is already acked or failed.
    Refused(EmitError),
}

/// A decision about a held tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldEvent {
    /// It was processed.
    Ack(u32),
    /// It was not.
    Fail(u32),
}

/// Rows that were emitted and not yet dealt, flat.
#[derive(Debug, Default)]
pub struct Staged {
    /// All values, row after row.
    pub values: Vec<Value>,
    /// The rows.
    pub rows: Vec<StagedRow>,
    /// Slots that [`RowAnchors::Held`] points into.
    pub held_anchors: Vec<u32>,
}

impl Staged {
    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Drops all rows.
    pub fn clear(&mut self) {
        self.values.clear();
        self.rows.clear();
        self.held_anchors.clear();
    }

    /// Moves the rows of a call behind these. They must not be anchored to held tuples.
    #[inline]
    pub(crate) fn append(&mut self, call: &mut Self) {
        debug_assert!(call.held_anchors.is_empty(), "their places would change");
        if self.rows.is_empty() && call.rows.len() > 1 {
            call.rows[0].anchors |= BEGINS_CALL;
            mem::swap(&mut self.values, &mut call.values);
            mem::swap(&mut self.rows, &mut call.rows);
            return;
        }
        self.values.append(&mut call.values);
        // Most calls emit one row, which is cheaper to move by its parts.
        if let [StagedRow { stream, anchors, direct, first, second }] = *call.rows {
            self.rows.push(StagedRow { stream, anchors: anchors | BEGINS_CALL, direct, first, second });
            call.rows.clear();
        } else {
            if let Some(row) = call.rows.first_mut() {
                row.anchors |= BEGINS_CALL;
            }
            self.rows.append(&mut call.rows);
        }
    }

    /// Drops the rows whose anchors are withdrawn. Rows anchored to held tuples must not be among them.
    fn withdraw(&mut self, streams: &Streams, is_withdrawn: impl Fn(RowAnchors) -> bool) {
        let mut values = mem::take(&mut self.values).into_iter();
        let left = &mut self.values;
        self.rows.retain(|row| {
            let arity = streams.iter().as_slice()[row.stream as usize].fields.len();
            let values = values.by_ref().take(arity);
            let is_left = !is_withdrawn(row.anchors());
            if is_left {
                left.extend(values);
            } else {
                values.for_each(drop);
            }
            is_left
        });
    }
}

/// What one task has emitted and acked in its current call: reused, owned by the engine, so that it
/// outlives a call that panics and can be withdrawn.
#[derive(Debug)]
pub struct Staging {
    /// The declared streams.
    pub streams: Arc<Streams>,
    /// The rows.
    pub staged: Staged,
    /// What the call decided about held tuples.
    pub events: Vec<HeldEvent>,
    /// The tuples that the task holds.
    pub held: HeldTable,
    /// The slot that the current input was kept in, if it was.
    pub kept: Option<u32>,
    /// The decisions of a call for several inputs, one for each input.
    pub decisions: Decisions,
    /// How many rows one call may stage.
    pub limit: usize,
    pub(crate) refusal: Option<EmitError>,
    pub(crate) room: Arc<Room>,
    /// Whether the current call handed rows over before it returned.
    has_handed_over: bool,
    /// The place of the default stream and the number of its fields, if there is one and it is not
    /// direct.
    default: Option<(u16, usize)>,
    /// The value of `default` while the first emit of a call is watched. Without `default`, that emit takes
    /// the general path, which notes it. So unwatched emits cost nothing extra.
    watched_default: Option<Option<(u16, usize)>>,
}

impl Staging {
    /// An empty staging area of a task with these outputs; `limit` rows a call.
    pub fn new(streams: Arc<Streams>, limit: usize) -> Self {
        let place = streams.iter().position(|spec| spec.id == DEFAULT_STREAM && !spec.is_direct);
        let default = place.map(|place| (place as u16, streams.iter().as_slice()[place].fields.len()));
        Self {
            default,
            watched_default: None,
            streams,
            staged: Staged::default(),
            events: Vec::new(),
            held: HeldTable::default(),
            kept: None,
            decisions: Decisions::default(),
            limit,
            refusal: None,
            room: Arc::new(Room::default()),
            has_handed_over: false,
        }
    }

    /// Watches the next call: its first emit is noted in the mailbox.
    pub(crate) fn watch_first_emit(&mut self) {
        self.room.set_emitted(false);
        if self.watched_default.is_none() {
            self.watched_default = Some(self.default.take());
        }
    }

    /// The mailbox of the running call.
    pub fn room(&self) -> Arc<Room> {
        self.room.clone()
    }

    /// Whether the call did nothing but emit, all of it fit, and none of it is anchored to held
    /// tuples: then it can be settled together with others.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.kept.is_none()
            && self.events.is_empty()
            && self.refusal.is_none()
            && self.staged.held_anchors.is_empty()
            && !self.has_handed_over
    }

    /// Whether the call handed rows over before it returned; asked once, when it is settled.
    pub fn take_handed_over(&mut self) -> bool {
        mem::take(&mut self.has_handed_over)
    }

    /// Takes the first thing that was wrong with the call's emits.
    pub fn take_refusal(&mut self) -> Option<EmitError> {
        self.refusal.take()
    }

    /// Drops everything staged: the call failed.
    pub fn withdraw(&mut self) {
        self.staged.clear();
    }

    /// Drops the rows that were emitted for inputs which the call has failed.
    pub fn withdraw_failed(&mut self) {
        if self.decisions.withdraws() {
            self.staged.withdraw(&self.streams, |anchors| self.decisions.is_withdrawn(anchors));
        }
    }

    /// Stages the rows of a command of spawned work: all of them, or none.
    ///
    /// # Errors
    /// When a row cannot be staged. No row is staged then.
    pub fn stage_command(&mut self, rows: Vec<OutputRow>) -> Result<(), Unstaged> {
        let staged = rows.into_iter().try_for_each(|row| self.stage(row));
        if staged.is_err() {
            self.withdraw();
        }
        staged
    }

    fn stage(&mut self, row: OutputRow) -> Result<(), Unstaged> {
        let start = self.staged.held_anchors.len();
        for anchor in &row.anchors {
            match self.held.find(anchor) {
                Ok(slot) => self.staged.held_anchors.push(slot),
                Err(NotHeld::Lost) => return Err(Unstaged::Lost),
                Err(NotHeld::Decided) => return Err(Unstaged::Refused(EmitError::Decided)),
            }
        }
        let len = row.anchors.len() as u32;
        let anchors = if len == 0 { RowAnchors::None } else { RowAnchors::Held { start: start as u32, len } };
        self.push(row.stream.as_deref(), anchors, row.direct, row.values);
        self.take_refusal().map_or(Ok(()), |refusal| Err(Unstaged::Refused(refusal)))
    }

    /// Stages a row of the default stream: what nearly all emits are, so this is inlined into the
    /// user's code, where the values are made in place.
    #[inline(always)]
    pub(crate) fn push_default(&mut self, anchors: RowAnchors, row: impl Row) -> bool {
        match self.default {
            Some((stream, arity)) if self.staged.rows.len() < self.limit => {
                let before = self.staged.values.len();
                row.append_to(&mut self.staged.values);
                if self.staged.values.len() - before != arity {
                    return self.finish_row(stream, anchors, None, before);
                }
                self.staged.rows.push(StagedRow::new(stream, anchors, None));
                true
            }
            _ => self.push(None, anchors, None, row),
        }
    }

    pub(crate) fn push(
        &mut self,
        stream: Option<&str>,
        anchors: RowAnchors,
        direct: Option<TaskId>,
        row: impl Row,
    ) -> bool {
        if let Some(default) = self.watched_default.take() {
            self.default = default;
            self.room.set_emitted(true);
        }
        let index = match stream {
            None => self.streams.index_of(DEFAULT_STREAM).map(|index| index as u16),
            Some(name) => self.streams.index_of(name).map(|index| index as u16),
        };
        let Some(stream) = index else {
            let known = self.streams.iter().map(|stream| stream.id.clone()).collect();
            self.refuse(EmitError::UnknownStream { stream: stream.unwrap_or(DEFAULT_STREAM).into(), known });
            return false;
        };
        if self.staged.rows.len() >= self.limit {
            self.refuse(EmitError::Limit { limit: self.limit });
            return false;
        }
        let before = self.staged.values.len();
        row.append_to(&mut self.staged.values);
        self.finish_row(stream, anchors, direct, before)
    }

    /// Checks the row whose values were appended behind `before`, and notes it.
    pub(crate) fn finish_row(
        &mut self,
        stream: u16,
        anchors: RowAnchors,
        direct: Option<TaskId>,
        before: usize,
    ) -> bool {
        let spec = &self.streams.iter().as_slice()[stream as usize];
        let found = self.staged.values.len() - before;
        if found != spec.fields.len() || spec.is_direct != direct.is_some() {
            self.refuse_row(stream, found, direct.is_some(), before);
            return false;
        }
        self.staged.rows.push(StagedRow::new(stream, anchors, direct));
        true
    }

    #[cold]
    fn refuse_row(&mut self, stream: u16, found: usize, is_direct: bool, before: usize) {
        self.staged.values.truncate(before);
        let spec = &self.streams.iter().as_slice()[stream as usize];
        let stream = spec.id.clone();
        self.refuse(if found != spec.fields.len() {
            EmitError::Arity { stream, found, fields: spec.fields.clone() }
        } else if is_direct {
            EmitError::NotDirect { stream }
        } else {
            EmitError::Direct { stream }
        });
    }

    #[cold]
    pub(crate) fn refuse(&mut self, error: EmitError) {
        self.refusal.get_or_insert(error);
    }

    pub(crate) fn stream_index(&self, stream: Option<&str>) -> Result<u16, EmitError> {
        let name = stream.unwrap_or(DEFAULT_STREAM);
        self.streams.index_of(name).map(|index| index as u16).ok_or_else(|| EmitError::UnknownStream {
            stream: SmolStr::new(name),
            known: self.streams.iter().map(|stream| stream.id.clone()).collect(),
        })
    }

    /// Hands the staged rows over to the engine, for a call that waits for room.
    pub(crate) fn hand_over(&mut self) {
        let mut staged = mem::take(&mut self.staged);
        let (held, origins) = self.held.excerpt(&mut staged.held_anchors);
        self.has_handed_over = true;
        self.room.hand_over(HandedOver { staged, held, origins });
    }
}
