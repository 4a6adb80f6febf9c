//! Emitting from bolts.

mod batch;

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::task::Poll;

use serde::Serialize;
use smol_str::SmolStr;

use crate::context::TopologyContext;
use crate::engine::{HeldEvent, RowAnchors, Staging};
use crate::error::Error;
use crate::fields::Fields;
use crate::held::HeldTuple;
use crate::tasks::TaskId;
use crate::tuple::Tuple;
use crate::value::{RowError, Value, append_row};

pub use batch::BatchEmitter;
pub(crate) use batch::batch_emitter;

/// A row of values that can be emitted: `values![..]`, a `Vec<Value>`, or a slice to clone from.
pub trait Row {
    /// Appends the values in the order of the fields.
    fn append_to(self, values: &mut Vec<Value>);
}

impl<const LEN: usize> Row for [Value; LEN] {
    #[inline(always)]
    fn append_to(self, values: &mut Vec<Value>) {
        values.extend(self);
    }
}

impl Row for Vec<Value> {
    fn append_to(mut self, values: &mut Vec<Value>) {
        values.append(&mut self);
    }
}

impl Row for &[Value] {
    fn append_to(self, values: &mut Vec<Value>) {
        values.extend_from_slice(self);
    }
}

impl Row for &Vec<Value> {
    fn append_to(self, values: &mut Vec<Value>) {
        values.extend_from_slice(self);
    }
}

/// What was wrong with an emit. The call that made it fails with this error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The stream was not declared.
    #[error("emit to undeclared stream `{stream}`{}; declared are {known:?}",
        crate::suggest::did_you_mean(stream, known.iter().map(SmolStr::as_str)))]
    UnknownStream {
        /// The stream that was named.
        stream: SmolStr,
        /// Those that are declared.
        known: Vec<SmolStr>,
    },
    /// The row has another number of values than the stream has fields.
    #[error("emit of {found} values to stream `{stream}`, which has the fields {fields}")]
    Arity {
        /// The stream.
        stream: SmolStr,
        /// The number of values given.
        found: usize,
        /// The fields expected.
        fields: Fields,
    },
    /// A task was named on a stream that is not direct.
    #[error("emit_direct to stream `{stream}`, which is not declared as direct")]
    NotDirect {
        /// The stream.
        stream: SmolStr,
    },
    /// No task was named on a direct stream.
    #[error("emit to direct stream `{stream}` without naming a task; use emit_direct")]
    Direct {
        /// The stream.
        stream: SmolStr,
    },
    /// The call emitted more than `topology.emit.limit` rows.
    #[error("one call emitted more than {limit} tuples (topology.emit.limit); await `out.room()` now and then")]
    Limit {
        /// The limit.
        limit: usize,
    },
    /// The call named a tuple that is not in its batch.
    #[error("there is no tuple {number} in a batch of {len}; the first is tuple 0")]
    NoSuchTuple {
        /// The number in the call.
        number: usize,
        /// The number of tuples in the batch.
        len: usize,
    },
    /// A row of spawned work is anchored to a tuple that is already acked or failed.
    #[error("emit of a row that is anchored to a tuple which was acked or failed before")]
    Decided,
    /// A struct could not become a row.
    #[error("cannot emit the row")]
    Row(#[from] RowError),
}

/// What a bolt emits with, and its context.
///
/// Emits never wait: rows are staged and taken up when the call returns. They are anchored to the
/// input, so that its tree is complete only when they are acked too. A row that does not fit its
/// stream makes the call fail.
pub struct Emitter<'a> {
    staging: &'a mut Staging,
    context: &'a TopologyContext,
    anchors: RowAnchors,
}

/// Makes the emitter for one call, for the tuple in `row` of a batch, if there is one.
pub fn emitter<'a>(staging: &'a mut Staging, context: &'a TopologyContext, row: Option<usize>) -> ManualEmitter<'a> {
    let anchors = row.map_or(RowAnchors::None, |row| RowAnchors::Input(row as u32));
    ManualEmitter(Emitter { staging, context, anchors })
}

/// The emitter of a bolt that acks automatically, inside that of one that acks by hand.
pub fn auto_emitter<'b, 'a>(emitter: &'b mut ManualEmitter<'a>) -> &'b mut Emitter<'a> {
    &mut emitter.0
}

impl<'a> Emitter<'a> {
    /// Emits on the default stream, anchored to the input.
    #[inline(always)]
    pub fn emit(&mut self, row: impl Row) {
        self.staging.push_default(self.anchors, row);
    }

    /// Emits on a named stream, anchored to the input.
    pub fn emit_to(&mut self, stream: &str, row: impl Row) {
        self.staging.push(Some(stream), self.anchors, None, row);
    }

    /// Emits to one task on a direct stream, anchored to the input.
    pub fn emit_direct(&mut self, task: TaskId, stream: &str, row: impl Row) {
        self.staging.push(Some(stream), self.anchors, Some(task), row);
    }

    /// Emits on the default stream, anchored to nothing: if the row is lost, nobody replays it.
    pub fn emit_unanchored(&mut self, row: impl Row) {
        self.staging.push(None, RowAnchors::None, None, row);
    }

    /// Emits on a named stream, anchored to nothing.
    pub fn emit_unanchored_to(&mut self, stream: &str, row: impl Row) {
        self.staging.push(Some(stream), RowAnchors::None, None, row);
    }

    /// Emits a struct as a row of the default stream, by serde.
    ///
    /// # Errors
    /// When the struct's fields are not the stream's.
    pub fn emit_row<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), EmitError> {
        let stream = self.staging.stream_index(None)?;
        let fields = self.staging.streams.iter().as_slice()[stream as usize].fields.clone();
        let mut values = Vec::with_capacity(fields.len());
        append_row(row, &fields, &mut values)?;
        self.emit(values);
        Ok(())
    }

    /// Waits until what was emitted so far has room downstream.
    ///
    /// A call that emits very much awaits this now and then; what was emitted before can then no
    /// longer be withdrawn should the call fail.
    ///
    /// # Cancel safety
    /// If the future is dropped, the rows handed over are sent nevertheless.
    pub async fn room(&mut self) {
        wait_for_room(self.staging).await;
    }

    /// Starts the time-outs of the trees that `tuple` belongs to anew, now.
    pub fn reset_timeout(&mut self, tuple: &Tuple<'_>) {
        self.staging.room.reset_timeouts(tuple.anchors().map(|anchor| anchor.root));
    }

    /// Lists an error of this task, without failing the tuple.
    pub fn report_error(&self, error: impl Into<Error>) {
        self.context.report_error(error);
    }

    /// Facts about the topology and this task.
    pub fn context(&self) -> &'a TopologyContext {
        self.context
    }
}

/// Hands over what is staged and waits until the engine has sent it.
pub(crate) async fn wait_for_room(staging: &mut Staging) {
    staging.withdraw_failed();
    if staging.staged.is_empty() {
        return;
    }
    staging.hand_over();
    let room = staging.room.clone();
    poll_fn(|cx| {
        if !room.has_mail() {
            return Poll::Ready(());
        }
        room.register(cx.waker());
        if room.has_mail() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// What a bolt that acks by hand emits with.
///
/// Everything of [`Emitter`], and: [`keep`](Self::keep) takes the input out of automatic acking,
/// [`ack`](Self::ack) and [`fail`](Self::fail) decide about what was kept. An input that is not
/// kept is acked when the call returns `Ok`, as for any bolt.
pub struct ManualEmitter<'a>(Emitter<'a>);

impl<'a> Deref for ManualEmitter<'a> {
    type Target = Emitter<'a>;
    fn deref(&self) -> &Emitter<'a> {
        &self.0
    }
}

impl DerefMut for ManualEmitter<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl ManualEmitter<'_> {
    /// Keeps the input tuple beyond this call: it is acked or failed by hand, later.
    ///
    /// Dropping what was kept without a decision fails it. Keeping the same input twice gives a
    /// second copy of the values; the tuple counts as processed when both are.
    pub fn keep(&mut self, tuple: &Tuple<'_>) -> HeldTuple {
        let staging = &mut *self.0.staging;
        // The view of a held tuple is not this call's input: its copy stands for itself.
        let kept = if tuple.is_held() { None } else { staging.kept };
        let held = staging.held.keep(tuple, kept);
        if !tuple.is_held() {
            staging.kept = Some(held.slot());
        }
        held
    }

    /// Says that a kept tuple was processed.
    pub fn ack(&mut self, tuple: HeldTuple) {
        if let Some(slot) = self.0.staging.held.spend(tuple) {
            self.0.staging.events.push(HeldEvent::Ack(slot));
        }
    }

    /// Says that a kept tuple could not be processed: its trees fail at once.
    pub fn fail(&mut self, tuple: HeldTuple) {
        if let Some(slot) = self.0.staging.held.spend(tuple) {
            self.0.staging.events.push(HeldEvent::Fail(slot));
        }
    }

    /// Emits on the default stream, anchored to all of these kept tuples.
    pub fn emit_anchored<'t>(&mut self, anchors: impl IntoIterator<Item = &'t HeldTuple>, row: impl Row) {
        self.stage_anchored(None, anchors, row);
    }

    /// Emits on a named stream, anchored to all of these kept tuples.
    pub fn emit_anchored_to<'t>(
        &mut self,
        stream: &str,
        anchors: impl IntoIterator<Item = &'t HeldTuple>,
        row: impl Row,
    ) {
        self.stage_anchored(Some(stream), anchors, row);
    }

    /// Starts the time-outs of a kept tuple's trees anew, now.
    pub fn reset_timeout_of(&mut self, tuple: &HeldTuple) {
        let roots: Vec<_> = self.0.staging.held.roots(tuple).collect();
        self.0.staging.room.reset_timeouts(roots);
    }

    fn stage_anchored<'t>(
        &mut self,
        stream: Option<&str>,
        anchors: impl IntoIterator<Item = &'t HeldTuple>,
        row: impl Row,
    ) {
        let staging = &mut *self.0.staging;
        let slots = &mut staging.staged.held_anchors;
        let start = slots.len();
        slots.extend(anchors.into_iter().filter_map(|tuple| staging.held.slot_of(tuple)));
        let len = slots.len() - start;
        staging.push(stream, RowAnchors::Held { start: start as u32, len: len as u32 }, None, row);
    }
}
