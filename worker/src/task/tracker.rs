//! A spout task's side of tracking: takes acks from the inbox and time-outs from the clock, whatever
//! the spout itself is doing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::Settled;
use galerna_topology_api::{Failure, TopologyConfig};
use tokio::time::{Sleep, sleep_until};

use super::hooks::Hooks;
use crate::acks::AckBatch;
use crate::clock::Clock;
use crate::in_flight_limit::{InFlightLimit, LEAST_LATENCY, Open};
use crate::inbox::Arrivals;
use crate::lane::Departed;
use crate::ledger::{Applied, Closed, Decided, Ledger};
use crate::message::{Control, Message};
use crate::outbox::Outbox;
use crate::run::RunShared;
use crate::stats::{StreamCounts, TaskStats};

pub(super) struct Tracker {
    inbox: Arrivals,
    pub(super) ledger: Ledger,
    limit: InFlightLimit,
    /// Trees that are decided, for whose ids `ack` or `fail` is to be called.
    pub(super) settled: VecDeque<Settled>,
    /// Trees whose rows have left; empty between calls, kept for its memory.
    departed: Departed,
    /// Orders that the task has not followed yet.
    pub(super) orders: VecDeque<Control>,
    incarnation: u32,
    /// Whether trees are tracked at all; if not, ids are acked at once.
    pub(super) is_tracking: bool,
    clock: Clock,
    stats: Arc<TaskStats>,
    pub(super) hooks: Hooks,
    run: Arc<RunShared>,
    task: u32,
    next_expiry: Option<Duration>,
    /// Made when it is first needed, on the runtime that polls it.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Tracker {
    pub(super) fn new(
        task: u32,
        incarnation: u32,
        inbox: Arrivals,
        config: &TopologyConfig,
        run: Arc<RunShared>,
        stats: Arc<TaskStats>,
    ) -> Self {
        let clock = run.clock;
        let timeout = config.message_timeout();
        let next_expiry = timeout.map(|timeout| clock.now() + timeout);
        Self {
            inbox,
            ledger: Ledger::new(task, incarnation, timeout),
            limit: InFlightLimit::new(config.max_spout_pending(), timeout),
            settled: VecDeque::new(),
            departed: Departed::default(),
            orders: VecDeque::new(),
            incarnation,
            is_tracking: config.is_tracking(),
            clock,
            stats,
            hooks: Hooks::default(),
            run,
            task,
            next_expiry,
            timer: None,
        }
    }

    /// How many trees may be opened now.
    pub(super) fn room(&mut self, now: Duration) -> usize {
        if !self.is_tracking {
            return usize::MAX;
        }
        self.limit.aim_at_least(self.run.busy_latency().max(LEAST_LATENCY));
        self.limit.room(self.open(), now)
    }

    fn open(&self) -> Open {
        Open { trees: self.ledger.open_trees(), held: self.ledger.held_trees() }
    }

    /// Takes what has come in, without waiting.
    pub(super) fn take_in(&mut self, outbox: &mut Outbox, now: Duration) {
        while let Some(message) = self.inbox.try_next() {
            self.take(message, outbox);
        }
        self.expire(now);
    }

    /// Takes what has come in, and sees to it that the task is polled again for what will.
    pub(super) fn poll(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) {
        while let Poll::Ready(message) = self.inbox.poll_next(cx) {
            self.take(message, outbox);
        }
        while let Some(next) = self.next_expiry.filter(|_| self.ledger.open_trees() > 0) {
            let at = self.clock.at(next);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            self.expire(self.clock.now());
        }
    }

    /// Ready when everything has left; the time of what leaves begins now.
    pub(super) fn poll_leave(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        let room = outbox.poll_room(cx);
        self.note_departures(outbox);
        room
    }

    /// Enters the departures since the last call into the ledger.
    pub(super) fn note_departures(&mut self, outbox: &mut Outbox) {
        outbox.take_departed(&mut self.departed);
        let mut first: Option<Duration> = None;
        self.departed.drain(|trees, at| {
            first.get_or_insert(at);
            self.ledger.depart(trees, at);
        });
        // They may have departed a while ago, without the task.
        if let Some((first, next)) = first.zip(self.next_expiry.as_mut()) {
            *next = (*next).min(self.ledger.deadline(first));
        }
    }

    fn take(&mut self, message: Message, outbox: &mut Outbox) {
        match message {
            Message::Acks(batch) => {
                // The rows of these trees departed before, perhaps unknown to the ledger.
                self.note_departures(outbox);
                self.apply(&batch);
                self.inbox.recycle_acks(batch.deltas);
            }
            Message::Control(Control::FailOpen) => self.fail_all(),
            Message::Control(order) => self.orders.push_back(order),
            Message::Data(_) | Message::Input(_) => {}
        }
    }

    fn apply(&mut self, batch: &AckBatch) {
        if batch.incarnation != self.incarnation {
            return;
        }
        let now = self.clock.now();
        let (mut acked, mut failed) = (0, 0);
        // Trees of one batch have the same latency: they are recorded together.
        let mut run: (u64, u64) = (0, 0);
        // The number of trees that are no longer on their way, and the shortest time of a decided tree.
        let (mut passed, mut shortest) = (0i64, u64::MAX);
        for delta in &batch.deltas {
            match self.ledger.apply(delta, now) {
                Applied::Nothing => {}
                Applied::Held => passed += 1,
                Applied::Released => passed -= 1,
                Applied::Settled(Closed { slot, is_acked }, taken) => {
                    let failure = (!is_acked).then(|| batch.failure(delta));
                    self.settled.push_back(Settled { slot, failure });
                    passed += i64::from(!taken.was_held);
                    let Some(departed) = taken.departed else {
                        failed += 1;
                        continue;
                    };
                    shortest = shortest.min(taken.active);
                    if !is_acked {
                        failed += 1;
                        continue;
                    }
                    acked += 1;
                    if departed != run.0 {
                        self.record(now, run);
                        run = (departed, 0);
                    }
                    run.1 += 1;
                }
            }
        }
        self.record(now, run);
        self.count(acked, failed);
        let shortest = (shortest < u64::MAX).then(|| Duration::from_nanos(shortest));
        self.limit.passed(passed, shortest, self.open(), now);
    }

    /// Records the latency of trees that departed at the same time, in nanoseconds since the worker's start.
    fn record(&self, now: Duration, (departed, trees): (u64, u64)) {
        if trees > 0 {
            let latency = now.saturating_sub(Duration::from_nanos(departed));
            self.stats.latencies.complete.record_many(latency.as_nanos() as u64, trees);
            if !self.hooks.all().is_empty() {
                (0..trees).for_each(|_| self.hooks.ack(self.task, Some(latency), &self.run));
            }
        }
    }

    /// Counts trees that were just settled.
    pub(super) fn count(&mut self, acked: u64, failed: u64) {
        if acked + failed == 0 {
            return;
        }
        for (stream, decided) in self.stats.streams.iter().zip(self.ledger.take_decided()) {
            let Decided { acked, failed } = decided;
            stream.add(StreamCounts { acked, failed, ..StreamCounts::default() });
        }
        self.note_open_trees();
        if !self.hooks.all().is_empty() {
            (0..failed).for_each(|_| self.hooks.fail(self.task, &self.run));
        }
    }

    /// Publishes how many trees are open.
    pub(super) fn note_open_trees(&self) {
        self.stats.pending.store(self.ledger.open_trees() as u64, Ordering::Relaxed);
    }

    fn expire(&mut self, now: Duration) {
        if self.next_expiry.is_none_or(|expiry| now < expiry) {
            return;
        }
        let (open, mut closed) = (self.open(), Vec::new());
        self.next_expiry = self.ledger.expire(now, &mut closed);
        let expired = closed.len();
        self.note_failed(closed, Failure::TimedOut);
        if expired > 0 {
            self.count(0, expired as u64);
            self.limit.expired(expired, open, now);
        }
    }

    /// Fails all open trees, because the instance that emitted them is gone.
    pub(super) fn fail_all(&mut self) {
        let mut closed = Vec::new();
        self.ledger.fail_all(&mut closed);
        self.count(0, closed.len() as u64);
        self.note_failed(closed, Failure::Lost);
    }

    /// Has `fail` called for trees that have just failed, all for the same reason.
    fn note_failed(&mut self, closed: Vec<Closed>, failure: Failure) {
        let failure = Arc::new(failure);
        self.settled
            .extend(closed.into_iter().map(|Closed { slot, .. }| Settled { slot, failure: Some(failure.clone()) }));
    }
}
