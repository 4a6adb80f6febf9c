//! A bolt behind an object-safe trait that runs whole batches: one virtual call and one boxed
//! future a batch, a monomorphic loop inside.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use self::instance::{Instance, cell_factory};
use super::{Batch, BoltHost, BoxFuture, Staged, Staging};
use crate::bolt::{Bolt, BoltResult, ManualBolt};
use crate::context::TopologyContext;
use crate::emitter::{ManualEmitter, auto_emitter, emitter};
use crate::error::Result;
use crate::fields::Streams;
use crate::tuple::Tuple;
use crate::wiring::Wiring;

/// What a settled call means for the loop around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on with the next call.
    Continue,
    /// Leave the loop; the engine calls again from the cursor on when it is time.
    Stop,
}

/// A call of a bolt other than for a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoltEvent {
    /// The tick interval has passed.
    Tick,
    /// Nothing follows for now.
    Flush,
    /// The run has ended.
    Finish,
}

/// What calls that succeeded have emitted, and the first of their rows that is not settled yet. The
/// rows from there to the cursor are settled together, so that a tuple costs no virtual call.
#[derive(Debug, Default)]
pub struct Done {
    /// What they emitted.
    pub staged: Staged,
    /// The first row of the batch that is not settled.
    pub from: usize,
    /// How many rows are settled together. A host that lowers it while a call is pending has this call
    /// settled sooner.
    pub chunk: usize,
}

impl Done {
    /// Has the rows before `to` settled.
    fn settle(&mut self, to: usize, host: &mut dyn BoltHost) -> Flow {
        let rows = std::mem::replace(&mut self.from, to)..to;
        if rows.is_empty() { Flow::Continue } else { host.settle_run(&mut self.staged, rows) }
    }
}

/// What the engine lends a bolt for a batch. All of it stays with the engine if the bolt panics.
pub struct BoltCall<'a> {
    /// The rows.
    pub batch: &'a Batch,
    /// The row in hand, or the next one between calls.
    pub cursor: &'a mut usize,
    /// Where a call stages what it emits.
    pub staging: &'a mut Staging,
    /// What calls have emitted that are not settled yet.
    pub done: &'a mut Done,
    /// Who takes up what they emitted.
    pub host: &'a mut dyn BoltHost,
    /// The task's context.
    pub context: &'a TopologyContext,
}

/// A task's bolt, its type erased.
pub trait ErasedBolt: Send {
    /// The streams that the bolt declares.
    fn output(&self) -> Streams;

    /// Has the bolt compare its properties with its inputs.
    fn check(&self, wiring: &mut Wiring<'_>);

    /// Whether the bolt does its work in ticks.
    fn needs_ticks(&self) -> bool;

    /// Drops the instance and makes a new one.
    ///
    /// # Errors
    /// When the factory fails; there is no instance then, until a later call succeeds.
    fn rebuild(&mut self) -> Result<()>;

    /// Calls `prepare`.
    fn prepare<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, BoltResult>;

    /// Calls `execute` for the rows from the cursor on, until the batch ends or the host says stop.
    fn execute_batch<'a>(&'a mut self, call: BoltCall<'a>) -> BoxFuture<'a, ()>;

    /// Calls `tick`, `flush` or `finish` and settles the call.
    fn event<'a>(
        &'a mut self,
        event: BoltEvent,
        staging: &'a mut Staging,
        host: &'a mut dyn BoltHost,
        context: &'a TopologyContext,
    ) -> BoxFuture<'a, ()>;

    /// Calls `cleanup`.
    fn cleanup<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, BoltResult>;
}

/// Makes the cells of a component's tasks.
pub type BoltFactory = Arc<dyn Fn() -> Result<Box<dyn ErasedBolt>> + Send + Sync>;

/// The methods of [`ErasedBolt`] that are the same for all cells: all but `execute_batch`. A macro,
/// because `ManualBolt` and `BatchBolt` share method names but no trait.
macro_rules! calls_without_rows {
    () => {
        fn output(&self) -> Streams {
            self.0.output(|bolt| bolt.output())
        }

        fn check(&self, wiring: &mut Wiring<'_>) {
            self.0.check(|bolt| bolt.check(wiring));
        }

        fn needs_ticks(&self) -> bool {
            self.0.needs_ticks(|bolt| bolt.needs_ticks())
        }

        fn rebuild(&mut self) -> Result<()> {
            self.0.rebuild()
        }

        fn prepare<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, BoltResult> {
            Box::pin(async move { self.0.get()?.prepare(context).await })
        }

        fn event<'a>(
            &'a mut self,
            event: BoltEvent,
            staging: &'a mut Staging,
            host: &'a mut dyn BoltHost,
            context: &'a TopologyContext,
        ) -> BoxFuture<'a, ()> {
            Box::pin(async move {
                let Ok(bolt) = self.0.get() else { return };
                let mut out = emitter(staging, context, None);
                let done = &mut Done::default();
                let outcome = match event {
                    BoltEvent::Tick => watched(pin!(bolt.tick(&mut out)), done, None, host).await,
                    BoltEvent::Flush => watched(pin!(bolt.flush(&mut out)), done, None, host).await,
                    BoltEvent::Finish => watched(pin!(bolt.finish(&mut out)), done, None, host).await,
                };
                host.settle(staging, None, outcome);
            })
        }

        fn cleanup<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, BoltResult> {
            Box::pin(async move { self.0.get()?.cleanup(context).await })
        }
    };
}

mod batch;
mod instance;

pub use batch::BatchCell;

/// The cell of a bolt that takes one tuple at a time.
pub struct BoltCell<B>(Instance<B>);

impl<B: ManualBolt> BoltCell<B> {
    /// A factory of cells around the bolts that `make` makes.
    pub fn factory(make: impl Fn() -> Result<B> + Send + Sync + 'static) -> BoltFactory {
        cell_factory(make, Self)
    }
}

impl BoltCell<()> {
    /// A factory of cells around bolts that ack automatically.
    pub fn auto_factory<B: Bolt>(make: impl Fn() -> Result<B> + Send + Sync + 'static) -> BoltFactory {
        BoltCell::factory(move || make().map(Auto))
    }
}

impl<B: ManualBolt> ErasedBolt for BoltCell<B> {
    calls_without_rows!();

    fn execute_batch<'a>(&'a mut self, call: BoltCall<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let BoltCall { batch, cursor, staging, done, host, context } = call;
            let Ok(bolt) = self.0.get() else { return };
            let (first, mut chunk) = (*cursor, done.chunk);
            done.from = first;
            while *cursor < batch.rows {
                let row = *cursor;
                if row == first {
                    host.time_call(true);
                }
                let outcome = {
                    let tuple = batch.tuple(row);
                    let mut out = emitter(staging, context, Some(row));
                    let call = pin!(bolt.execute(&tuple, &mut out));
                    watched(call, done, Some(row), host).await
                };
                if row == first && host.time_call(false) {
                    chunk = 1;
                    done.chunk = 1;
                }
                // Before settling, so that a panic in there cannot run the row twice.
                *cursor += 1;
                let flow = if outcome.is_ok() && staging.is_plain() {
                    done.staged.append(&mut staging.staged);
                    let is_full = *cursor - done.from >= done.chunk || done.staged.rows.len() >= done.chunk;
                    if is_full {
                        // The host may have lowered it while this call was pending.
                        done.chunk = chunk;
                        done.settle(*cursor, host)
                    } else {
                        Flow::Continue
                    }
                } else {
                    done.chunk = chunk;
                    done.settle(row, host);
                    done.from = *cursor;
                    host.settle(staging, Some(row), outcome)
                };
                if flow == Flow::Stop {
                    break;
                }
            }
            done.settle(*cursor, host);
        })
    }
}

/// Runs one call of user code; whenever it stays pending, the host sends what stands ready. It takes
/// the call where it was made: moving it costs more than running it.
#[inline]
async fn watched<T>(
    mut call: Pin<&mut impl Future<Output = T>>,
    done: &mut Done,
    row: Option<usize>,
    host: &mut dyn BoltHost,
) -> T {
    poll_fn(|cx| {
        loop {
            match call.as_mut().poll(cx) {
                Poll::Ready(outcome) => return Poll::Ready(outcome),
                Poll::Pending if host.poll_pending(done, row, cx).is_ready() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

/// A bolt that acks automatically, as one that could ack by hand and never keeps anything.
struct Auto<B>(B);

impl<B: Bolt> ManualBolt for Auto<B> {
    fn output(&self) -> Streams {
        self.0.output()
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        self.0.check(wiring);
    }

    fn needs_ticks(&self) -> bool {
        self.0.needs_ticks()
    }

    fn prepare(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        self.0.prepare(context)
    }

    fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        self.0.execute(tuple, auto_emitter(out))
    }

    fn tick(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        self.0.tick(auto_emitter(out))
    }

    fn flush(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        self.0.flush(auto_emitter(out))
    }

    fn finish(&mut self, out: &mut ManualEmitter<'_>) -> impl Future<Output = BoltResult> + Send {
        self.0.finish(auto_emitter(out))
    }

    fn cleanup(&mut self, context: &TopologyContext) -> impl Future<Output = BoltResult> + Send {
        self.0.cleanup(context)
    }
}
