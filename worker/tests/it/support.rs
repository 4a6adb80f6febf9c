//! Components that the tests have in common.

use std::sync::{Arc, Mutex};

use galerna_topology_api::*;
use galerna_worker::testing::Feeder;

/// Rows, and the tasks that received them.
type Received = Vec<(TaskId, Vec<Value>)>;

/// What a bolt has received, shared with the test.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Received>>);

impl Log {
    pub(crate) fn rows(&self) -> Vec<Vec<Value>> {
        self.0.lock().unwrap().iter().map(|(_, row)| row.clone()).collect()
    }
    pub(crate) fn by_task(&self) -> Received {
        self.0.lock().unwrap().clone()
    }
    pub(crate) fn note(&self, task: TaskId, row: &[Value]) {
        self.0.lock().unwrap().push((task, row.to_vec()));
    }
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Notes what it receives, and passes it on.
pub(crate) struct Noting {
    pub(crate) log: Log,
    pub(crate) fields: Fields,
}

impl Noting {
    pub(crate) fn new(log: &Log, fields: impl Into<Fields>) -> Self {
        Self { log: log.clone(), fields: fields.into() }
    }
}

impl Bolt for Noting {
    fn output(&self) -> Streams {
        Streams::default_fields(self.fields.clone())
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        self.log.note(out.context().task_id(), tuple.values());
        out.emit(tuple.values());
        Ok(())
    }
}

/// Emits the numbers from 0, reliably, and emits again what fails.
pub(crate) struct Numbers {
    next: i64,
    count: i64,
    open: RetryBuffer<i64>,
}

impl Numbers {
    pub(crate) fn new(count: i64) -> Self {
        Self { next: 0, count, open: RetryBuffer::new(Retries::at_most(20), Boundedness::Bounded) }
    }
    pub(crate) fn endless() -> Self {
        Self::new(i64::MAX)
    }
    pub(crate) fn retries(mut self, limit: u32) -> Self {
        self.open = RetryBuffer::new(Retries::at_most(limit), Boundedness::Bounded);
        self
    }
}

impl Spout for Numbers {
    type MessageId = i64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        if self.open.emit_due(out, 1) > 0 {
            return Ok(Next::Emitted);
        }
        if self.next < self.count {
            self.open.sent(self.next, values![self.next].to_vec());
            out.emit(self.next, values![self.next]);
            self.next += 1;
        } else {
            return Ok(if self.open.is_waiting() { Next::Idle } else { Next::Exhausted });
        }
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, id: i64, context: &TopologyContext) -> Result<()> {
        self.open.ack(&id, context);
        Ok(())
    }
    async fn fail(&mut self, id: i64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.open.fail(&id, failure, context);
        Ok(())
    }
}

pub(crate) fn numbers(rows: &[Vec<Value>]) -> Vec<i64> {
    rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
}

/// A bolt made of a function.
pub(crate) struct Each<F> {
    pub(crate) call: F,
    pub(crate) output: Streams,
}

impl<F> Bolt for Each<F>
where
    F: FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Send + 'static,
{
    fn output(&self) -> Streams {
        self.output.clone()
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        (self.call)(tuple, out)
    }
}

/// A sink made of a function, for a builder.
pub(crate) fn sink<F>(call: F) -> impl Fn() -> Each<F> + Send + Sync + 'static
where
    F: FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Clone + Send + Sync + 'static,
{
    move || Each { call: call.clone(), output: Streams::none() }
}

/// Refuses one number, for a [`sink`].
pub(crate) fn refusing(
    number: i64,
) -> impl FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Clone + Send + Sync + 'static {
    move |tuple, _| if tuple.i64("n")? == number { Err("refused".into()) } else { Ok(()) }
}

/// A feeder of these numbers, and of nothing after them.
pub(crate) fn fed(numbers: impl IntoIterator<Item = i64>) -> Feeder {
    let feeder = Feeder::new(["n"]);
    numbers.into_iter().for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    feeder
}

/// Takes this long for each tuple, on the engine's clock, and passes it on.
#[derive(Clone)]
pub(crate) struct Slow(pub(crate) std::time::Duration);

impl Bolt for Slow {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.context().sleep(self.0).await;
        out.emit(tuple.values());
        Ok(())
    }
}

/// The latest time-out of a message in tests, in virtual time.
pub(crate) const TIMEOUT: &str = "topology.message.timeout.secs";
pub(crate) const PENDING: &str = "topology.max.spout.pending";

/// Emits this many numbers in one call, untracked, and ends.
pub(crate) struct OneCall(pub(crate) i64);

impl Spout for OneCall {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        (0..std::mem::take(&mut self.0)).for_each(|n| out.emit_untracked(values![n]));
        Ok(Next::Exhausted)
    }
}
