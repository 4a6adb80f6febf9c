//! The loop of a bolt task.

mod ending;
mod output;
mod owed;
mod ticks;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::Failure;
use galerna_topology_api::engine::{Batch, BoltCall, BoltEvent, BoltFactory, BoltHost, ErasedBolt};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::bolt_host::{Host, Lent};
use super::restarts::Restarts;
use super::{Core, FLUSH_INTERVAL, Fatal, Inlets, MOST_LINGERING, SLOW_CALL};
use crate::credit::Progress;
use crate::edges::{Input, Marker};
use crate::inbox::Arrivals;
use crate::message::{Control, Message};
use crate::output::{Submission, Submissions};
use crate::panics::{Panic, caught};
use crate::parcel::Delivery;
use crate::run::RunEvent;
use crate::stats::add;
use owed::{Owed, Pace};
use ticks::Ticks;

/// Rows of a batch that is sent because it is full, not because its sender has nothing more.
const LONG_BATCH: usize = 512;

/// A task of a bolt.
pub(crate) struct BoltTask {
    core: Core,
    make: BoltFactory,
    inbox: Arrivals,
    /// Output of spawned work.
    submissions: Submissions,
    /// Whether the inbox comes first at the next look: ticks and commands must not starve it.
    is_inbox_first: bool,
    /// The time per tuple.
    pace: Pace,
    /// Whether the last batch was a long one.
    was_busy: bool,
    input: Input,
    ticks: Option<Ticks>,
    restarts: Restarts,
    executed: u64,
    /// How many tuples had been executed when last words were said.
    said_at: Option<u64>,
    /// Whether the input has ended and the task waits for orders.
    is_parked: bool,
    order: Option<LastOrder>,
}

/// An order after which there is no other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LastOrder {
    /// End, because the task moves.
    Release,
    /// End.
    Exit,
}

/// Something to do.
enum Work {
    Message(Message),
    Output(Submission),
    Tick,
    /// Held tuples were dropped without a decision.
    Dropped,
}

impl BoltTask {
    pub(crate) fn new(core: Core, make: BoltFactory, inlets: Inlets) -> Self {
        let Inlets { inbox, submissions } = inlets;
        let restarts = Restarts::default();
        Self {
            core,
            make,
            inbox,
            submissions,
            is_inbox_first: false,
            pace: Pace::default(),
            was_busy: false,
            input: Input::new(),
            ticks: None,
            restarts,
            executed: 0,
            said_at: None,
            is_parked: false,
            order: None,
        }
    }

    /// Runs until all inputs have ended. A failure was told to the run.
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

    async fn work(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        let Core { context, run, .. } = &self.core;
        self.ticks = context.config().tick_interval().map(|every| Ticks::new(every, run.clock));
        loop {
            if self.order.is_none() {
                let work = self.next_work().await;
                self.handle(cell, work).await?;
            }
            match self.order.take() {
                Some(LastOrder::Release) => return self.release(cell).await,
                Some(LastOrder::Exit) => {
                    self.clean_up(cell).await;
                    return Ok(());
                }
                None => {}
            }
            if self.input.take_flush() {
                self.event(cell, BoltEvent::Flush).await?;
                self.send_flush(cell).await?;
            } else if self.input.state.is_flushed && self.core.outbox.has_emitted_since_marker() {
                self.send_flush(cell).await?;
            }
            match self.input.state.ending {
                Some(ending) if !self.is_parked => {
                    if !self.say_last_words(cell, ending).await? {
                        continue;
                    }
                    if !self.core.parks {
                        self.clean_up(cell).await;
                        return Ok(());
                    }
                    if self.order.is_some() {
                        continue;
                    }
                    self.is_parked = true;
                    self.core.run.tell(RunEvent::Parked(self.core.task, ending));
                }
                None if self.is_parked => {
                    self.is_parked = false;
                    self.submissions.open();
                    self.core.run.tell(RunEvent::Resumed(self.core.task));
                    // Those behind it go on as well: they have last words to say again.
                    self.core.leave().await;
                    self.core.outbox.send_marker(Marker::Open);
                }
                _ => {}
            }
        }
    }

    /// What is there to do now, or, once all that stands ready was sent, the next thing to come.
    async fn next_work(&mut self) -> Work {
        // After a tick that came while rows waited for room, they wait still.
        if !self.core.outbox.is_blocked() {
            let at_once = poll_fn(|cx| match self.poll_work(cx) {
                Poll::Ready(work) => Poll::Ready(Some(work)),
                Poll::Pending => Poll::Ready(None),
            });
            if let Some(work) = at_once.await {
                return work;
            }
            if let Some(work) = self.linger() {
                return work;
            }
        }
        if self.leave_or_tick().await {
            return Work::Tick;
        }
        poll_fn(|cx| self.poll_work(cx)).await
    }

    /// After a long batch the next is likely to come within microseconds. Sleeping and being woken
    /// costs the sender more than that, so the thread first steps aside a few times.
    fn linger(&mut self) -> Option<Work> {
        if !std::mem::take(&mut self.was_busy) || !self.core.own_thread.is_exclusive() {
            return None;
        }
        self.core.flush(self.core.run.clock.now());
        for _ in 0..MOST_LINGERING {
            (self.core.run.step_aside)();
            if let Some(message) = self.inbox.try_next() {
                return Some(Work::Message(message));
            }
        }
        None
    }

    /// Does what there is to do, other than ending.
    async fn handle(&mut self, cell: &mut Box<dyn ErasedBolt>, work: Work) -> Result<(), Fatal> {
        match work {
            Work::Message(Message::Control(Control::Release)) => self.order = Some(LastOrder::Release),
            Work::Message(Message::Control(Control::Exit)) => self.order = Some(LastOrder::Exit),
            Work::Message(Message::Data(delivery)) => self.take_delivery(cell, delivery).await?,
            Work::Message(Message::Input(state)) => self.input.state = state,
            Work::Message(_) => {}
            Work::Output(submission) => self.take_output(cell, submission).await?,
            Work::Tick => self.tick(cell).await?,
            Work::Dropped => {
                let (mut host, lent) = Host::new(&mut self.core, &mut self.submissions, None);
                host.fail_dropped(lent.staging);
            }
        }
        Ok(())
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Work> {
        let held = &self.core.staging.held;
        if held.has_dropped() || (!held.is_empty() && held.watch_dropped(cx.waker())) {
            return Poll::Ready(Work::Dropped);
        }
        if std::mem::take(&mut self.is_inbox_first)
            && let Poll::Ready(message) = self.inbox.poll_next(cx)
        {
            return Poll::Ready(Work::Message(message));
        }
        let is_time = self.poll_tick(cx).is_ready();
        self.is_inbox_first = true;
        if is_time {
            return Poll::Ready(Work::Tick);
        }
        if let Poll::Ready(submission) = self.submissions.poll_next(cx) {
            return Poll::Ready(Work::Output(submission));
        }
        self.is_inbox_first = false;
        self.inbox.poll_next(cx).map(Work::Message)
    }

    async fn take_delivery(&mut self, cell: &mut Box<dyn ErasedBolt>, delivery: Delivery) -> Result<(), Fatal> {
        let Delivery { batch, dues } = delivery;
        let mut owed = Owed::of(dues, batch.rows, self.core.task);
        self.input.data();
        self.was_busy = batch.rows >= LONG_BATCH;
        // From the first last words on, all that is not anchored is such.
        self.core.outbox.is_final |= batch.senders.has_final();
        let outcome = self.execute(cell, &batch, &mut owed).await;
        let dues = owed.pay_all(self.inbox.lane());
        self.inbox.recycle(Delivery { batch, dues });
        outcome
    }

    async fn execute(&mut self, cell: &mut Box<dyn ErasedBolt>, batch: &Batch, owed: &mut Owed) -> Result<(), Fatal> {
        let mut cursor = 0;
        while cursor < batch.rows {
            let began = self.core.run.clock.now();
            let first = cursor;
            self.core.stats.activity.begin(began);
            self.core.done.chunk = self.core.chunk();
            let (mut host, Lent { staging, done, context }) =
                Host::new(&mut self.core, &mut self.submissions, Some(batch));
            let call = BoltCall { batch, cursor: &mut cursor, staging, done, host: &mut host, context };
            let outcome = caught(cell.execute_batch(call)).await;
            let fatal = host.fatal.take();
            self.core.end_calls();
            self.executed += (cursor - first) as u64;
            self.inbox.executed(cursor - first);
            if let Err(Panic(message)) = outcome {
                let failed = self.fail_after_panic(batch, cursor, &message);
                cursor += failed;
                self.inbox.executed(failed);
                self.restart(cell, &message, Failure::Lost.into()).await?;
            } else if let Some(message) = fatal {
                self.restart_after_fatal(cell, &message, Failure::Lost.into()).await?;
            }
            let now = self.core.run.clock.now();
            self.pace.note(cursor - first, now.saturating_sub(began));
            let progress = Progress { pace: self.pace.get(), is_idle: self.inbox.is_empty() };
            owed.pay(batch.rows - cursor, progress, self.inbox.lane());
            self.rest(cell, (began, now), cursor - first).await?;
        }
        Ok(())
    }

    /// After a panic in the call for `row`: settles the rows before, and fails all rows of the call. Returns
    /// the number of failed rows.
    fn fail_after_panic(&mut self, batch: &Batch, row: usize, message: &str) -> usize {
        let (mut host, lent) = Host::new(&mut self.core, &mut self.submissions, Some(batch));
        lent.staging.withdraw();
        if lent.done.from < row {
            host.settle_run(&mut lent.done.staged, lent.done.from..row);
        }
        host.fail_call(lent.staging, batch, row, message)
    }

    /// Between two runs of calls: calls `tick` if it is due, takes up output that came while a call was running, and
    /// waits for room if there is none. After each [`FLUSH_INTERVAL`], sends all rows and lets other tasks run.
    async fn rest(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        (began, now): (Duration, Duration),
        calls: usize,
    ) -> Result<(), Fatal> {
        self.core.is_slow = now - began > SLOW_CALL * calls.max(1) as u32;
        self.tick_if_due(cell, now).await?;
        for submission in self.submissions.take_backlog() {
            self.take_output(cell, submission).await?;
        }
        if self.core.outbox.is_blocked() {
            self.leave(cell).await?;
        } else if now.saturating_sub(self.core.last_flush) >= FLUSH_INTERVAL {
            self.core.flush(now);
            yield_now().await;
        }
        Ok(())
    }

    /// Calls `tick`, `flush` or `finish`; whether it succeeded.
    async fn event(&mut self, cell: &mut Box<dyn ErasedBolt>, event: BoltEvent) -> Result<bool, Fatal> {
        self.core.stats.activity.begin(self.core.run.clock.now());
        let (mut host, Lent { staging, context, .. }) = Host::new(&mut self.core, &mut self.submissions, None);
        let outcome = caught(cell.event(event, staging, &mut host, context)).await;
        let (fatal, has_failed) = (host.fatal.take(), host.has_failed);
        self.core.end_calls();
        match (outcome, fatal) {
            (Err(Panic(message)), _) => {
                self.core.staging.withdraw();
                // The call had no tuple of its own: what it could not process is among those that the bolt held.
                self.restart(cell, &message, Failure::failed(self.core.component.clone(), &message)).await?;
                Ok(false)
            }
            (Ok(()), Some(message)) => {
                let failure = Failure::failed(self.core.component.clone(), &message);
                self.restart_after_fatal(cell, &message, failure).await?;
                Ok(false)
            }
            (Ok(()), None) => Ok(!has_failed),
        }
    }

    /// The instance is lost by a panic: fails what it held for this reason, and makes a new one.
    async fn restart(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        message: &str,
        of_held: Arc<Failure>,
    ) -> Result<(), Fatal> {
        self.core.report(message);
        let wait = self.restarts.after_panic(self.executed);
        self.replace(cell, wait, &of_held).await
    }

    /// The instance says that it cannot go on: a new one perhaps can. What the instance held fails for this reason.
    async fn restart_after_fatal(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        message: &str,
        of_held: Arc<Failure>,
    ) -> Result<(), Fatal> {
        match self.restarts.after_fatal(self.executed) {
            Some(wait) => self.replace(cell, wait, &of_held).await,
            None => Err(self.core.fail_run("fatal", &format!("cannot go on: {message}"))),
        }
    }

    async fn replace(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        wait: Duration,
        of_held: &Arc<Failure>,
    ) -> Result<(), Fatal> {
        add(&self.core.stats.restarts, 1);
        let (mut host, Lent { staging, .. }) = Host::new(&mut self.core, &mut self.submissions, None);
        staging.events.clear();
        staging.kept = None;
        staging.take_refusal();
        staging.take_handed_over();
        staging.room().discard();
        host.fail_held(staging, of_held);
        self.core.leave().await;
        sleep(wait).await;
        self.core.start(cell, true).await
    }

    async fn send_flush(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        self.leave(cell).await?;
        let marker = self.core.outbox.next_flush();
        self.core.outbox.send_marker(marker);
        Ok(())
    }
}
