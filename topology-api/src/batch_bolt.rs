//! Bolts that take many tuples in one call, and the batch of tuples for such a call.

use std::fmt;
use std::future::{Future, ready};
use std::ops::Range;

use crate::bolt::BoltResult;
use crate::context::TopologyContext;
use crate::emitter::{BatchEmitter, ManualEmitter};
use crate::engine::{Batch, TupleSource};
use crate::fields::{Fields, Streams};
use crate::tasks::TaskId;
use crate::tuple::Tuple;
use crate::wiring::Wiring;

/// A bolt that takes many tuples in one call: vectorised work, one round trip to a database for many
/// rows, a process in another language.
///
/// `execute_batch` receives the tuples that have arrived and decides about each. When the call returns
/// `Ok`, the engine acks every tuple that the call neither [failed](BatchEmitter::fail) nor
/// [kept](BatchEmitter::keep). After `Err`, all tuples of the batch fail, and so do kept tuples of earlier
/// calls that this call acked; the engine lists the error and withdraws all rows that the call emitted. A
/// panic has the same effect, and all other tuples that the task holds fail too. The factory then makes a
/// new bolt, which continues with the tuples behind the batch.
///
/// **A batch holds the tuples that have arrived**: from 1 to [`TupleBatch::MAX_LEN`]. With little traffic
/// most batches hold one tuple, so a bolt must not rely on a size. A bolt that needs more tuples keeps
/// those that have arrived, and decides in a later call, in `tick` or in `flush`.
///
/// Each tuple counts as executed. The execute latency is the time of the call, for any number of tuples.
/// `topology.emit.limit` limits the rows of the call.
///
/// Methods are written as `async fn`. Methods of one task never run at the same time.
pub trait BatchBolt: Send + 'static {
    /// As [`Bolt::output`](crate::Bolt::output).
    fn output(&self) -> Streams {
        Streams::none()
    }

    /// As [`Bolt::check`](crate::Bolt::check).
    fn check(&self, wiring: &mut Wiring<'_>) {
        let _ = wiring;
    }

    /// As [`Bolt::needs_ticks`](crate::Bolt::needs_ticks).
    fn needs_ticks(&self) -> bool {
        false
    }

    /// As [`Bolt::prepare`](crate::Bolt::prepare).
    fn prepare(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// Processes the tuples that have arrived.
    fn execute_batch(
        &mut self,
        batch: &TupleBatch<'_>,
        out: &mut BatchEmitter<'_>,
    ) -> impl Future<Output = BoltResult> + Send;

    /// As [`ManualBolt::tick`](crate::ManualBolt::tick).
    fn tick(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`ManualBolt::flush`](crate::ManualBolt::flush): a bolt that holds tuples acks them here.
    fn flush(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`Bolt::finish`](crate::Bolt::finish).
    fn finish(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        let _ = out;
        ready(Ok(()))
    }

    /// As [`Bolt::cleanup`](crate::Bolt::cleanup).
    fn cleanup(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }
}

/// Tuples of one stream, from one task to this one, in the order in which they were emitted.
///
/// A batch holds from 1 to [`MAX_LEN`](Self::MAX_LEN) tuples. The methods of [`BatchEmitter`] name a
/// tuple by its number, counted from 0.
#[derive(Clone, Copy)]
pub struct TupleBatch<'a> {
    batch: &'a Batch,
    first: usize,
    len: usize,
}

impl<'a> TupleBatch<'a> {
    /// The largest number of tuples in one call.
    pub const MAX_LEN: usize = 1024;

    pub(crate) fn new(batch: &'a Batch, rows: Range<usize>) -> Self {
        Self { batch, first: rows.start, len: rows.len() }
    }

    /// The number of tuples.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the batch holds no tuple. No bolt receives an empty batch.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The tuple with this number, from 0.
    ///
    /// # Panics
    /// When `number` is not below [`len`](Self::len).
    pub fn get(&self, number: usize) -> Tuple<'a> {
        match self.row(number) {
            Some(row) => self.batch.tuple(row),
            None => panic!("there is no tuple {number} in a batch of {}", self.len),
        }
    }

    /// The tuples, by ascending number.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Tuple<'a>> + DoubleEndedIterator + use<'a> {
        let batch = self.batch;
        (self.first..self.first + self.len).map(move |row| batch.tuple(row))
    }

    /// The names of the fields of all tuples.
    pub fn fields(&self) -> &'a Fields {
        &self.batch.source.fields
    }

    /// The component that emitted the tuples.
    pub fn source_component(&self) -> &'a str {
        &self.batch.source.component
    }

    /// The stream of the tuples.
    pub fn source_stream(&self) -> &'a str {
        &self.batch.source.stream
    }

    /// The task that emitted the tuples.
    pub fn source_task(&self) -> TaskId {
        self.batch.senders.of(self.first).task
    }

    /// The source that all tuples share.
    pub(crate) fn source(&self) -> &'a TupleSource {
        &self.batch.source
    }

    /// The row of the underlying batch for a tuple's number, or `None` beyond the last tuple.
    pub(crate) fn row(&self, number: usize) -> Option<usize> {
        (number < self.len).then(|| self.first + number)
    }
}

impl fmt::Debug for TupleBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
