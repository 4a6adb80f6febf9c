//! Drives one task of a spout.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{
    ErasedSpout, Flow, Settled, SpoutCall, SpoutCell, SpoutHost, SpoutSettled, Staging,
};
use galerna_topology_api::{Error, Next, Result, Spout, TopologyContext, Value};

use super::TestPort;

/// One task of a spout. Tuples are named by their number in the order of the emits.
pub(crate) struct SpoutTest {
    spout: Box<dyn ErasedSpout>,
    staging: Staging,
    host: Host,
    pub(crate) context: TopologyContext,
    pub(crate) port: Arc<TestPort>,
}

#[derive(Default)]
struct Host {
    rows: Vec<Vec<Value>>,
}

impl SpoutHost for Host {
    fn settle(&mut self, staging: &mut Staging, slots: &mut Vec<u32>, outcome: &Result<Next>) -> SpoutSettled {
        let arity = staging.streams.iter().next().map_or(0, |stream| stream.fields.len());
        if outcome.is_ok() {
            for row in staging.values.chunks(arity) {
                slots.push(self.rows.len() as u32);
                self.rows.push(row.to_vec());
            }
        }
        staging.withdraw();
        assert_eq!(staging.take_refusal(), None);
        SpoutSettled { flow: Flow::Stop, is_tracking: true }
    }

    fn poll_pending(&mut self, _: &mut Vec<u32>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn time_call(&mut self, _: bool) {}
}

impl SpoutTest {
    pub(crate) async fn open<S: Spout>(spout: S) -> Self {
        Self::open_as(spout, 0, 1).await
    }

    pub(crate) async fn open_as<S: Spout>(spout: S, task: u32, tasks: u32) -> Self {
        Self::try_open_as(spout, task, tasks).await.unwrap()
    }

    pub(crate) async fn try_open<S: Spout>(spout: S) -> Result<Self> {
        Self::try_open_as(spout, 0, 1).await
    }

    pub(crate) async fn try_open_as<S: Spout>(spout: S, task: u32, tasks: u32) -> Result<Self> {
        let once = Mutex::new(Some(spout));
        let mut spout = SpoutCell::factory(move || once.lock().unwrap().take().ok_or(Error::from("made once")))()?;
        let port = Arc::new(TestPort::default());
        let context = super::context(task, tasks, spout.output(), port.clone());
        spout.open(&context).await?;
        let staging = Staging::new(Arc::new(spout.output()), 1000);
        Ok(Self { spout, staging, host: Host::default(), context, port })
    }

    /// Calls `next` once: what it said, and how many rows it emitted.
    pub(crate) async fn next(&mut self) -> Result<(Next, usize)> {
        let before = self.host.rows.len();
        let Self { spout, staging, host, context, .. } = self;
        let next = spout.next_batch(SpoutCall { staging, slots: &mut Vec::new(), host, context }).await?;
        Ok((next, self.host.rows.len() - before))
    }

    /// Calls `next` and `ready` until so many rows were emitted.
    pub(crate) async fn run_until(&mut self, rows: usize) -> Result<()> {
        while self.host.rows.len() < rows {
            match self.next().await?.0 {
                Next::Emitted => {}
                Next::Idle => self.ready().await,
                Next::Exhausted => panic!("exhausted after {} of {rows} rows", self.host.rows.len()),
            }
        }
        Ok(())
    }

    /// Calls `next` and `ready` until the input has ended, acks everything and closes: all rows.
    pub(crate) async fn run_to_end(mut self) -> Vec<Vec<Value>> {
        self.exhaust().await.unwrap();
        for row in 0..self.host.rows.len() {
            self.ack(row as u32).await;
        }
        self.close().await;
        self.host.rows
    }

    /// Calls `next` and `ready` until the input has ended.
    pub(crate) async fn exhaust(&mut self) -> Result<()> {
        loop {
            match self.next().await?.0 {
                Next::Emitted => {}
                Next::Idle => self.ready().await,
                Next::Exhausted => return Ok(()),
            }
        }
    }

    pub(crate) async fn ready(&mut self) {
        self.spout.ready(&self.context).await;
    }

    pub(crate) async fn ack(&mut self, slot: u32) {
        self.settle(slot, true).await;
    }

    pub(crate) async fn fail(&mut self, slot: u32) {
        self.settle(slot, false).await;
    }

    async fn settle(&mut self, slot: u32, is_acked: bool) {
        self.spout.settle(&mut [Settled { slot, is_acked }].into(), &self.context).await;
    }

    pub(crate) async fn close(&mut self) {
        self.spout.close(&self.context).await.unwrap();
    }

    pub(crate) fn pass_millis(&self, millis: u64) {
        self.port.advance(Duration::from_millis(millis));
    }

    pub(crate) fn rows(&self) -> &[Vec<Value>] {
        &self.host.rows
    }

    /// The first field of each row, as text.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.host.rows.iter().map(|row| row[0].as_str().unwrap()).collect()
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        self.port.errors.lock().unwrap().clone()
    }

    pub(crate) fn given_up(&self) -> Vec<Vec<Value>> {
        self.port.given_up.lock().unwrap().clone()
    }
}
