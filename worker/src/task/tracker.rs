//! A spout task's side of tracking: takes acks from the inbox and time-outs from the clock, whatever
//! the spout itself is doing.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::TopologyConfig;
use galerna_topology_api::engine::Settled;
use tokio::time::{Sleep, sleep_until};

use super::hooks::Hooks;
use crate::acks::AckBatch;
use crate::clock::Clock;
use crate::inbox::Arrivals;
use crate::ledger::{Decided, Ledger};
use crate::message::{Control, Message};
use crate::outbox::Outbox;
use crate::run::RunShared;
use crate::stats::{StreamCounts, TaskStats};
use crate::window::Window;

pub(super) struct Tracker {
    inbox: Arrivals,
    pub(super) ledger: Ledger,
    pub(super) window: Window,
    /// Trees that are decided, for whose ids `ack` or `fail` is to be called.
    pub(super) settled: VecDeque<Settled>,
    /// Orders not yet obeyed.
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
            window: Window::new(config.max_spout_pending(), timeout),
            settled: VecDeque::new(),
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
    pub(super) fn room(&mut self) -> usize {
        self.window.room(self.ledger.open_trees())
    }

    /// Takes what has come in, without waiting.
    pub(super) fn take_in(&mut self, now: Duration) {
        while let Some(message) = self.inbox.try_next() {
            self.take(message);
        }
        self.expire(now);
    }

    /// Takes what has come in, and sees to it that the task is polled again for what will.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(message) = self.inbox.poll_next(cx) {
            self.take(message);
        }
        while let Some(next) = self.next_look() {
            let at = self.clock.at(next);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
            let now = self.clock.now();
            self.expire(now);
            if self.escape().is_some_and(|escape| now >= escape) {
                self.window.take_escape(now);
            }
        }
    }

    /// Ready when everything has left; the time of what leaves begins now.
    pub(super) fn poll_leave(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<()> {
        let had_to_wait = outbox.is_blocked();
        let room = outbox.poll_room(cx);
        self.note_departure(outbox, had_to_wait);
        room
    }

    /// Notes what has left, after the outbox sent what it could.
    pub(super) fn note_departure(&mut self, outbox: &Outbox, had_to_wait: bool) {
        let now = self.clock.now();
        if outbox.is_empty() {
            self.ledger.depart(now, had_to_wait);
        } else {
            self.ledger.depart_but(outbox.waiting_slots(), now);
        }
    }

    /// When to look for time-outs, or whether the window is to be raised.
    fn next_look(&self) -> Option<Duration> {
        let expiry = self.next_expiry.filter(|_| self.ledger.open_trees() > 0);
        [expiry, self.escape()].into_iter().flatten().min()
    }

    fn escape(&self) -> Option<Duration> {
        self.window.escape(self.ledger.open_trees(), self.ledger.held_trees())
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Acks(batch) => self.apply(&batch),
            Message::Control(Control::FailOpen) => self.fail_all(),
            Message::Control(order) => self.orders.push_back(order),
            Message::Data(_) | Message::Marker { .. } | Message::Reopen(_) => {}
        }
    }

    fn apply(&mut self, batch: &AckBatch) {
        if batch.incarnation != self.incarnation {
            return;
        }
        let now = self.clock.now();
        let before = self.settled.len();
        let mut acked = 0;
        // Trees of one batch have the same latency: they are recorded together.
        let mut run: (Duration, u64) = (Duration::ZERO, 0);
        for delta in &batch.deltas {
            let Some((settled, departed)) = self.ledger.apply(delta, now) else { continue };
            self.settled.push_back(settled);
            if settled.is_acked {
                acked += 1;
                if departed != run.0 {
                    self.record(now, run);
                    run = (departed, 0);
                }
                run.1 += 1;
            }
        }
        self.record(now, run);
        self.count((self.settled.len() - before) as u64, acked, now);
    }

    fn record(&self, now: Duration, (departed, trees): (Duration, u64)) {
        if trees > 0 {
            let latency = now.saturating_sub(departed);
            self.stats.complete_latency.record_many(latency.as_nanos() as u64, trees);
            if !self.hooks.all().is_empty() {
                (0..trees).for_each(|_| self.hooks.ack(self.task, Some(latency), &self.run));
            }
        }
    }

    /// Counts trees that were just settled.
    pub(super) fn count(&mut self, settled: u64, acked: u64, now: Duration) {
        for (stream, decided) in self.stats.streams.iter().zip(self.ledger.take_decided()) {
            let Decided { acked, failed } = decided;
            stream.add(StreamCounts { acked, failed, ..StreamCounts::default() });
        }
        self.note_open_trees();
        if !self.hooks.all().is_empty() {
            (acked..settled).for_each(|_| self.hooks.fail(self.task, &self.run));
        }
        self.window.settled(settled as usize, self.ledger.open_trees(), now);
    }

    /// Publishes how many trees are open.
    pub(super) fn note_open_trees(&self) {
        self.stats.pending.store(self.ledger.open_trees() as u64, Ordering::Relaxed);
    }

    fn expire(&mut self, now: Duration) {
        if self.next_expiry.is_none_or(|expiry| now < expiry) {
            return;
        }
        let before = self.settled.len();
        let open = self.ledger.open_trees();
        self.next_expiry = self.ledger.expire(now, &mut self.settled);
        let expired = (self.settled.len() - before) as u64;
        if expired > 0 {
            self.count(expired, 0, now);
            self.window.expired(open);
        }
    }

    /// Fails all open trees, because the instance that emitted them is gone.
    pub(super) fn fail_all(&mut self) {
        let before = self.settled.len();
        self.ledger.fail_all(&mut self.settled);
        let failed = (self.settled.len() - before) as u64;
        self.count(failed, 0, self.clock.now());
    }
}
