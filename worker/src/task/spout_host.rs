//! What happens around each call of a spout: its emits are dealt, trees are opened; while a call
//! waits, acks and time-outs go on.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{Flow, Room, Root, Settled, SpoutHost, SpoutSettled, Staging};
use galerna_topology_api::{Next, Result, TopologyContext};

use super::tracker::Tracker;
use super::{Core, SLOW_CALL};
use crate::clock::Clock;
use crate::outbox::{Outbox, Trees};
use crate::run::RunShared;
use crate::stats::{Counts, TaskStats, add};

/// Calls of a spout before the task looks after other things.
const MOST_CALLS: u32 = 256;

pub(super) struct Host<'a> {
    component: &'a str,
    task: u32,
    outbox: &'a mut Outbox,
    counts: &'a mut Counts,
    stats: &'a TaskStats,
    run: &'a RunShared,
    hooks: &'a [Arc<dyn galerna_topology_api::TaskHook>],
    tracker: &'a mut Tracker,
    is_tracking: bool,
    /// Trees that may still be opened.
    room: usize,
    calls: u32,
    now: Duration,
    call_began: Duration,
    is_slow: &'a mut bool,
    mailbox: Arc<Room>,
    waits_for_room: bool,
    /// Whether anything was emitted.
    pub(super) has_emitted: bool,
    /// What was wrong with the emits of a call.
    pub(super) refusal: Option<String>,
}

/// The ledger, as the outbox sees it.
struct Opening<'a> {
    tracker: &'a mut Tracker,
    slots: &'a mut Vec<u32>,
    now: Duration,
    is_tracking: bool,
}

impl Trees for Opening<'_> {
    #[inline]
    fn open(&mut self) -> Option<Root> {
        if !self.is_tracking {
            return None;
        }
        let root = self.tracker.ledger.open(self.now);
        self.slots.push(root.slot);
        Some(root)
    }

    #[inline]
    fn started(&mut self, root: Root, edges: u64) {
        if let Some(settled) = self.tracker.ledger.start(root.slot, edges) {
            self.complete(settled);
        }
    }
}

impl Opening<'_> {
    #[cold]
    fn complete(&mut self, settled: Settled) {
        self.tracker.settled.push_back(settled);
        self.tracker.count(1, 1, self.now);
    }
}

impl<'a> Host<'a> {
    pub(super) fn new(
        core: &'a mut Core,
        tracker: &'a mut Tracker,
        room: usize,
        now: Duration,
    ) -> (Self, &'a mut Staging, &'a TopologyContext) {
        let Core { component, task, context, staging, outbox, stats, run, counts, hooks, is_slow, .. } = core;
        let host = Self {
            component,
            task: *task,
            outbox,
            counts,
            stats,
            run,
            hooks,
            tracker,
            is_tracking: context.config().is_tracking(),
            room,
            calls: 0,
            now,
            call_began: now,
            is_slow,
            mailbox: staging.room(),
            waits_for_room: false,
            has_emitted: false,
            refusal: None,
        };
        (host, staging, context)
    }

    fn clock(&self) -> Clock {
        self.run.clock
    }

    fn deal(&mut self, staging: &mut Staging, slots: &mut Vec<u32>) {
        let rows = staging.rows.len();
        self.counts.emitted += rows as u64;
        self.has_emitted |= rows > 0;
        let before = slots.len();
        let Self { tracker, now, is_tracking, .. } = self;
        let mut trees = Opening { tracker, slots, now: *now, is_tracking: *is_tracking };
        let outcome = self.outbox.route(staging, None, self.hooks, &mut trees);
        self.room = self.room.saturating_sub(slots.len() - before);
        if let Err(error) = outcome {
            self.report(&error.to_string());
        }
        if std::mem::take(&mut self.outbox.has_sent) {
            self.now = self.clock().now();
            self.tracker.ledger.stamp(self.now);
        }
    }

    fn report(&self, message: &str) {
        add(&self.stats.errors, 1);
        self.run.list_error(self.component, self.task, message);
    }
}

impl SpoutHost for Host<'_> {
    #[inline]
    fn settle(&mut self, staging: &mut Staging, slots: &mut Vec<u32>, outcome: &Result<Next>) -> SpoutSettled {
        self.stats.activity.progress();
        self.calls += 1;
        let refusal = staging.take_refusal();
        if refusal.is_some() || outcome.is_err() {
            staging.withdraw();
            self.refusal = refusal.map(|refusal| refusal.to_string());
            return SpoutSettled { flow: Flow::Stop, is_tracking: self.is_tracking };
        }
        if !staging.rows.is_empty() {
            self.deal(staging, slots);
        }
        let is_enough = self.room == 0 || self.calls >= MOST_CALLS || *self.is_slow || self.outbox.is_blocked();
        let flow = if is_enough { Flow::Stop } else { Flow::Continue };
        SpoutSettled { flow, is_tracking: self.is_tracking }
    }

    fn poll_pending(&mut self, slots: &mut Vec<u32>, cx: &mut Context<'_>) -> Poll<()> {
        if self.mailbox.has_mail() {
            let (staged, _) = self.mailbox.take();
            if let Some(mut staged) = staged {
                self.waits_for_room = true;
                self.deal(&mut staged, slots);
            }
        }
        self.counts.publish(self.stats);
        self.tracker.poll(cx);
        let had_to_wait = self.outbox.is_blocked();
        let room = self.outbox.poll_room(cx);
        if room.is_ready() {
            self.now = self.clock().now();
            self.tracker.ledger.depart(self.now, had_to_wait);
        }
        if self.waits_for_room && room.is_ready() {
            self.waits_for_room = false;
            self.mailbox.made();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn time_call(&mut self, is_start: bool) {
        let now = self.clock().now();
        if is_start {
            self.call_began = now;
        } else {
            let took = now - self.call_began;
            self.stats.execute_latency.record(took.as_nanos() as u64);
            *self.is_slow |= took > 10 * SLOW_CALL;
        }
    }
}
