//! One task of a bolt without a cluster.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use galerna_topology_api::engine::{
    Anchor, Batch, BatchCell, BoltCall, BoltCell, BoltEvent, BoltFactory, Done, ErasedBolt, Root, Sender, Staged,
    Staging, TupleSource,
};
use galerna_topology_api::{
    BatchBolt, Bolt, ComponentInfo, Error, Fields, ManualBolt, Result, Row, Streams, TopologyContext, Value,
};

use super::bolt_host::{Host, obey};
use super::port::HarnessPort;
use super::rows::take_rows;
use super::task::TaskOptions;
use crate::output::{Submission, Submissions};

/// Calls one bolt's methods and shows what it emits, acks and fails.
///
/// ```
/// # use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, Tuple, values};
/// # use galerna_worker::testing::*;
/// # struct Double;
/// # impl Bolt for Double {
/// #     fn output(&self) -> Streams { Streams::default_fields(["n"]) }
/// #     async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
/// #         out.emit(values![tuple.i64("n")? * 2]);
/// #         Ok(())
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> TestResult {
/// let mut harness = BoltHarness::new(["n"], || Double).await?;
/// let executed = harness.execute(values![21]).await;
/// assert_eq!(executed.emitted, [("default".into(), values![42].to_vec())]);
/// assert!(executed.is_acked);
/// # Ok(()) }
/// ```
///
/// The bolt may spawn work that emits and acks through an
/// [`OutputHandle`](galerna_topology_api::OutputHandle). Each call of the harness takes in what
/// spawned work has sent so far; [`settled`](Self::settled) waits for more.
///
/// # Cancel safety
/// A future of [`execute`](Self::execute), [`execute_all`](Self::execute_all), [`tick`](Self::tick),
/// [`flush`](Self::flush) or [`finish`](Self::finish) that is dropped leaves the bolt in the middle of a
/// call: make a new harness then.
pub struct BoltHarness {
    cell: Box<dyn ErasedBolt>,
    staging: Staging,
    context: TopologyContext,
    source: Arc<TupleSource>,
    executed: u32,
    port: Arc<HarnessPort>,
    /// Output of spawned work.
    submissions: Submissions,
    acked: usize,
    failed: usize,
    /// Rows that the test has not taken yet.
    rows: Vec<Vec<Value>>,
}

/// The effects of one call.
#[derive(Debug, Default)]
pub struct Executed {
    /// The emitted rows, each with its stream.
    pub emitted: Vec<(String, Vec<Value>)>,
    /// Whether the input was acked when the call returned.
    pub is_acked: bool,
    /// Whether the input was kept.
    pub is_kept: bool,
    /// Inputs kept earlier that this call acked (`true`) or failed, counted from 0.
    pub settled: Vec<(usize, bool)>,
    /// The error, if the call failed.
    pub error: Option<Error>,
}

impl Executed {
    /// The same as a result, so that `?` ends the test if the call failed.
    ///
    /// # Errors
    /// When the call failed.
    pub fn into_result(mut self) -> Result<Self> {
        self.error.take().map_or(Ok(self), Err)
    }

    pub(super) fn take_rows(&mut self, staged: &mut Staged, streams: &Streams) {
        let taken = take_rows(staged, streams);
        self.emitted.extend(taken.into_iter().map(|(_, stream, values)| (stream, values)));
    }

    /// Notes the decision about the tuple held in `slot`.
    pub(super) fn settle(&mut self, staging: &mut Staging, slot: u32, is_acked: bool) {
        let anchors = staging.held.remove(slot).map(|entry| entry.anchors).unwrap_or_default();
        self.settled.extend(anchors.iter().map(|anchor| (anchor.root.slot as usize, is_acked)));
    }

    fn append(&mut self, mut later: Self) {
        self.emitted.append(&mut later.emitted);
        self.settled.append(&mut later.settled);
    }
}

/// An event of spawned work.
enum Arrival {
    Output(Submission),
    /// Kept tuples were dropped without a decision.
    Dropped,
}

impl BoltHarness {
    /// Makes a bolt that acks automatically, whose input has these fields, and calls `prepare`.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn new<B: Bolt>(fields: impl Into<Fields>, make: impl Fn() -> B + Send + Sync + 'static) -> Result<Self> {
        Self::of(&BoltCell::auto_factory(move || Ok(make())), fields, TaskOptions::default()).await
    }

    /// Makes a bolt that acks by hand, and calls `prepare`.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn manual<B: ManualBolt>(
        fields: impl Into<Fields>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(&BoltCell::factory(move || Ok(make())), fields, TaskOptions::default()).await
    }

    /// Makes a bolt that takes many tuples in one call, and calls `prepare`.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn batch<B: BatchBolt>(
        fields: impl Into<Fields>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(&BatchCell::factory(move || Ok(make())), fields, TaskOptions::default()).await
    }

    /// The general form: a factory, the fields of the input, and the options of the task, or a config.
    ///
    /// # Errors
    /// When the bolt cannot be made or `prepare` fails.
    pub async fn of(make: &BoltFactory, fields: impl Into<Fields>, options: impl Into<TaskOptions>) -> Result<Self> {
        let (fields, mut cell) = (fields.into(), make()?);
        let output = cell.output();
        let source = ComponentInfo { tasks: 1..2, streams: Streams::default_fields(fields.clone()) };
        let (port, submissions) = HarnessPort::new();
        let context = options.into().context("bolt", output.clone(), [("source", source)], port.clone());
        cell.prepare(&context).await?;
        let source = TupleSource { component: "source".into(), stream_index: 0, stream: "default".into(), fields };
        let staging = Staging::new(Arc::new(output), context.config().emit_limit());
        let source = Arc::new(source);
        let (executed, acked, failed, rows) = (0, 0, 0, Vec::new());
        Ok(Self { cell, staging, context, source, executed, port, submissions, acked, failed, rows })
    }

    /// Gives the bolt one tuple.
    ///
    /// # Panics
    /// When the row does not have a value for each field.
    pub async fn execute(&mut self, row: impl Row) -> Executed {
        self.execute_all([row]).await.pop().unwrap_or_default()
    }

    /// Gives the bolt tuples: all in one batch, if the bolt takes many tuples in one call. Returns the outcome
    /// of each tuple.
    ///
    /// The outcome of the last tuple includes rows that were emitted for no tuple of the batch, earlier inputs
    /// that were settled, and the effects of spawned work.
    ///
    /// # Panics
    /// When a row does not have a value for each field.
    pub async fn execute_all<R: Row>(&mut self, rows: impl IntoIterator<Item = R>) -> Vec<Executed> {
        let batch = self.batch_of(rows);
        let mut host = Host::new(&self.staging);
        let mut cursor = 0;
        let call = BoltCall {
            batch: &batch,
            cursor: &mut cursor,
            staging: &mut self.staging,
            done: &mut Done { chunk: 1, ..Done::default() },
            host: &mut host,
            context: &self.context,
        };
        self.cell.execute_batch(call).await;
        let mut rows = host.rows;
        for executed in &rows {
            self.acked += usize::from(executed.is_acked);
            self.failed += usize::from(executed.error.is_some());
            self.note(executed);
        }
        if let Some(last) = rows.last_mut() {
            last.append(self.take_in_sent());
        }
        rows
    }

    /// Calls `tick`.
    pub async fn tick(&mut self) -> Executed {
        self.event(BoltEvent::Tick).await
    }

    /// Calls `flush`.
    pub async fn flush(&mut self) -> Executed {
        self.event(BoltEvent::Flush).await
    }

    /// Calls `finish`.
    pub async fn finish(&mut self) -> Executed {
        self.event(BoltEvent::Finish).await
    }

    /// Calls `cleanup`.
    ///
    /// # Errors
    /// When `cleanup` fails.
    pub async fn cleanup(&mut self) -> Result<()> {
        self.cell.cleanup(&self.context).await
    }

    /// Waits until `count` inputs in all are acked or failed, while spawned work runs. Returns the effects of
    /// spawned work meanwhile.
    ///
    /// # Cancel safety
    /// If the future is dropped, [`acked`](Self::acked), [`failed`](Self::failed) and
    /// [`take_rows`](Self::take_rows) include the effects of spawned work.
    pub async fn settled(&mut self, count: usize) -> Executed {
        let mut executed = self.take_in_sent();
        while self.acked + self.failed < count {
            let arrival = poll_fn(|cx| self.poll_arrival(cx)).await;
            executed.append(self.take_in(arrival));
        }
        executed
    }

    /// The number of inputs acked so far, by calls and by spawned work.
    pub fn acked(&self) -> usize {
        self.acked
    }

    /// The number of inputs that failed so far, including kept tuples that were dropped without a decision.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// The rows that calls and spawned work emitted on any stream since `take_rows` was last called.
    /// Rows of a batch come in the order of its tuples.
    pub fn take_rows(&mut self) -> Vec<Vec<Value>> {
        std::mem::take(&mut self.rows)
    }

    /// The errors that the bolt reported without failing.
    pub fn reported(&self) -> Vec<String> {
        self.port.notes().errors.clone()
    }

    /// The task's context: its counters and gauges, the time that has passed.
    pub fn context(&self) -> &TopologyContext {
        &self.context
    }

    /// These rows as one batch of the source.
    fn batch_of<R: Row>(&mut self, rows: impl IntoIterator<Item = R>) -> Batch {
        let mut batch = Batch::new(self.source.clone());
        batch.senders.begin(0, Sender { task: 1, launch: 1, is_final: false });
        for row in rows {
            row.append_to(&mut batch.values);
            batch.rows += 1;
            let values = batch.rows * self.source.fields.len();
            assert_eq!(batch.values.len(), values, "values of rows with {}", self.source.fields);
            // The slot of the tree identifies the input of a later ack.
            let root = Root { spout: 1, incarnation: 1, slot: self.executed, generation: 0 };
            batch.anchors.push(Anchor { root, edge: 1 });
            self.executed += 1;
        }
        batch
    }

    async fn event(&mut self, event: BoltEvent) -> Executed {
        let mut host = Host::new(&self.staging);
        self.cell.event(event, &mut self.staging, &mut host, &self.context).await;
        let mut executed = host.executed;
        self.note(&executed);
        executed.append(self.take_in_sent());
        executed
    }

    /// Takes in the output that spawned work has sent so far.
    fn take_in_sent(&mut self) -> Executed {
        let mut executed = self.take_in(Arrival::Dropped);
        while let Some(submission) = self.submissions.try_next() {
            executed.append(self.take_in(Arrival::Output(submission)));
        }
        executed
    }

    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Arrival> {
        if self.staging.held.watch_dropped(cx.waker()) {
            return Poll::Ready(Arrival::Dropped);
        }
        self.submissions.poll_next(cx).map(Arrival::Output)
    }

    fn take_in(&mut self, arrival: Arrival) -> Executed {
        let mut executed = Executed::default();
        match arrival {
            Arrival::Output(submission) => {
                for command in submission.commands {
                    obey(command, &mut self.staging, &*self.port, &mut executed);
                }
            }
            Arrival::Dropped => {
                for slot in self.staging.held.take_dropped() {
                    executed.settle(&mut self.staging, slot, false);
                }
            }
        }
        self.note(&executed);
        executed
    }

    fn note(&mut self, executed: &Executed) {
        let acked = executed.settled.iter().filter(|(_, is_acked)| *is_acked).count();
        self.acked += acked;
        self.failed += executed.settled.len() - acked;
        self.rows.extend(executed.emitted.iter().map(|(_, values)| values.clone()));
    }
}
