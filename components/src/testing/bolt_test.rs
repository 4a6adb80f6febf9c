//! Drives one task of a bolt.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{
    Batch, BoltCall, BoltCell, BoltEvent, BoltFactory, BoltHost, Done, ErasedBolt, Flow, HeldEvent, Room, Staged,
    Staging, TupleSource,
};
use galerna_topology_api::{Bolt, Error, Fields, ManualBolt, Result, Streams, TopologyContext, Value};

use super::TestPort;

/// One task of a bolt, and the fields of its input.
pub(crate) struct BoltTest {
    bolt: Box<dyn ErasedBolt>,
    input: Arc<TupleSource>,
    staging: Staging,
    host: Host,
    context: TopologyContext,
    port: Arc<TestPort>,
}

struct Host {
    streams: Arc<Streams>,
    room: Arc<Room>,
    emitted: Vec<Vec<Value>>,
    outcome: Result<()>,
    acked: usize,
    failed: usize,
}

impl Host {
    fn take_rows(&mut self, staged: &mut Staged) {
        let mut at = 0;
        for row in &staged.rows {
            let arity = self.streams.iter().nth(row.stream().into()).map_or(0, |stream| stream.fields.len());
            self.emitted.push(staged.values[at..at + arity].to_vec());
            at += arity;
        }
        staged.clear();
    }
}

impl BoltHost for Host {
    fn settle_run(&mut self, done: &mut Staged, rows: Range<usize>) -> Flow {
        self.take_rows(done);
        self.acked += rows.len();
        self.outcome = Ok(());
        Flow::Continue
    }

    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow {
        self.outcome = match staging.take_refusal() {
            Some(refusal) => Err(refusal.into()),
            None => outcome,
        };
        if self.outcome.is_ok() {
            self.take_rows(&mut staging.staged);
        }
        staging.withdraw();
        let is_kept = staging.kept.take().is_some();
        if row.is_some() && !is_kept {
            *if self.outcome.is_ok() { &mut self.acked } else { &mut self.failed } += 1;
        }
        for event in std::mem::take(&mut staging.events) {
            let (HeldEvent::Ack(slot) | HeldEvent::Fail(slot)) = event;
            staging.held.remove(slot);
            *if matches!(event, HeldEvent::Ack(_)) { &mut self.acked } else { &mut self.failed } += 1;
        }
        Flow::Continue
    }

    fn settle_batch(&mut self, staging: &mut Staging, _: Range<usize>, outcome: Result<()>) -> Flow {
        staging.withdraw_failed();
        let decisions = staging.decisions.take();
        self.settle(staging, None, outcome);
        for decision in decisions {
            match decision.kept {
                Some(_) if self.outcome.is_ok() && decision.error.is_none() => continue,
                Some(slot) => drop(staging.held.remove(slot)),
                None => {}
            }
            let is_ok = self.outcome.is_ok() && decision.error.is_none();
            *if is_ok { &mut self.acked } else { &mut self.failed } += 1;
        }
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

impl BoltTest {
    /// A bolt whose input has these fields.
    pub(crate) async fn prepare<B: Bolt, const LEN: usize>(bolt: B, fields: [&str; LEN]) -> Self {
        let once = Mutex::new(Some(bolt));
        let factory = BoltCell::auto_factory(move || once.lock().unwrap().take().ok_or(Error::from("made once")));
        Self::of(&factory, fields, 1).await.unwrap()
    }

    /// The first of so many tasks of a bolt that acks by hand.
    pub(crate) async fn prepare_manual<B: ManualBolt, const LEN: usize>(
        bolt: B,
        fields: [&str; LEN],
        tasks: u32,
    ) -> Result<Self> {
        let once = Mutex::new(Some(bolt));
        let factory = BoltCell::factory(move || once.lock().unwrap().take().ok_or(Error::from("made once")));
        Self::of(&factory, fields, tasks).await
    }

    async fn of<const LEN: usize>(factory: &BoltFactory, fields: [&str; LEN], tasks: u32) -> Result<Self> {
        let mut bolt = factory()?;
        let port = Arc::new(TestPort::default());
        let context = super::context(0, tasks, bolt.output(), port.clone());
        bolt.prepare(&context).await?;
        let streams = Arc::new(bolt.output());
        let staging = Staging::new(streams.clone(), 2000);
        let host = Host { streams, room: staging.room(), emitted: Vec::new(), outcome: Ok(()), acked: 0, failed: 0 };
        let input = Arc::new(TupleSource {
            component: "input".into(),
            task: 9,
            incarnation: 1,
            stream_index: 0,
            stream: "default".into(),
            fields: Fields::from(fields),
        });
        Ok(Self { bolt, input, staging, host, context, port })
    }

    pub(crate) async fn execute(&mut self, row: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut batch = Batch::new(self.input.clone(), 1);
        batch.values.extend(row);
        batch.rows = 1;
        let Self { bolt, staging, host, context, .. } = self;
        let done = &mut Done { chunk: 1, ..Done::default() };
        bolt.execute_batch(BoltCall { batch: &batch, cursor: &mut 0, staging, done, host, context }).await;
        std::mem::replace(&mut self.host.outcome, Ok(()))
    }

    pub(crate) async fn tick(&mut self) -> Result<()> {
        self.event(BoltEvent::Tick).await
    }

    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.event(BoltEvent::Flush).await
    }

    pub(crate) async fn finish(&mut self) -> Result<()> {
        self.event(BoltEvent::Finish).await
    }

    pub(crate) async fn cleanup(&mut self) -> Result<()> {
        self.bolt.cleanup(&self.context).await
    }

    async fn event(&mut self, event: BoltEvent) -> Result<()> {
        self.bolt.event(event, &mut self.staging, &mut self.host, &self.context).await;
        std::mem::replace(&mut self.host.outcome, Ok(()))
    }

    /// The rows emitted since the last call.
    pub(crate) fn take_emitted(&mut self) -> Vec<Vec<Value>> {
        std::mem::take(&mut self.host.emitted)
    }

    /// How many inputs were acked so far, in calls and by spawned work.
    pub(crate) fn acked(&mut self) -> usize {
        for command in self.port.commands.lock().unwrap().drain(..) {
            let Some((tuple, outcome)) = command.decision else { continue };
            if let Some(slot) = self.staging.held.spend(tuple) {
                self.staging.held.remove(slot);
                *if outcome.is_ok() { &mut self.host.acked } else { &mut self.host.failed } += 1;
            }
        }
        self.host.acked
    }

    /// How many inputs have failed so far, those dropped without a decision included.
    pub(crate) fn failed(&mut self) -> usize {
        self.acked();
        for slot in self.staging.held.take_dropped() {
            self.staging.held.remove(slot);
            self.host.failed += 1;
        }
        self.host.failed
    }

    pub(crate) fn pass_millis(&self, millis: u64) {
        self.port.advance(Duration::from_millis(millis));
    }

    /// Waits until so many inputs were acked, while spawned work goes on.
    pub(crate) async fn wait_for_acked(&mut self, count: usize) {
        while self.acked() < count {
            tokio::task::yield_now().await;
        }
    }
}
