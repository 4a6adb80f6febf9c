//! The calls of a spout, and the reaction of its task to a failed call.

use std::time::Duration;

use galerna_topology_api::Next;
use galerna_topology_api::engine::{ErasedSpout, SpoutCall, SpoutHost};
use tokio::time::sleep;

use super::super::spout_host::{Host, Lent};
use super::super::{Core, Fatal, SLOW_CALL};
use super::step::Source;
use super::{SpoutTask, attend};
use crate::panics::{Panic, caught};
use crate::stats::add;

/// The delay after a failed call of `next`.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// The least number of rows of a run that counts as busy.
const BUSY: usize = 256;

impl SpoutTask {
    /// Calls `next` until the spout has no tuple, or the task has other work.
    pub(super) async fn emit(&mut self, cell: &mut Box<dyn ErasedSpout>, room: usize) -> Result<(), Fatal> {
        self.ready_context.continue_wait(false);
        let now = self.core.run.clock.now();
        self.core.stats.activity.begin(now);
        let chunk = self.core.chunk();
        let (mut host, Lent { staging, done, context }) = Host::new(&mut self.core, &mut self.tracker, now);
        let call = SpoutCall { staging, done, slots: &mut self.slots, host: &mut host, context, room, chunk };
        let outcome = caught(cell.next_batch(call)).await;
        let rows = host.rows();
        self.core.end_calls();
        self.calls += rows as u64;
        self.core.is_slow = self.core.run.clock.now() - now > SLOW_CALL * rows.max(1) as u32;
        self.was_busy = rows >= BUSY;
        if rows > 0 {
            self.core.context.reset_back_off();
        }
        let refusal = self.core.staging.take_refusal().map(|refusal| refusal.to_string());
        match (outcome, refusal) {
            (Err(Panic(message)), _) => {
                self.core.report(&message);
                let wait = self.restarts.after_panic(self.calls);
                self.restart(cell, wait).await
            }
            (Ok(_), Some(message)) => self.after_error(&message).await,
            (Ok(Ok(next)), None) => {
                self.phase.source = match next {
                    Next::Emitted => Source::Willing,
                    Next::Idle => Source::Idle,
                    Next::Exhausted => Source::Exhausted,
                };
                Ok(())
            }
            (Ok(Err(error)), None) if error.is_fatal() => match self.restarts.after_fatal(self.calls) {
                Some(wait) => {
                    self.core.report(&error.to_string());
                    self.restart(cell, wait).await
                }
                None => Err(self.core.fail_run("fatal", &format!("cannot go on: {error}"))),
            },
            (Ok(Err(error)), None) => self.after_error(&error.to_string()).await,
        }
    }

    async fn after_error(&mut self, message: &str) -> Result<(), Fatal> {
        self.core.report(message);
        self.pause(AFTER_ERROR).await;
        self.phase.source = Source::Willing;
        Ok(())
    }

    /// Makes no calls for this long. Acks, time-outs and sending continue.
    async fn pause(&mut self, duration: Duration) {
        self.flush();
        attend(&mut self.tracker, &mut self.core.outbox, sleep(duration)).await;
    }

    /// Replaces a lost instance. The new instance gets `fail` for all tuples that its predecessor left open.
    pub(super) async fn restart(&mut self, cell: &mut Box<dyn ErasedSpout>, wait: Duration) -> Result<(), Fatal> {
        add(&self.core.stats.restarts, 1);
        self.core.staging.withdraw();
        self.core.staging.take_refusal();
        self.core.staging.room().discard();
        // Rows of earlier calls stay emitted, although they are not settled yet.
        let now = self.core.run.clock.now();
        let (mut host, Lent { done, .. }) = Host::new(&mut self.core, &mut self.tracker, now);
        host.settle(done, &mut self.slots);
        cell.bind(&mut self.slots);
        self.pause(wait).await;
        self.core.start(cell, true).await?;
        self.tracker.hooks = self.core.hooks.clone();
        self.tracker.take_in(&mut self.core.outbox, self.core.run.clock.now());
        self.tracker.fail_all();
        self.phase.source = Source::Willing;
        Ok(())
    }

    /// Calls `ack` and `fail` for settled trees. More trees may be settled meanwhile.
    pub(super) async fn call_settled(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<(), Fatal> {
        let mut settled = std::mem::take(&mut self.tracker.settled);
        let slots: Vec<u32> = settled.iter().map(|settled| settled.slot).collect();
        let has_failed = settled.iter().any(|settled| settled.failure.is_some());
        self.core.stats.activity.begin(self.core.run.clock.now());
        let outcome = {
            let Core { outbox, context, .. } = &mut self.core;
            attend(&mut self.tracker, outbox, caught(cell.settle(&mut settled, context))).await
        };
        self.core.stats.activity.end(self.core.run.clock);
        self.tracker.ledger.release(&slots[..slots.len() - settled.len()]);
        if has_failed {
            // The spout may want to emit the tuple again.
            self.phase.source = Source::Willing;
        }
        let Err(Panic(message)) = outcome else { return Ok(()) };
        self.core.report(&message);
        // The new instance gets the calls that the lost instance did not get.
        settled.append(&mut self.tracker.settled);
        self.tracker.settled = settled;
        let wait = self.restarts.after_panic(self.calls);
        self.restart(cell, wait).await
    }
}
