//! The loop of a spout task.

mod calls;
mod step;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::TopologyContext;
use galerna_topology_api::engine::{ErasedSpout, SpoutFactory};
use tokio::task::yield_now;

use super::restarts::Restarts;
use super::tracker::Tracker;
use super::{Core, FLUSH_INTERVAL, Fatal, Inlets};
use crate::edges::{Ending, Marker};
use crate::message::Control;
use crate::outbox::Outbox;
use crate::panics::{Panic, caught};
use crate::run::RunEvent;
use step::{Source, State, Step};

/// Runs of calls before others are let run, at most.
const MOST_RUNS: u32 = 64;

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
    phase: Phase,
    /// The context of `ready`: its dropped waits can continue.
    ready_context: TopologyContext,
}

/// The state of a spout task, without its trees and its output.
#[derive(Clone, Copy, Debug)]
struct Phase {
    source: Source,
    is_active: bool,
    is_draining: bool,
    /// Whether the task drains because it moves: its edges continue elsewhere.
    is_moving: bool,
    must_exit: bool,
    has_flushed: bool,
}

impl Phase {
    fn step(&self, tracker: &mut Tracker, outbox: &Outbox, now: Duration) -> Step {
        let state = State {
            source: self.source,
            is_active: self.is_active,
            is_draining: self.is_draining,
            must_exit: self.must_exit,
            has_settled: !tracker.settled.is_empty(),
            has_orders: !tracker.orders.is_empty(),
            may_open: tracker.room(now) > 0,
            is_blocked: outbox.is_blocked(),
            has_left: outbox.is_empty(),
            has_open_trees: tracker.ledger.open_trees() > 0,
            has_flushed: self.has_flushed && !outbox.has_emitted_since_marker(),
        };
        state.step()
    }
}

impl SpoutTask {
    pub(crate) fn new(core: Core, make: SpoutFactory, inlets: Inlets) -> Self {
        let config = core.context.config();
        let tracker = Tracker::new(core.task, core.launch, inlets.inbox, config, core.run.clone(), core.stats.clone());
        let ready_context = core.context.for_ready();
        Self {
            core,
            make,
            tracker,
            slots: Vec::new(),
            restarts: Restarts::default(),
            calls: 0,
            runs: 0,
            was_busy: false,
            phase: Phase {
                source: Source::Willing,
                is_active: true,
                is_draining: false,
                is_moving: false,
                must_exit: false,
                has_flushed: false,
            },
            ready_context,
        }
    }

    /// Runs until the input has ended and all trees are settled. The task reports a failure to the run.
    pub(crate) async fn run(mut self) {
        let make = self.make.clone();
        if let Ok(mut cell) = self.core.launch(|| make()).await
            && self.work(&mut cell).await.is_ok()
        {
            let tell = self.core.retire(cell);
            // A successor may start in the same lane as soon as the run knows of the end.
            drop(self);
            tell();
        }
    }

    async fn work(&mut self, cell: &mut Box<dyn ErasedSpout>) -> Result<(), Fatal> {
        self.tracker.hooks = self.core.hooks.clone();
        loop {
            let now = self.core.run.clock.now();
            self.tracker.take_in(&mut self.core.outbox, now);
            match self.step(now) {
                Step::Settle => self.call_settled(cell).await?,
                Step::Follow => self.follow(cell).await,
                Step::Exit => break,
                Step::Emit => {
                    let room = self.tracker.room(now);
                    self.emit(cell, room).await?;
                    self.rest().await;
                }
                Step::Send => self.flush(),
                Step::Flush => {
                    // Bolts flush the tuples that they hold back, whether the input has ended or the spout moves.
                    self.phase.has_flushed = true;
                    let marker = self.core.outbox.next_flush();
                    self.core.outbox.send_marker(marker);
                }
                Step::End => {
                    self.end().await;
                    break;
                }
                step @ Step::Wait { for_ready } => {
                    self.core.counts.publish(&self.core.stats);
                    if self.tracker.ledger.shrink() {
                        cell.shrink();
                    }
                    if !self.linger(step) {
                        self.wait(cell, step, for_ready).await?;
                    }
                }
            }
        }
        self.close(cell).await;
        Ok(())
    }

    fn step(&mut self, now: Duration) -> Step {
        self.phase.step(&mut self.tracker, &self.core.outbox, now)
    }

    /// Sends `End`, unless the task moves, and waits for orders if the task parks.
    async fn end(&mut self) {
        if self.phase.is_moving {
            return;
        }
        let ending = if self.phase.is_draining { Ending::Stopped } else { Ending::Finished };
        self.core.outbox.send_marker(Marker::End(ending));
        if self.core.parks {
            self.park(ending).await;
        }
    }

    /// Waits for the order to move or to exit. Nothing is open, so there is nothing else to do.
    async fn park(&mut self, ending: Ending) {
        self.core.counts.publish(&self.core.stats);
        self.core.run.tell(RunEvent::Parked(self.core.task, ending));
        let Self { tracker, core: Core { outbox, .. }, .. } = self;
        poll_fn(|cx| {
            tracker.poll(outbox, cx);
            let is_last = |order| matches!(order, Control::Release | Control::Exit);
            if std::mem::take(&mut tracker.orders).into_iter().any(is_last) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Follows the next order.
    async fn follow(&mut self, cell: &mut Box<dyn ErasedSpout>) {
        let Some(order) = self.tracker.orders.pop_front() else { return };
        let phase = &mut self.phase;
        let is_active = match order {
            Control::Activate => true,
            Control::Deactivate => false,
            Control::Drain => {
                phase.is_draining = true;
                false
            }
            Control::Release => {
                phase.is_draining = true;
                phase.is_moving = true;
                false
            }
            Control::Exit => {
                phase.must_exit = true;
                return;
            }
            // The tracker handles this order.
            Control::FailOpen => return,
        };
        if phase.is_active == is_active {
            return;
        }
        phase.is_active = is_active;
        if is_active && phase.source == Source::Idle {
            phase.source = Source::Willing;
        }
        let what = if is_active { "activate" } else { "deactivate" };
        let call = caught(cell.set_active(is_active, &self.core.context));
        match attend(&mut self.tracker, &mut self.core.outbox, call).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.core.report(&format!("{what}: {error}")),
            Err(Panic(message)) => self.core.report(&format!("{what}: {message}")),
        }
    }

    /// Now and then sends the rows that wait for more and lets others run.
    async fn rest(&mut self) {
        self.runs += 1;
        let now = self.core.run.clock.now();
        // By the count too, for a clock that stands still.
        if now - self.core.last_flush >= FLUSH_INTERVAL || self.runs.is_multiple_of(MOST_RUNS) {
            self.flush();
            yield_now().await;
        }
    }

    /// Sends the rows that there is room for.
    fn flush(&mut self) {
        self.core.flush(self.core.run.clock.now());
        self.tracker.note_departures(&mut self.core.outbox);
    }

    /// Waits until the next step is another one than `step`, or until `ready` returns.
    async fn wait(&mut self, cell: &mut Box<dyn ErasedSpout>, step: Step, for_ready: bool) -> Result<(), Fatal> {
        let Self { phase, tracker, core: Core { outbox, run, stats, .. }, ready_context, .. } = self;
        let clock = run.clock;
        if outbox.is_blocked() {
            stats.waiting.begin(clock);
        }
        let mut ready = for_ready.then(|| Box::pin(caught(cell.ready(ready_context))));
        let outcome = poll_fn(|cx| {
            poll_progress(tracker, outbox, cx);
            if phase.step(tracker, outbox, clock.now()) != step {
                return Poll::Ready(None);
            }
            ready.as_mut().map_or(Poll::Pending, |ready| ready.as_mut().poll(cx).map(Some))
        })
        .await;
        drop(ready);
        stats.waiting.end(clock);
        if for_ready {
            // A dropped wait continues in the next `ready`, unless `next` is called before.
            ready_context.continue_wait(outcome.is_none());
        }
        match outcome {
            None => Ok(()),
            Some(Ok(())) => {
                phase.source = Source::Willing;
                Ok(())
            }
            Some(Err(Panic(message))) => {
                self.core.report(&message);
                let wait = self.restarts.after_panic(self.calls);
                self.restart(cell, wait).await
            }
        }
    }

    /// After many tuples, acks or room are likely to come within microseconds. Sleeping and being
    /// woken costs more than that, so the thread first steps aside a few times. Returns
    /// whether the next step is another one than `step`.
    fn linger(&mut self, step: Step) -> bool {
        if !std::mem::take(&mut self.was_busy) || !self.core.own_thread.is_exclusive() {
            return false;
        }
        for _ in 0..super::MOST_LINGERING {
            (self.core.run.step_aside)();
            let now = self.core.run.clock.now();
            self.tracker.take_in(&mut self.core.outbox, now);
            if !self.core.outbox.is_empty() {
                self.flush();
            }
            if self.step(now) != step {
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

/// Takes in acks, time-outs and orders, and sends the rows that there is room for.
fn poll_progress(tracker: &mut Tracker, outbox: &mut Outbox, cx: &mut Context<'_>) {
    tracker.poll(outbox, cx);
    if !outbox.is_empty() || outbox.is_blocked() {
        let _ = tracker.poll_leave(outbox, cx);
    }
}

/// Awaits a future while acks, time-outs and sending continue.
async fn attend<T>(tracker: &mut Tracker, outbox: &mut Outbox, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let outcome = future.as_mut().poll(cx);
        if outcome.is_pending() {
            poll_progress(tracker, outbox, cx);
        }
        outcome
    })
    .await
}
