//! What happens around each call of a spout: its emits are dealt, trees are opened; while a call
//! waits, acks and time-outs go on.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{Flow, HeldTable, Room, Root, Settled, SpoutHost, SpoutSettled, Staged, Staging};
use galerna_topology_api::{Failure, TopologyContext};

use super::hooks::Hooks;
use super::tracker::Tracker;
use super::{Core, note_call};
use crate::clock::Clock;
use crate::lane::Trees;
use crate::ledger::{Closed, Ledger};
use crate::message::Control;
use crate::outbox::Outbox;
use crate::panics::EngineSection;
use crate::routing::Stray;
use crate::run::RunShared;
use crate::stats::{Counts, TaskStats};

/// Rows of a spout before the task looks after other things.
const MOST_ROWS: usize = 1024;

pub(super) struct Host<'a> {
    component: &'a str,
    task: u32,
    outbox: &'a mut Outbox,
    counts: &'a mut Counts,
    stats: &'a TaskStats,
    run: &'a RunShared,
    hooks: &'a Hooks,
    tracker: &'a mut Tracker,
    /// Rows that were settled so far.
    rows: usize,
    call_began: Duration,
    is_slow: &'a mut bool,
    mailbox: Arc<Room>,
    waits_for_room: bool,
}

/// The parts of a task that its cell needs beside the host.
pub(super) struct Lent<'a> {
    pub(super) staging: &'a mut Staging,
    pub(super) done: &'a mut Staged,
    pub(super) context: &'a TopologyContext,
}

/// The ledger, as the outbox sees it.
struct Opening<'a> {
    component: &'a str,
    tracker: &'a mut Tracker,
    slots: &'a mut Vec<u32>,
    counts: &'a mut Counts,
}

impl Trees for Opening<'_> {
    #[inline(always)]
    fn open(&mut self, stream: u16) -> Option<Root> {
        self.open_by(stream, |ledger| ledger.open(stream))
    }

    #[inline(always)]
    fn open_started(&mut self, stream: u16, edge: u64) -> Option<Root> {
        self.open_by(stream, |ledger| ledger.open_started(stream, edge, 1))
    }

    #[inline(always)]
    fn started(&mut self, root: Root, edges: u64, rows: u32, is_stray: bool) {
        if is_stray {
            let settled = self.tracker.ledger.fail(root.slot);
            self.settle(settled);
        } else if let Some(settled) = self.tracker.ledger.start(root.slot, edges, rows) {
            self.settle(settled);
        }
    }
}

impl Opening<'_> {
    #[inline(always)]
    fn open_by(&mut self, stream: u16, open: impl FnOnce(&mut Ledger) -> Root) -> Option<Root> {
        if !self.tracker.is_tracking {
            // Without tracking, the id is acked immediately.
            self.counts.on(stream.into()).acked += 1;
            return None;
        }
        let root = open(&mut self.tracker.ledger);
        self.slots.push(root.slot);
        Some(root)
    }

    /// A tree is decided as it is opened: nobody receives its tuple.
    #[cold]
    fn settle(&mut self, Closed { slot, is_acked }: Closed) {
        let failure = (!is_acked).then(|| Failure::failed(self.component, "a row could not be sent to its receivers"));
        self.tracker.settled.push_back(Settled { slot, failure });
        self.tracker.count(u64::from(is_acked), u64::from(!is_acked));
    }
}

impl<'a> Host<'a> {
    pub(super) fn new(core: &'a mut Core, tracker: &'a mut Tracker, now: Duration) -> (Self, Lent<'a>) {
        let Core { component, task, context, staging, done, outbox, stats, run, counts, hooks, is_slow, .. } = core;
        let host = Self {
            component,
            task: *task,
            outbox,
            counts,
            stats,
            run,
            hooks,
            tracker,
            rows: 0,
            call_began: now,
            is_slow,
            mailbox: staging.room(),
            waits_for_room: false,
        };
        (host, Lent { staging, done: &mut done.staged, context })
    }

    fn clock(&self) -> Clock {
        self.run.clock
    }

    /// How many rows were settled so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Deals rows. Returns one error for each call with rows that have no receiver.
    fn deal(&mut self, staged: &mut Staged, slots: &mut Vec<u32>) -> Vec<Stray> {
        if staged.is_empty() {
            return Vec::new();
        }
        self.rows += staged.rows.len();
        self.counts.emitted(&staged.rows);
        let Self { component, tracker, counts, .. } = self;
        let mut trees = Opening { component, tracker, slots, counts };
        let held = &mut HeldTable::default();
        let strays = self.outbox.route(staged, None, held, self.hooks.all(), &mut trees, &mut []);
        self.tracker.note_open_trees();
        self.tracker.note_departures(self.outbox);
        strays.into_iter().map(|(_, stray)| stray).collect()
    }

    /// Deals the rows of calls that have returned, and lists their errors.
    fn deal_done(&mut self, done: &mut Staged, slots: &mut Vec<u32>) {
        for stray in self.deal(done, slots) {
            self.report(&stray.to_string());
        }
    }

    /// Deals what the running call has handed over; whether that was anything.
    fn take_mail(&mut self, slots: &mut Vec<u32>) -> bool {
        if !self.mailbox.has_mail() {
            return false;
        }
        let (mut parts, _) = self.mailbox.take();
        // All parts belong to one call, so only the first error is listed.
        let strays: Vec<Stray> = parts.iter_mut().flat_map(|part| self.deal(&mut part.staged, slots)).collect();
        if let Some(stray) = strays.first() {
            self.report(&stray.to_string());
        }
        !parts.is_empty()
    }

    fn report(&self, message: &str) {
        self.run.report(self.component, self.task, self.stats, message);
    }
}

impl SpoutHost for Host<'_> {
    fn settle(&mut self, done: &mut Staged, slots: &mut Vec<u32>) -> SpoutSettled {
        let _section = EngineSection::enter();
        self.stats.activity.progress();
        self.deal_done(done, slots);
        if self.mailbox.has_mail() {
            self.take_mail(slots);
            self.mailbox.made();
        }
        let has_news = !self.tracker.settled.is_empty() || !self.tracker.orders.is_empty();
        let is_enough = self.rows >= MOST_ROWS || *self.is_slow || has_news || self.outbox.is_blocked();
        let flow = if is_enough { Flow::Stop } else { Flow::Continue };
        SpoutSettled { flow, is_tracking: self.tracker.is_tracking }
    }

    fn poll_pending(&mut self, done: &mut Staged, slots: &mut Vec<u32>, cx: &mut Context<'_>) -> Poll<()> {
        let _section = EngineSection::enter();
        self.deal_done(done, slots);
        if self.take_mail(slots) {
            self.waits_for_room = true;
            self.stats.activity.end(self.clock());
            self.stats.waiting.begin(self.clock());
        }
        self.counts.publish(self.stats);
        self.tracker.poll(self.outbox, cx);
        let room = self.tracker.poll_leave(self.outbox, cx);
        if self.waits_for_room && room.is_ready() {
            self.waits_for_room = false;
            self.stats.waiting.end(self.clock());
            self.stats.activity.begin(self.clock().now());
            self.mailbox.made();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn calls_off(&mut self, may_drop: bool) -> bool {
        let _section = EngineSection::enter();
        let ends =
            |order: &Control| matches!(order, Control::Deactivate | Control::Drain | Control::Release | Control::Exit);
        let is_due = self.tracker.orders.iter().any(ends);
        if is_due && !may_drop {
            self.stats.activity.hold_up(self.clock().now());
        } else if may_drop {
            // A call that may be dropped may wait for data for any time: the watchdog does not list it.
            self.stats.activity.end(self.clock());
        }
        is_due && may_drop
    }

    fn time_call(&mut self, is_start: bool) -> bool {
        let _section = EngineSection::enter();
        let now = self.clock().now();
        if is_start {
            self.call_began = now;
        } else {
            *self.is_slow |= note_call(self.stats, now - self.call_began);
        }
        *self.is_slow
    }
}
