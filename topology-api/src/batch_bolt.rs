//! The trait of bolts that take many tuples at a time, and the batch that they are given.

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

/// A bolt that takes many tuples at a time: vectorised work, one round trip to a database for many
/// rows, a process in another language.
///
/// `execute_batch` is given the tuples that have arrived and decides about each: a tuple that it
/// neither [`fail`](BatchEmitter::fail)s nor [`keep`](BatchEmitter::keep)s is acked when it returns
/// `Ok`. After `Err` all tuples of the batch fail, the error is listed, and everything that the call
/// emitted is withdrawn; kept tuples of earlier calls that it acked fail too. A panic does the same, and
/// fails whatever the task holds: the bolt does not say which tuple it was. The task is made anew by its
/// factory, and goes on with the tuples behind the batch.
///
/// **The size of a batch is what has arrived**: from 1 to [`TupleBatch::MAX_LEN`] tuples. With little
/// traffic most batches hold a single tuple, so a bolt must not rely on a size. A bolt that needs more
/// tuples than have arrived keeps them, and decides in a later call, in `tick` or in `flush`.
///
/// Each tuple counts as executed. The execute latency is that of the call, whatever number of tuples
/// it was given. `topology.emit.limit` holds for the call.
///
/// Methods are written as `async fn`. One task's methods never run at the same time.
pub trait BatchBolt: Send + 'static {
    /// As [`Bolt::output`](crate::Bolt::output).
    fn output(&self) -> Streams {
        Streams::none()
    }

    /// As [`Bolt::prepare`](crate::Bolt::prepare).
    fn prepare(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        let _ = context;
        ready(Ok(()))
    }

    /// The tuples that have arrived.
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
/// There is at least one, and at most [`MAX_LEN`](Self::MAX_LEN). The methods of
/// [`BatchEmitter`] name a tuple by its number, which starts at 0.
#[derive(Clone, Copy)]
pub struct TupleBatch<'a> {
    batch: &'a Batch,
    first: usize,
    len: usize,
}

impl<'a> TupleBatch<'a> {
    /// The most tuples that one call is given.
    pub const MAX_LEN: usize = 1024;

    pub(crate) fn new(batch: &'a Batch, rows: Range<usize>) -> Self {
        Self { batch, first: rows.start, len: rows.len() }
    }

    /// How many tuples there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none. A bolt is never given such a batch.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A tuple by its number, from 0.
    ///
    /// # Panics
    /// When there is no such tuple, as a slice does.
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

    /// The stream that they were emitted on.
    pub fn source_stream(&self) -> &'a str {
        &self.batch.source.stream
    }

    /// The task that emitted them.
    pub fn source_task(&self) -> TaskId {
        self.batch.source.task
    }

    /// What all tuples have in common.
    pub(crate) fn source(&self) -> &'a TupleSource {
        &self.batch.source
    }

    /// The row of the batch underneath that a number stands for.
    pub(crate) fn row(&self, number: usize) -> Option<usize> {
        (number < self.len).then(|| self.first + number)
    }
}

impl fmt::Debug for TupleBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
