//! One task of a spout without a cluster.

use std::sync::Arc;

use galerna_topology_api::engine::{ErasedSpout, Settled, SpoutCall, SpoutCell, SpoutFactory, Staged, Staging};
use galerna_topology_api::{Failure, Next, Result, Retrying, Spout, TopologyContext, Value};
use tokio::task::yield_now;

use super::port::HarnessPort;
use super::spout_host::{EmittedRow, Host};
use super::task::TaskOptions;

/// Calls one spout's methods, shows what it emits, and acks or fails its tuples.
///
/// The harness counts reliable tuples from 0, in the order of the emits; [`ack`](Self::ack) and
/// [`fail`](Self::fail) name a tuple by its number. Time is tokio's: in a test with `start_paused`,
/// `tokio::time::advance` moves it.
///
/// ```
/// # use galerna_topology_api::{Next, values};
/// # use galerna_worker::testing::*;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() -> TestResult {
/// let make = || MockSpout::new(["word"], [values!["a"], values!["b"]]);
/// let mut harness = SpoutHarness::new(make).await?;
/// let asked = harness.next().await?;
/// assert_eq!(asked.next, Next::Emitted);
/// assert_eq!(asked.emitted[0].values, values!["a"]);
/// harness.exhaust().await?;
/// harness.ack(0).await;
/// harness.fail(1).await;
/// harness.run_until(3).await?;
/// assert_eq!(harness.rows(), [values!["a"], values!["b"], values!["b"]]);
/// assert_eq!(harness.replayed(), 1);
/// # Ok(()) }
/// ```
pub struct SpoutHarness {
    cell: Box<dyn ErasedSpout>,
    staging: Staging,
    host: Host,
    /// Slots of tuples whose ids the cell has not bound yet; empty between calls.
    slots: Vec<u32>,
    context: TopologyContext,
    port: Arc<HarnessPort>,
}

/// The effects of one call of `next`.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The answer of the spout.
    pub next: Next,
    /// The emitted rows.
    pub emitted: Vec<EmittedRow>,
}

impl Asked {
    /// The answer of the spout, and the number of emitted rows.
    pub fn outcome(&self) -> (Next, usize) {
        (self.next, self.emitted.len())
    }
}

impl SpoutHarness {
    /// Makes the only task of a spout, and calls `open`.
    ///
    /// # Errors
    /// When `open` fails.
    pub async fn new<S: Spout>(make: impl Fn() -> S + Send + Sync + 'static) -> Result<Self> {
        Self::of(&SpoutCell::factory(move || Ok(make())), TaskOptions::default()).await
    }

    /// The general form: a factory, and the options of the task, or a config. Calls `open`.
    ///
    /// # Errors
    /// When the spout cannot be made or `open` fails.
    pub async fn of(make: &SpoutFactory, options: impl Into<TaskOptions>) -> Result<Self> {
        let mut cell = make()?;
        let output = cell.output();
        // As in the engine, an output handle of a spout is closed.
        let (port, _) = HarnessPort::new();
        let context = options.into().context("spout", output.clone(), [], port.clone());
        cell.open(&context).await?;
        let staging = Staging::new(Arc::new(output), context.config().emit_limit());
        let host = Host::new(&staging, context.config().is_tracking());
        Ok(Self { cell, staging, host, slots: Vec::new(), context, port })
    }

    /// Calls `next` once.
    ///
    /// # Errors
    /// When the call fails, or emits a row that does not fit its stream.
    ///
    /// # Cancel safety
    /// Dropping the future drops the spout's call. Rows for which the spout has awaited room stay emitted;
    /// other rows are withdrawn.
    pub async fn next(&mut self) -> Result<Asked> {
        self.withdraw();
        let (before, room) = (self.host.emitted.len(), self.room());
        let call = SpoutCall {
            staging: &mut self.staging,
            done: &mut Staged::default(),
            slots: &mut self.slots,
            host: &mut self.host,
            context: &self.context,
            room,
            // So that the cell returns after each call, even if the spout emitted nothing.
            chunk: 0,
        };
        let outcome = self.cell.next_batch(call).await;
        let emitted = self.host.emitted[before..].to_vec();
        if !emitted.is_empty() {
            self.context.reset_back_off();
        }
        match self.staging.take_refusal() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(Asked { next: outcome?, emitted }),
        }
    }

    /// Waits as the spout's `ready` does.
    ///
    /// # Cancel safety
    /// Safe, if the spout's `ready` is as safe as it must be.
    pub async fn ready(&mut self) {
        self.cell.ready(&self.context).await;
    }

    /// Calls `next` and `ready` until the spout has emitted `rows` rows in all.
    ///
    /// # Errors
    /// When a call fails, or the input ends earlier.
    ///
    /// # Cancel safety
    /// As [`next`](Self::next) and [`ready`](Self::ready).
    pub async fn run_until(&mut self, rows: usize) -> Result<()> {
        while self.host.emitted.len() < rows {
            if self.advance().await? == Next::Exhausted && self.host.emitted.len() < rows {
                return Err(format!("the input ended after {} of {rows} rows", self.host.emitted.len()).into());
            }
        }
        Ok(())
    }

    /// Calls `next` and `ready` until the input has ended.
    ///
    /// # Errors
    /// When a call fails.
    ///
    /// # Cancel safety
    /// As [`next`](Self::next) and [`ready`](Self::ready).
    pub async fn exhaust(&mut self) -> Result<()> {
        while self.advance().await? != Next::Exhausted {}
        Ok(())
    }

    /// Runs the spout to the end of its input, acks all open tuples, and closes the spout. Returns all rows.
    ///
    /// # Errors
    /// When a call fails.
    pub async fn complete(mut self) -> Result<Vec<Vec<Value>>> {
        self.exhaust().await?;
        for number in self.open() {
            self.ack(number).await;
        }
        self.close().await?;
        Ok(self.host.emitted.into_iter().map(|row| row.values).collect())
    }

    /// Acks a reliable tuple.
    ///
    /// # Panics
    /// When no tuple has this number, or the tuple is already acked or failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the spout's call is interrupted, and the tuple is no longer open.
    pub async fn ack(&mut self, number: usize) {
        self.settle(number, None).await;
    }

    /// Fails a reliable tuple, as a bolt named `bolt` would with the message `failed by the test`.
    ///
    /// # Panics
    /// When no tuple has this number, or the tuple is already acked or failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the spout's call is interrupted, and the tuple is no longer open.
    pub async fn fail(&mut self, number: usize) {
        self.settle(number, Some(Failure::failed("bolt", "failed by the test"))).await;
    }

    /// Fails a reliable tuple for this reason.
    ///
    /// # Panics
    /// When no tuple has this number, or the tuple is already acked or failed.
    ///
    /// # Cancel safety
    /// As [`fail`](Self::fail).
    pub async fn fail_with(&mut self, number: usize, failure: impl Into<Arc<Failure>>) {
        self.settle(number, Some(failure.into())).await;
    }

    /// Calls `activate`.
    ///
    /// # Errors
    /// When `activate` fails.
    pub async fn activate(&mut self) -> Result<()> {
        self.cell.set_active(true, &self.context).await
    }

    /// Calls `deactivate`.
    ///
    /// # Errors
    /// When `deactivate` fails.
    pub async fn deactivate(&mut self) -> Result<()> {
        self.cell.set_active(false, &self.context).await
    }

    /// Calls `close`.
    ///
    /// # Errors
    /// When `close` fails.
    pub async fn close(&mut self) -> Result<()> {
        self.cell.close(&self.context).await
    }

    /// All rows so far, with their streams and numbers.
    pub fn emitted(&self) -> &[EmittedRow] {
        &self.host.emitted
    }

    /// The values of all rows so far.
    pub fn rows(&self) -> Vec<&[Value]> {
        self.host.emitted.iter().map(|row| row.values.as_slice()).collect()
    }

    /// The numbers of the tuples that are neither acked nor failed.
    pub fn open(&self) -> Vec<usize> {
        self.host.open.iter().copied().collect()
    }

    /// The errors that the spout reported without failing, and the errors of `ack` and `fail`.
    pub fn reported(&self) -> Vec<String> {
        self.port.notes().errors.clone()
    }

    /// The tuples that the spout gave up.
    pub fn given_up(&self) -> Vec<Vec<Value>> {
        self.port.notes().given_up.clone()
    }

    /// The number of tuples that the spout counted as emitted again.
    pub fn replayed(&self) -> u64 {
        self.port.notes().replayed
    }

    /// The tuples that the spout is retrying.
    pub fn retrying(&self) -> Option<Retrying> {
        self.port.notes().retrying.clone()
    }

    /// The position in its source that the spout reported last, and what it has not read yet.
    pub fn source(&self) -> Option<(String, Option<u64>)> {
        self.port.notes().source.clone()
    }

    /// The task's context: its counters and gauges, the time that has passed.
    pub fn context(&self) -> &TopologyContext {
        &self.context
    }

    /// Calls `next`, then waits if the spout is idle, or else lets spawned work run.
    async fn advance(&mut self) -> Result<Next> {
        let next = self.next().await?.next;
        match next {
            Next::Emitted => yield_now().await,
            Next::Idle => self.ready().await,
            Next::Exhausted => {}
        }
        Ok(next)
    }

    /// As in the engine, but with a set limit alone.
    fn room(&self) -> usize {
        let limit = self.context.config().max_spout_pending();
        limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.host.open.len()).max(1))
    }

    async fn settle(&mut self, number: usize, failure: Option<Arc<Failure>>) {
        assert!(self.host.open.remove(&number), "tuple {number} is not open; open are {:?}", self.host.open);
        self.cell.settle(&mut [Settled { slot: number as u32, failure }].into(), &self.context).await;
    }

    /// Withdraws the rows of a call whose future was dropped.
    fn withdraw(&mut self) {
        self.staging.withdraw();
        self.staging.take_refusal();
        self.staging.take_handed_over();
        self.staging.room().discard();
        self.cell.bind(&mut self.slots);
    }
}
