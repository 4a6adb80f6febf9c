//! What happens around the calls of a bolt: its emits are dealt, its inputs are acked or failed.

mod batch;
mod early;
mod held;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{Batch, BoltHost, Done, Flow, HeldTable, Room, Staged, Staging};
use galerna_topology_api::{Error, ExecuteInfo, Failure, Result, TopologyContext};

use self::early::Early;
use super::hooks::Hooks;
use super::{Core, FLUSH_INTERVAL, note_call};
use crate::acks::AckKind;
use crate::lane::NoTrees;
use crate::outbox::Outbox;
use crate::output::Submissions;
use crate::panics::{EngineSection, Panic, guarded};
use crate::routing::Stray;
use crate::run::RunShared;
use crate::stats::{Counts, InStreams, TaskStats};

/// The engine's side of the calls for one batch, or for one event.
pub(super) struct Host<'a> {
    component: &'a str,
    task: u32,
    outbox: &'a mut Outbox,
    counts: &'a mut Counts,
    stats: &'a TaskStats,
    run: &'a RunShared,
    hooks: &'a Hooks,
    submissions: &'a mut Submissions,
    batch: Option<&'a Batch>,
    in_streams: &'a InStreams,
    /// Where the batch is counted.
    place: usize,
    room: Arc<Room>,
    /// Whether the running call waits for room.
    waits_for_room: bool,
    early: Early,
    /// For a run of rows, the XOR of the edges made for each.
    made: Vec<u64>,
    /// The last look at the clock before the call in hand. Fast calls that are settled together may
    /// lie between.
    call_began: Duration,
    /// How long the timed call took, until its row is settled.
    timed: Option<Duration>,
    /// How many rows are settled together.
    chunk: usize,
    /// Whether the call in hand has been pending, so that it is settled by itself.
    was_pending: bool,
    /// The time of the call that is being settled, if it was needed.
    now: Option<Duration>,
    last_flush: Duration,
    is_slow: &'a mut bool,
    /// What makes going on pointless.
    pub(super) fatal: Option<String>,
    /// Whether the last call without a row failed.
    pub(super) has_failed: bool,
}

/// The parts of a task that its cell needs beside the host.
pub(super) struct Lent<'a> {
    pub(super) staging: &'a mut Staging,
    pub(super) done: &'a mut Done,
    pub(super) context: &'a TopologyContext,
}

impl<'a> Host<'a> {
    pub(super) fn new(
        core: &'a mut Core,
        submissions: &'a mut Submissions,
        batch: Option<&'a Batch>,
    ) -> (Self, Lent<'a>) {
        let Core {
            component,
            task,
            context,
            staging,
            done,
            outbox,
            stats,
            run,
            counts,
            in_streams,
            hooks,
            last_flush,
            is_slow,
            ..
        } = core;
        let host = Self {
            component,
            task: *task,
            outbox,
            counts,
            stats,
            run,
            hooks,
            submissions,
            place: batch.map_or(0, |batch| in_streams.place_of(batch.senders.of(0).task, batch.source.stream_index)),
            batch,
            in_streams,
            room: staging.room(),
            waits_for_room: false,
            early: Early::default(),
            made: Vec::new(),
            call_began: Duration::ZERO,
            timed: None,
            chunk: done.chunk,
            was_pending: false,
            now: None,
            last_flush: *last_flush,
            is_slow,
            fatal: None,
            has_failed: false,
        };
        (host, Lent { staging, done, context })
    }

    /// Lists an error.
    pub(super) fn report(&self, message: &str) {
        self.run.report(self.component, self.task, self.stats, message);
    }

    /// The reason of tuples that this bolt fails.
    pub(super) fn failure(&self, message: &str) -> Arc<Failure> {
        Failure::failed(self.component, message)
    }

    /// Lists an error of a call, and notes a fatal one. Returns the reason of the tuples that fail with it.
    fn list_failure(&mut self, error: Error) -> Arc<Failure> {
        self.has_failed = true;
        let is_fatal = error.is_fatal();
        // The `Display` and the destructor of an error are user code.
        let message = guarded(move || error.to_string());
        let message = message.unwrap_or_else(|Panic(message)| format!("an error whose message {message}"));
        self.report(&message);
        let failure = self.failure(&message);
        if is_fatal {
            self.fatal = Some(message);
        }
        failure
    }

    /// Deals what one call staged. `made` gets the XOR of the edges made for each input from row `first`
    /// on. Returns the rows without a receiver.
    fn deal(
        &mut self,
        staged: &mut Staged,
        held: &mut HeldTable,
        first: Option<usize>,
        made: &mut [u64],
    ) -> Vec<(Option<usize>, Stray)> {
        self.counts.emitted(&staged.rows);
        let input = self.batch.zip(first);
        self.outbox.route(staged, input, held, self.hooks.all(), &mut NoTrees, made)
    }

    /// The call succeeded: its input is acked, unless it was kept, and so is what it acked by hand.
    fn succeed(&mut self, staging: &mut Staging, row: Option<usize>, made: u64) {
        let kept = staging.kept.take();
        if let Some((batch, row)) = self.batch.zip(row) {
            match kept {
                None => {
                    self.outbox.ack_inputs(batch, [(row, made)].into_iter());
                    self.count_acked(self.place);
                    self.note_timed();
                }
                Some(slot) => {
                    if let Some(entry) = staging.held.entry(slot) {
                        entry.emitted ^= made;
                        entry.called = Some(self.call_began);
                    }
                    self.note_held(&staging.held);
                    self.outbox.say_of_input(batch, row, AckKind::Held);
                }
            }
        }
        self.decide_held(staging, Ok(()));
    }

    /// The call failed: so does its input, kept or not, and what it acked by hand.
    fn fail(&mut self, staging: &mut Staging, row: Option<usize>, error: Error) {
        let failure = self.list_failure(error);
        staging.withdraw();
        let kept = staging.kept.take();
        if let Some((batch, row)) = self.batch.zip(row) {
            if let Some(slot) = kept {
                staging.held.remove(slot);
            }
            self.fail_row(batch, row, &failure);
        }
        self.decide_held(staging, Err(&failure));
    }

    /// Counts rows of the batch that were executed.
    pub(super) fn count_executed(&mut self, rows: usize) {
        self.counts.on(self.place).executed += rows as u64;
    }

    /// Publishes how many tuples are held.
    pub(super) fn note_held(&self, held: &HeldTable) {
        self.stats.pending.store(held.len() as u64, Ordering::Relaxed);
    }

    /// The row of the timed call was acked.
    fn note_timed(&mut self) {
        if let Some(took) = self.timed.take() {
            self.counts.processed(took.as_nanos() as u64, self.stats);
        }
    }

    fn count_acked(&mut self, place: usize) {
        self.counts.on(place).acked += 1;
        self.hooks.ack(self.task, None, self.run);
    }

    fn count_failed(&mut self, place: usize, is_final: bool, is_anchored: bool) {
        self.counts.on(place).failed += 1;
        self.hooks.fail(self.task, self.run);
        if is_final && !is_anchored {
            let message = format!(
                "`{}` (task {}) failed a tuple that nobody can replay: it came from `finish`",
                self.component, self.task
            );
            self.run.mark_failed("finish_failed", &message);
        }
    }

    /// Fails an input row.
    pub(super) fn fail_row(&mut self, batch: &Batch, row: usize, failure: &Arc<Failure>) {
        self.outbox.fail_input(batch, row, failure);
        self.count_failed(self.place, batch.is_final(row), batch.anchors_of(row).0.is_some());
    }

    /// Lists an error. Returns the reason of the tuples that fail with it.
    pub(super) fn list(&self, error: &impl fmt::Display) -> Arc<Failure> {
        let message = error.to_string();
        self.report(&message);
        self.failure(&message)
    }

    /// Deals rows that stand staged outside any call. Returns and lists the reason if they could not all be dealt.
    pub(super) fn deal_outside(&mut self, staging: &mut Staging) -> Option<Arc<Failure>> {
        let error = match staging.take_refusal() {
            Some(refusal) => Some(refusal.into()),
            None => first_of(self.deal(&mut staging.staged, &mut staging.held, None, &mut [])),
        };
        staging.withdraw();
        error.map(|error| self.list(&error))
    }

    /// Acks a run of rows, but for those that emitted a row that went nowhere.
    fn ack_run(&mut self, batch: &Batch, rows: Range<usize>, strays: &[(Option<usize>, Stray)]) {
        let acked = rows.clone().zip(self.made.iter().copied());
        self.outbox.ack_inputs(batch, acked.filter(|(row, _)| strays.is_empty() || !is_stray(*row, strays)));
        self.counts.on(self.place).acked += rows.len() as u64;
        for (row, stray) in strays {
            let message = stray.to_string();
            self.report(&message);
            if let Some(row) = row.filter(|row| rows.contains(row)) {
                self.counts.on(self.place).acked -= 1;
                self.fail_row(batch, row, &self.failure(&message));
            }
        }
    }

    /// Whether to go on at this time.
    fn flow(&mut self, now: Duration) -> Flow {
        self.outbox.relieve_acks();
        let is_due = now.saturating_sub(self.last_flush) >= FLUSH_INTERVAL;
        let is_enough = is_due || self.submissions.has_backlog();
        if self.outbox.is_blocked() || is_enough || self.fatal.is_some() { Flow::Stop } else { Flow::Continue }
    }
}

fn first_of(strays: Vec<(Option<usize>, Stray)>) -> Option<Error> {
    strays.into_iter().next().map(|(_, stray)| stray.into())
}

fn is_stray(row: usize, strays: &[(Option<usize>, Stray)]) -> bool {
    strays.iter().any(|(stray, _)| *stray == Some(row))
}

impl BoltHost for Host<'_> {
    fn settle_run(&mut self, done: &mut Staged, rows: Range<usize>) -> Flow {
        let _section = EngineSection::enter();
        let Some(batch) = self.batch else { return Flow::Stop };
        self.stats.activity.progress();
        self.count_executed(rows.len());
        // Rows that are settled too soon stand before a call that has begun already.
        let is_full = rows.len() >= self.chunk || done.rows.len() >= self.chunk;
        let is_before_next = std::mem::take(&mut self.was_pending) || is_full;
        self.made.clear();
        self.made.resize(rows.len(), 0);
        let mut strays = Vec::new();
        if !done.is_empty() {
            self.counts.emitted(&done.rows);
            let (outbox, made) = (&mut self.outbox, &mut self.made);
            let held = &mut HeldTable::default();
            strays = outbox.route(done, Some((batch, rows.start)), held, self.hooks.all(), &mut NoTrees, made);
        }
        if batch.anchors.is_empty() && strays.is_empty() {
            self.counts.on(self.place).acked += rows.len() as u64;
        } else {
            self.ack_run(batch, rows.clone(), &strays);
        }
        if !is_stray(rows.start, &strays) {
            self.note_timed();
        }
        self.timed = None;
        if !self.hooks.all().is_empty() {
            for row in rows {
                let is_ok = !is_stray(row, &strays);
                self.hooks.execute(&ExecuteInfo { task: self.task, tuple: batch.tuple(row), is_ok }, self.run);
                if is_ok {
                    self.hooks.ack(self.task, None, self.run);
                }
            }
        }
        if self.room.has_mail() {
            // Rows in the mail are of the call behind these, whose input is not settled here.
            let resets = self.room.take_resets();
            self.reset_timeouts(resets);
        }
        let now = self.run.clock.now();
        if is_before_next {
            self.call_began = now;
        }
        self.flow(now)
    }

    fn settle(&mut self, staging: &mut Staging, row: Option<usize>, outcome: Result<()>) -> Flow {
        let _section = EngineSection::enter();
        self.stats.activity.progress();
        self.now = None;
        if row.is_some() {
            self.count_executed(1);
        }
        if let Some((batch, row)) = self.batch.zip(row) {
            let info = ExecuteInfo { task: self.task, tuple: batch.tuple(row), is_ok: outcome.is_ok() };
            self.hooks.execute(&info, self.run);
        }
        let early = self.take_early(staging, row);
        let mut made = early.made.first().copied().unwrap_or_default();
        let refusal = staging.take_refusal().map(Error::from);
        let error = outcome.err().or(first_of(early.strays)).or(refusal).or_else(|| {
            let mut edges = [0];
            let strays = self.deal(&mut staging.staged, &mut staging.held, row, &mut edges);
            made ^= edges[0];
            first_of(strays)
        });
        match error {
            None => self.succeed(staging, row, made),
            Some(error) => self.fail(staging, row, error),
        }
        self.timed = None;
        self.was_pending = false;
        self.call_began = self.now.take().unwrap_or_else(|| self.run.clock.now());
        self.flow(self.call_began)
    }

    fn settle_batch(&mut self, staging: &mut Staging, rows: Range<usize>, outcome: Result<()>) -> Flow {
        let _section = EngineSection::enter();
        self.settle_rows(staging, rows, outcome)
    }

    fn poll_pending(&mut self, done: &mut Done, row: Option<usize>, cx: &mut Context<'_>) -> Poll<()> {
        let _section = EngineSection::enter();
        if let Some(row) = row
            && done.from < row
        {
            let rows = std::mem::replace(&mut done.from, row)..row;
            self.settle_run(&mut done.staged, rows);
        }
        // It is settled by itself, so that it is known when the next one began.
        done.chunk = 1;
        self.was_pending = true;
        if self.room.has_mail() && self.take_mail(row) {
            self.waits_for_room = true;
            // It waits for others: whoever watches for calls that hang must not blame it.
            self.stats.activity.end(self.run.clock);
            self.stats.waiting.begin(self.run.clock);
        }
        self.submissions.poll_backlog(cx);
        self.counts.publish(self.stats);
        let room = self.outbox.poll_room(cx);
        if self.waits_for_room && room.is_ready() {
            self.waits_for_room = false;
            self.stats.waiting.end(self.run.clock);
            self.stats.activity.begin(self.run.clock.now());
            self.room.made();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn time_call(&mut self, is_start: bool) -> bool {
        let _section = EngineSection::enter();
        let now = self.run.clock.now();
        if is_start {
            self.call_began = now;
            return false;
        }
        let took = now - self.call_began;
        let is_slow = note_call(self.stats, took);
        *self.is_slow |= is_slow;
        if is_slow {
            self.chunk = 1;
        }
        self.timed = Some(took);
        is_slow
    }
}
