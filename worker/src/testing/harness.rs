//! One bolt without a cluster.

mod batch;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{
    Anchor, Batch, BatchCell, BoltCall, BoltCell, BoltEvent, BoltFactory, BoltHost, BoxFuture, Done, ErasedBolt, Flow,
    HeldEvent, OutputCommand, Root, RowAnchors, Staged, Staging, TaskPort, TupleSource,
};
use galerna_topology_api::{
    BatchBolt, Bolt, ComponentInfo, Error, Fields, ManualBolt, OutputClosed, Resources, Result, Row, Streams,
    Timestamp, TopologyConfig, TopologyContext, TopologyInfo, Value,
};
use tokio::time::Instant;

use crate::stats::TaskStats;

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
pub struct BoltHarness {
    cell: Box<dyn ErasedBolt>,
    staging: Staging,
    context: TopologyContext,
    source: Arc<TupleSource>,
    executed: u32,
    port: Arc<HarnessPort>,
}

/// What one call did.
#[derive(Debug, Default)]
pub struct Executed {
    /// The streams and rows that it emitted.
    pub emitted: Vec<(String, Vec<Value>)>,
    /// Whether the input was acked when the call returned.
    pub is_acked: bool,
    /// Whether the input was kept.
    pub is_kept: bool,
    /// Inputs of earlier calls that were acked or failed now, counted from 0.
    pub settled: Vec<(usize, bool)>,
    /// Why it failed, if it did.
    pub error: Option<Error>,
}

impl BoltHarness {
    /// A bolt that acks automatically, whose input has these fields. `prepare` was called.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn new<B: Bolt>(fields: impl Into<Fields>, make: impl Fn() -> B + Send + Sync + 'static) -> Result<Self> {
        Self::of(&BoltCell::auto_factory(move || Ok(make())), fields.into(), TopologyConfig::new()).await
    }

    /// A bolt that acks by hand. `prepare` was called.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn manual<B: ManualBolt>(
        fields: impl Into<Fields>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(&BoltCell::factory(move || Ok(make())), fields.into(), TopologyConfig::new()).await
    }

    /// A bolt that takes many tuples at a time. `prepare` was called.
    ///
    /// # Errors
    /// When `prepare` fails.
    pub async fn batch<B: BatchBolt>(
        fields: impl Into<Fields>,
        make: impl Fn() -> B + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::of(&BatchCell::factory(move || Ok(make())), fields.into(), TopologyConfig::new()).await
    }

    /// The general form: a factory and a config.
    ///
    /// # Errors
    /// When the bolt cannot be made or `prepare` fails.
    pub async fn of(make: &BoltFactory, fields: Fields, config: TopologyConfig) -> Result<Self> {
        let mut cell = make()?;
        let output = cell.output();
        let streams = Streams::default_fields(fields.clone());
        let components = BTreeMap::from([
            ("source".into(), ComponentInfo { tasks: 1..2, streams }),
            ("bolt".into(), ComponentInfo { tasks: 2..3, streams: output.clone() }),
        ]);
        let info = TopologyInfo { name: "harness".into(), id: "harness-1".into(), components };
        let port = Arc::new(HarnessPort { began: Instant::now(), errors: Mutex::default() });
        let stats = TaskStats::default();
        let limit = config.emit_limit();
        let resources = Arc::new(Resources::default());
        let context =
            TopologyContext::new(Arc::new(info), "bolt", 2, 1, config, resources, stats.metrics, port.clone());
        cell.prepare(&context).await?;
        let source = TupleSource {
            component: "source".into(),
            task: 1,
            incarnation: 1,
            stream_index: 0,
            stream: "default".into(),
            fields,
        };
        let staging = Staging::new(Arc::new(output), limit);
        Ok(Self { cell, staging, context, source: Arc::new(source), executed: 0, port })
    }

    /// Gives the bolt one tuple.
    ///
    /// # Panics
    /// When the row does not have a value for each field.
    pub async fn execute(&mut self, row: impl Row) -> Executed {
        self.execute_all([row]).await.pop().unwrap_or_default()
    }

    /// Gives the bolt tuples: all in one batch, if it takes many at a time. Answers what became of each.
    ///
    /// What the call emitted for no tuple of the batch, and what it settled of earlier ones, stands with
    /// the last tuple.
    ///
    /// # Panics
    /// When a row does not have a value for each field.
    pub async fn execute_all<R: Row>(&mut self, rows: impl IntoIterator<Item = R>) -> Vec<Executed> {
        let mut batch = Batch::new(self.source.clone(), 2);
        for row in rows {
            row.append_to(&mut batch.values);
            batch.rows += 1;
            let values = batch.rows * self.source.fields.len();
            assert_eq!(batch.values.len(), values, "values of rows with {}", self.source.fields);
            // The slot of the tree tells later which input was acked.
            let root = Root { spout: 1, incarnation: 1, slot: self.executed, generation: 0 };
            batch.anchors.push(Anchor { root, edge: 1 });
            self.executed += 1;
        }
        let mut host = self.host(true);
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
        host.rows
    }

    /// Gives the bolt a tick.
    pub async fn tick(&mut self) -> Executed {
        self.event(BoltEvent::Tick).await
    }

    /// Flushes the bolt.
    pub async fn flush(&mut self) -> Executed {
        self.event(BoltEvent::Flush).await
    }

    /// Has the bolt say its last words.
    pub async fn finish(&mut self) -> Executed {
        self.event(BoltEvent::Finish).await
    }

    /// Has the bolt clean up.
    ///
    /// # Errors
    /// When `cleanup` fails.
    pub async fn cleanup(&mut self) -> Result<()> {
        self.cell.cleanup(&self.context).await
    }

    /// The errors that the bolt reported without failing.
    pub fn reported(&self) -> Vec<String> {
        self.port.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn host(&self, has_input: bool) -> Host {
        let (streams, room) = (self.staging.streams.clone(), self.staging.room());
        Host { streams, executed: Executed::default(), rows: Vec::new(), anchors: Vec::new(), room, has_input }
    }

    async fn event(&mut self, event: BoltEvent) -> Executed {
        let mut host = self.host(false);
        self.cell.event(event, &mut self.staging, &mut host, &self.context).await;
        host.executed
    }
}

struct Host {
    streams: Arc<Streams>,
    executed: Executed,
    /// What became of each tuple so far.
    rows: Vec<Executed>,
    /// What each row that was emitted is anchored to.
    anchors: Vec<RowAnchors>,
    room: Arc<galerna_topology_api::engine::Room>,
    has_input: bool,
}

impl Host {
    fn take_rows(&mut self, staged: &mut Staged) {
        let mut place = 0;
        for row in &staged.rows {
            let spec = &self.streams.iter().as_slice()[row.stream() as usize];
            let values = staged.values[place..place + spec.fields.len()].to_vec();
            place += spec.fields.len();
            self.executed.emitted.push((spec.id.to_string(), values));
            self.anchors.push(row.anchors());
        }
        staged.clear();
    }

    /// Settles held tuples as the call has decided.
    fn decide(&mut self, staging: &mut Staging, is_ok: bool) {
        let mut decided: Vec<(u32, bool)> = Vec::new();
        for event in std::mem::take(&mut staging.events) {
            match event {
                HeldEvent::Ack(slot) if is_ok => {
                    if staging.held.count_ack(slot) {
                        decided.push((slot, true));
                    }
                }
                HeldEvent::Ack(slot) | HeldEvent::Fail(slot) => decided.push((slot, false)),
            }
        }
        decided.extend(staging.held.take_dropped().into_iter().map(|slot| (slot, false)));
        for (slot, is_acked) in decided {
            let anchors = staging.held.remove(slot).map(|entry| entry.anchors).unwrap_or_default();
            self.executed.settled.extend(anchors.iter().map(|anchor| (anchor.root.slot as usize, is_acked)));
        }
    }
}

impl BoltHost for Host {
    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow {
        staging.take_handed_over();
        let refusal = staging.take_refusal().map(Error::from);
        let outcome = outcome.and(refusal.map_or(Ok(()), Err));
        let is_ok = outcome.is_ok();
        self.executed.error = outcome.err();
        if is_ok {
            self.take_rows(&mut staging.staged);
        }
        staging.withdraw();
        self.executed.is_kept = is_ok && staging.kept.take().is_some();
        self.executed.is_acked = is_ok && self.has_input && !self.executed.is_kept;
        self.decide(staging, is_ok);
        if row.is_some() {
            self.rows.push(std::mem::take(&mut self.executed));
        }
        Flow::Continue
    }

    fn settle_run(&mut self, done: &mut Staged, _: Range<usize>) -> Flow {
        self.take_rows(done);
        self.executed.is_acked = true;
        self.rows.push(std::mem::take(&mut self.executed));
        Flow::Continue
    }

    fn settle_batch(&mut self, staging: &mut Staging, rows: Range<usize>, outcome: Result<()>) -> Flow {
        self.settle_rows(staging, rows.start, outcome);
        Flow::Continue
    }

    fn poll_pending(&mut self, _: &mut Done, _: Option<usize>, _: &mut Context<'_>) -> Poll<()> {
        let (parts, _) = self.room.take();
        if parts.is_empty() {
            return Poll::Pending;
        }
        parts.into_iter().for_each(|mut part| self.take_rows(&mut part.staged));
        self.room.made();
        Poll::Ready(())
    }

    fn time_call(&mut self, _: bool) {}
}

struct HarnessPort {
    began: Instant,
    errors: Mutex<Vec<String>>,
}

impl TaskPort for HarnessPort {
    fn report_error(&self, error: &Error) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
    }
    fn count_replayed(&self, _: u64) {}
    fn give_up(&self, _: &[Value], _: &str) {}
    fn submit(&self, _: OutputCommand) -> BoxFuture<'_, Result<(), OutputClosed>> {
        Box::pin(async { Err(OutputClosed) })
    }
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
    fn now(&self) -> Timestamp {
        crate::clock::WallClock::system().now()
    }
}
