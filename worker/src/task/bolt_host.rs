//! What happens around each call of a bolt: its emits are dealt, its input is acked or failed.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{Batch, BoltHost, Flow, HeldEvent, Room, Staging};
use galerna_topology_api::{Error, ExecuteInfo, Result};

use super::{Core, FLUSH_INTERVAL, SLOW_CALL};
use crate::acks::AckKind;
use crate::outbox::{NoTrees, Outbox};
use crate::run::RunShared;
use crate::stats::{Counts, TaskStats, add};

/// Fast calls between two looks at the clock.
const CALLS_PER_LOOK: usize = 128;

/// The engine's side of the calls for one batch, or for one event.
pub(super) struct Host<'a> {
    component: &'a str,
    task: u32,
    outbox: &'a mut Outbox,
    counts: &'a mut Counts,
    stats: &'a TaskStats,
    run: &'a RunShared,
    hooks: &'a [Arc<dyn galerna_topology_api::TaskHook>],
    batch: Option<&'a Batch>,
    /// The row in hand, while its call waits for room.
    room: Arc<Room>,
    waits_for_room: bool,
    cursor: usize,
    /// The XOR of the edges made for the input so far.
    made: u64,
    call_began: Duration,
    last_flush: Duration,
    is_slow: &'a mut bool,
    /// What makes going on pointless.
    pub(super) fatal: Option<String>,
    /// Whether the last call without a row failed.
    pub(super) has_failed: bool,
}

impl<'a> Host<'a> {
    /// The host of a batch's calls, and the parts of the task that the cell needs besides.
    pub(super) fn new(
        core: &'a mut Core,
        batch: Option<&'a Batch>,
        cursor: usize,
    ) -> (Self, &'a mut Staging, &'a galerna_topology_api::TopologyContext) {
        let Core { component, task, context, staging, outbox, stats, run, counts, hooks, last_flush, is_slow } = core;
        let host = Self {
            component,
            task: *task,
            outbox,
            counts,
            stats,
            run,
            hooks,
            batch,
            room: staging.room(),
            waits_for_room: false,
            cursor,
            made: 0,
            call_began: Duration::ZERO,
            last_flush: *last_flush,
            is_slow,
            fatal: None,
            has_failed: false,
        };
        (host, staging, context)
    }

    /// Lists an error that spawned work gives as the reason of a failure.
    pub(super) fn report_error(&mut self, error: &Error) {
        self.report(&error.to_string());
    }

    fn report(&mut self, message: &str) {
        add(&self.stats.errors, 1);
        self.run.list_error(self.component, self.task, message);
    }

    /// Deals what is staged; an error if a row had no target.
    fn deal(&mut self, staging: &mut Staging, row: Option<usize>) -> Result<()> {
        self.counts.emitted += staging.rows.len() as u64;
        let input = self.batch.zip(row);
        self.made ^= self.outbox.route(staging, input, self.hooks, &mut NoTrees)?;
        Ok(())
    }

    /// The call succeeded: its input is acked, unless it was kept, and so is what it acked by hand.
    fn succeed(&mut self, staging: &mut Staging, row: Option<usize>) {
        if let Some((batch, row)) = self.batch.zip(row) {
            match staging.kept.take() {
                None => {
                    self.outbox.ack_input(batch, row, self.made);
                    self.counts.acked += 1;
                    self.hooks.iter().for_each(|hook| hook.ack(self.task, None));
                }
                Some(slot) => {
                    if let Some(entry) = staging.held.entry(slot) {
                        entry.emitted ^= self.made;
                    }
                    self.outbox.say_of_input(batch, row, AckKind::Held);
                }
            }
        }
        self.decide_held(staging, true);
    }

    /// The call failed: so does its input, kept or not, and what it acked by hand.
    fn fail(&mut self, staging: &mut Staging, row: Option<usize>, error: &Error) {
        staging.withdraw();
        if let Some((batch, row)) = self.batch.zip(row) {
            if let Some(slot) = staging.kept.take() {
                staging.held.remove(slot);
            }
            self.fail_row(batch, row);
        }
        self.decide_held(staging, false);
        self.has_failed = true;
        self.report(&error.to_string());
        if error.is_fatal() {
            self.fatal = Some(error.to_string());
        }
    }

    /// Fails an input row.
    pub(super) fn fail_row(&mut self, batch: &Batch, row: usize) {
        self.outbox.say_of_input(batch, row, AckKind::Fail);
        self.counts.failed += 1;
        self.hooks.iter().for_each(|hook| hook.fail(self.task));
        if batch.is_final {
            self.lost_last_words();
        }
    }

    fn lost_last_words(&self) {
        let message = format!(
            "`{}` (task {}) failed a tuple that nobody can replay: it came from `finish`",
            self.component, self.task
        );
        self.run.mark_failed("finish_failed", message);
    }

    fn decide_held(&mut self, staging: &mut Staging, may_ack: bool) {
        if !staging.events.is_empty() {
            for event in std::mem::take(&mut staging.events) {
                let (slot, is_acked) = match event {
                    HeldEvent::Ack(slot) => (slot, may_ack),
                    HeldEvent::Fail(slot) => (slot, false),
                };
                self.settle_held(staging, slot, is_acked);
            }
        }
        if staging.held.has_dropped() {
            self.fail_dropped(staging);
        }
    }

    /// Fails the held tuples whose tokens were dropped without a decision.
    pub(super) fn fail_dropped(&mut self, staging: &mut Staging) {
        for slot in staging.held.take_dropped() {
            self.settle_held(staging, slot, false);
        }
    }

    pub(super) fn settle_held(&mut self, staging: &mut Staging, slot: u32, is_acked: bool) {
        let Some(is_final) = self.outbox.settle_held(&mut staging.held, slot, is_acked) else { return };
        if is_acked {
            self.counts.acked += 1;
            self.hooks.iter().for_each(|hook| hook.ack(self.task, None));
        } else {
            self.counts.failed += 1;
            self.hooks.iter().for_each(|hook| hook.fail(self.task));
            if is_final {
                self.lost_last_words();
            }
        }
    }

    /// Deals rows that stand staged outside any call, and answers whether all had a target.
    pub(super) fn deal_outside(&mut self, staging: &mut Staging) -> bool {
        let refusal = staging.take_refusal().map(Error::from);
        match refusal.map_or(Ok(()), Err).and_then(|()| self.deal(staging, None)) {
            Ok(()) => true,
            Err(error) => {
                staging.withdraw();
                self.report(&error.to_string());
                false
            }
        }
    }

    fn reset_timeouts(&mut self, roots: Vec<galerna_topology_api::engine::Root>) {
        roots.into_iter().for_each(|root| self.outbox.acks.say(root, AckKind::Reset));
    }

    fn tell_hooks(&self, row: Option<usize>, is_ok: bool) {
        if let Some((batch, row)) = self.batch.zip(row) {
            let info = ExecuteInfo { task: self.task, tuple: batch.tuple(row), is_ok };
            self.hooks.iter().for_each(|hook| hook.execute(&info));
        }
    }
}

impl BoltHost for Host<'_> {
    #[inline]
    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow {
        self.stats.activity.progress();
        if row.is_some() {
            self.counts.executed += 1;
        }
        if !self.hooks.is_empty() {
            self.tell_hooks(row, outcome.is_ok());
        }
        if self.room.has_mail() {
            let (_, roots) = self.room.take();
            self.reset_timeouts(roots);
        }
        let refusal = staging.take_refusal();
        let mut outcome = match refusal {
            Some(refusal) => outcome.and(Err(refusal.into())),
            None => outcome,
        };
        if outcome.is_ok() && !staging.rows.is_empty() {
            outcome = self.deal(staging, row);
        }
        match &outcome {
            Ok(()) => self.succeed(staging, row),
            Err(error) => self.fail(staging, row, error),
        }
        self.made = 0;
        self.cursor += 1;
        self.outbox.relieve_acks();
        let looks_at_clock = *self.is_slow || self.cursor.is_multiple_of(CALLS_PER_LOOK);
        let is_due = looks_at_clock && self.run.clock.now() - self.last_flush >= FLUSH_INTERVAL;
        if self.outbox.is_blocked() || is_due || self.fatal.is_some() { Flow::Stop } else { Flow::Continue }
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.room.has_mail() {
            let (staged, roots) = self.room.take();
            self.reset_timeouts(roots);
            if let Some(mut staged) = staged {
                self.waits_for_room = true;
                let row = self.batch.map(|_| self.cursor);
                if let Err(error) = self.deal(&mut staged, row) {
                    self.report(&error.to_string());
                }
            }
        }
        self.counts.publish(self.stats);
        let room = self.outbox.poll_room(cx);
        if self.waits_for_room && room.is_ready() {
            self.waits_for_room = false;
            self.room.made();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn time_call(&mut self, is_start: bool) {
        let now = self.run.clock.now();
        if is_start {
            self.call_began = now;
        } else {
            let took = now - self.call_began;
            self.stats.execute_latency.record(took.as_nanos() as u64);
            *self.is_slow |= took > 10 * SLOW_CALL;
        }
    }
}
