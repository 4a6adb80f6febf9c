//! The cell of a bolt that takes many tuples in one call.

use std::pin::pin;

use super::instance::{Instance, cell_factory};
use super::{BoltCall, BoltEvent, BoltFactory, Done, ErasedBolt, Flow, watched};
use crate::batch_bolt::{BatchBolt, TupleBatch};
use crate::bolt::BoltResult;
use crate::context::TopologyContext;
use crate::emitter::{batch_emitter, emitter};
use crate::engine::{BoltHost, BoxFuture, Staging};
use crate::error::Result;
use crate::fields::Streams;
use crate::wiring::Wiring;

/// The cell of a bolt that takes many tuples in one call: the whole batch, up to
/// [`TupleBatch::MAX_LEN`] rows.
pub struct BatchCell<B>(Instance<B>);

impl<B: BatchBolt> BatchCell<B> {
    /// A factory of cells around the bolts that `make` makes.
    pub fn factory(make: impl Fn() -> Result<B> + Send + Sync + 'static) -> BoltFactory {
        cell_factory(make, Self)
    }
}

impl<B: BatchBolt> ErasedBolt for BatchCell<B> {
    calls_without_rows!();

    fn execute_batch<'a>(&'a mut self, call: BoltCall<'a>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let BoltCall { batch, cursor, staging, done, host, context } = call;
            let Ok(bolt) = self.0.get() else { return };
            while *cursor < batch.rows {
                // All rows of a call are from one task: authors may ask for it.
                let run = batch.senders.end_of_run(*cursor, batch.rows);
                let rows = *cursor..run.min(*cursor + TupleBatch::MAX_LEN);
                // The host settles each call by itself, so `done` stays empty.
                done.from = rows.start;
                staging.decisions.begin(rows.clone());
                host.time_call(true);
                let outcome = {
                    let tuples = TupleBatch::new(batch, rows.clone());
                    let mut out = batch_emitter(staging, context, tuples);
                    let call = pin!(bolt.execute_batch(&tuples, &mut out));
                    watched(call, done, Some(rows.start), host).await
                };
                host.time_call(false);
                // The cursor moves before `settle_batch`, so that a panic there cannot run the rows twice.
                *cursor = rows.end;
                done.from = rows.end;
                if host.settle_batch(staging, rows, outcome) == Flow::Stop {
                    break;
                }
            }
        })
    }
}
