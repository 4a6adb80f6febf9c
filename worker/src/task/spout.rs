//! The loop of a spout task.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use galerna_topology_api::Next;
use galerna_topology_api::engine::{ErasedSpout, SpoutCall, SpoutFactory, SpoutHost};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::restarts::Restarts;
use super::spout_host::{Host, Lent};
use super::tracker::Tracker;
use super::{Core, FLUSH_INTERVAL, Fatal, Inlets, MOST_LINGERING, SLOW_CALL};
use crate::edges::{Ending, Marker};
use crate::message::Control;
use crate::panics::{Panic, caught};
use crate::run::RunEvent;
use crate::stats::add;

/// The wait after a call of `next` that failed.
const AFTER_ERROR: Duration = Duration::from_millis(10);

/// Runs of calls before others are let run, at most.
const MOST_RUNS: u32 = 64;

/// Rows of a run that was not short of tuples.
const BUSY: usize = 256;

/// A task of a spout.
pub(crate) struct SpoutTask {
    core: Core,
    make: SpoutFactory,
    tracker: Tracker,
    /// Slots of trees whose ids are not bound yet; empty between calls.
    slots: Vec<u32>,
    restarts: Restarts,
    calls: u64,
    /// Runs of calls so far.
    runs: u32,
    /// Whether the last run emitted many tuples.
    was_busy: bool,
    is_active: bool,
    is_draining: bool,
    /// Whether it drains because it moves: its edges go on.
    is_moving: bool,
    must_exit: bool,
    /// What the last `next` said.
    last: Next,
    has_flushed: bool,
}

impl SpoutTask {
    pub(crate) fn new(core: Core, make: SpoutFactory, inlets: Inlets) -> Self {
        let config = core.context.config();
        let tracker = Tracker::new(core.task, core.launch, inlets.inbox, config, core.run.clone(), core.stats.clone());
        Self {
            core,
            make,
            tracker,
            slots: Vec::new(),
            restarts: Restarts::default(),
            calls: 0,
            runs: 0,
            was_busy: false,
            is_active: true,
            is_draining: false,
            is_moving: false,
            must_exit: false,
            last: Next::Emitted,
            has_flushed: false,
        }
    }

    /// Runs until the input has ended and all is settled. A failure was told to the run.
    pub(crate) async fn run(mut self) {
        let make = self.make.clone();
        if let Ok(mut cell) = self.core.launch(|| make()).await
            && self.work(&mut cell).await.is_ok()
        {
            self.core.retire(cell);
        }
    }

    async fn work(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<(), Fatal> {
        self.tracker.hooks = self.core.hooks.clone();
        loop {
            self.tracker.take_in(self.core.run.clock.now());
            self.tell_settled(cell).await?;
            self.obey(cell).await;
            if self.must_exit {
                self.close(cell).await;
                return Ok(());
            }
            let room = if self.may_emit() { self.tracker.room() } else { 0 };
            if room > 0 {
                self.emit(cell, room).await?;
                if self.last == Next::Emitted && !self.core.outbox.is_blocked() {
                    self.rest().await;
                    continue;
                }
            }
            if self.wait(cell).await? {
                if !self.is_moving {
                    let ending = if self.is_draining { Ending::Stopped } else { Ending::Finished };
                    self.core.outbox.send_marker(Marker::End(ending));
                    if self.core.parks {
                        self.park(ending).await;
                    }
                }
                self.close(cell).await;
                return Ok(());
            }
        }
    }

    /// Waits for the order to move or to exit. Nothing is open, so there is nothing else to do.
    async fn park(&mut self, ending: Ending) {
        self.core.counts.publish(&self.core.stats);
        self.core.run.tell(RunEvent::Parked(self.core.task, ending));
        let tracker = &mut self.tracker;
        poll_fn(|cx| {
            tracker.poll(cx);
            let is_last = |order| matches!(order, Control::Release | Control::Exit);
            if std::mem::take(&mut tracker.orders).into_iter().any(is_last) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn may_emit(&self) -> bool {
        self.is_active && !self.is_draining && self.last != Next::Exhausted && !self.core.outbox.is_blocked()
    }

    /// Asks the spout for tuples until it has none, or there is other work.
    async fn emit(&mut self, cell: &mut Box<dyn ErasedSpout>, room: usize) -> Result<(), Fatal> {
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
                self.last = next;
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
        self.flush();
        sleep(AFTER_ERROR).await;
        self.last = Next::Emitted;
        Ok(())
    }

    /// The instance is lost: makes a new one, which is told of all that its predecessor left open.
    async fn restart(&mut self, cell: &mut Box<dyn ErasedSpout>, wait: Duration) -> Result<(), Fatal> {
        add(&self.core.stats.restarts, 1);
        self.core.staging.withdraw();
        self.core.staging.take_refusal();
        self.core.staging.room().discard();
        // What earlier calls emitted stands, though it is not settled yet.
        let now = self.core.run.clock.now();
        let (mut host, Lent { done, .. }) = Host::new(&mut self.core, &mut self.tracker, now);
        host.settle(done, &mut self.slots);
        cell.bind(&mut self.slots);
        self.flush();
        sleep(wait).await;
        self.core.start(cell, true).await?;
        self.tracker.hooks = self.core.hooks.clone();
        self.tracker.take_in(self.core.run.clock.now());
        self.tracker.fail_all();
        self.last = Next::Emitted;
        Ok(())
    }

    /// Calls `ack` and `fail` for what is settled. More may be settled meanwhile.
    async fn tell_settled(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<(), Fatal> {
        while !self.tracker.settled.is_empty() {
            let mut settled = std::mem::take(&mut self.tracker.settled);
            let slots: Vec<u32> = settled.iter().map(|settled| settled.slot).collect();
            let has_failed = settled.iter().any(|settled| !settled.is_acked);
            self.core.stats.activity.begin(self.core.run.clock.now());
            let outcome = {
                let mut calls = pin!(caught(cell.settle(&mut settled, &self.core.context)));
                let (tracker, outbox) = (&mut self.tracker, &mut self.core.outbox);
                poll_fn(|cx| {
                    let outcome = calls.as_mut().poll(cx);
                    if outcome.is_pending() {
                        tracker.poll(cx);
                        let _ = tracker.poll_leave(outbox, cx);
                    }
                    outcome
                })
                .await
            };
            self.core.stats.activity.end();
            self.tracker.ledger.release(&slots[..slots.len() - settled.len()]);
            if has_failed && self.last == Next::Exhausted {
                self.last = Next::Emitted;
            }
            if let Err(Panic(message)) = outcome {
                self.core.report(&message);
                // What the lost instance was not told yet, its successor is.
                settled.append(&mut self.tracker.settled);
                self.tracker.settled = settled;
                let wait = self.restarts.after_panic(self.calls);
                self.restart(cell, wait).await?;
            }
        }
        Ok(())
    }

    /// Obeys the coordinator.
    async fn obey(&mut self, cell: &mut Box<dyn ErasedSpout>) {
        while let Some(order) = self.tracker.orders.pop_front() {
            let is_active = match order {
                Control::Activate => true,
                Control::Deactivate => false,
                Control::Drain => {
                    self.is_draining = true;
                    false
                }
                Control::Release => {
                    self.is_draining = true;
                    self.is_moving = true;
                    false
                }
                Control::Exit => {
                    self.must_exit = true;
                    return;
                }
                // The tracker obeys it by itself.
                Control::FailOpen => continue,
            };
            if self.is_active != is_active {
                self.is_active = is_active;
                let what = if is_active { "activate" } else { "deactivate" };
                match caught(cell.set_active(is_active, &self.core.context)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => self.core.report(&format!("{what}: {error}")),
                    Err(Panic(message)) => self.core.report(&format!("{what}: {message}")),
                }
            }
        }
    }

    /// Now and then sends what stands ready and lets others run.
    async fn rest(&mut self) {
        self.runs += 1;
        let now = self.core.run.clock.now();
        // By the count too, for a clock that stands still.
        if now - self.core.last_flush >= FLUSH_INTERVAL || self.runs.is_multiple_of(MOST_RUNS) {
            self.flush();
            yield_now().await;
        }
    }

    /// Sends what there is room for, and notes the departure if that was everything.
    fn flush(&mut self) {
        let had_to_wait = self.core.outbox.is_blocked();
        self.core.flush(self.core.run.clock.now());
        self.tracker.note_departure(&self.core.outbox, had_to_wait);
    }

    /// Sends what stands ready and waits until there is something to do; whether the task has ended.
    async fn wait(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<bool, Fatal> {
        self.flush();
        if self.core.outbox.is_blocked() {
            self.core.stats.waiting.begin(self.core.run.clock);
        }
        let outcome = self.wait_for_work(cell).await;
        self.core.stats.waiting.end(self.core.run.clock);
        outcome
    }

    /// Waits until there is something to do, after all was sent that could be; whether the task has
    /// ended.
    async fn wait_for_work(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<bool, Fatal> {
        if (self.last == Next::Exhausted || self.is_draining) && self.core.outbox.is_empty() {
            // Bolts that hold something back let go of it, whether the input has ended or the spout moves.
            if !self.has_flushed || self.core.outbox.has_emitted_since_marker() {
                self.has_flushed = true;
                let marker = self.core.outbox.next_flush();
                self.core.outbox.send_marker(marker);
            }
            if self.tracker.ledger.open_trees() == 0 && self.tracker.settled.is_empty() {
                return Ok(true);
            }
        }
        if self.linger() {
            return Ok(false);
        }
        let may_emit = self.may_emit();
        let is_idle = may_emit && self.last == Next::Idle && self.tracker.room() > 0;
        if may_emit && !is_idle && self.tracker.room() > 0 {
            yield_now().await;
            return Ok(false);
        }
        let had_to_wait = self.core.outbox.is_blocked();
        let outcome = {
            let (tracker, core) = (&mut self.tracker, &mut self.core);
            let mut ready = is_idle.then(|| Box::pin(caught(cell.ready(&core.context))));
            let outbox = &mut core.outbox;
            poll_fn(|cx| {
                tracker.poll(cx);
                let has_left = had_to_wait && tracker.poll_leave(outbox, cx).is_ready();
                // A tree that a bolt holds may not count, so there can be room without an ack.
                let may_open = may_emit && !is_idle && tracker.room() > 0;
                if !tracker.settled.is_empty() || !tracker.orders.is_empty() || has_left || may_open {
                    return Poll::Ready(Ok(()));
                }
                ready.as_mut().map_or(Poll::Pending, |ready| ready.as_mut().poll(cx))
            })
            .await
        };
        if let Err(Panic(message)) = outcome {
            self.core.report(&message);
            let wait = self.restarts.after_panic(self.calls);
            self.restart(cell, wait).await?;
        }
        Ok(false)
    }

    /// After many tuples, acks or room are likely to come within microseconds. Sleeping and being
    /// woken costs more than that, so the thread first steps aside a few times; whether they came.
    fn linger(&mut self) -> bool {
        if !std::mem::take(&mut self.was_busy) || !self.core.own_thread.is_exclusive() {
            return false;
        }
        for _ in 0..MOST_LINGERING {
            std::thread::yield_now();
            self.tracker.take_in(self.core.run.clock.now());
            if self.core.outbox.is_blocked() {
                self.flush();
            }
            if !self.tracker.settled.is_empty() || (self.may_emit() && self.tracker.room() > 0) {
                return true;
            }
        }
        false
    }

    async fn close(&mut self, cell: &mut Box<dyn ErasedSpout>) {
        match caught(cell.close(&self.core.context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.core.report(&format!("close: {error}")),
            Err(Panic(message)) => self.core.report(&format!("close: {message}")),
        }
        self.core.counts.publish(&self.core.stats);
    }
}
