//! A lane: the tasks that one thread drives, and what they share. Rows, statements about trees and markers cross
//! from lane to lane; the receiving task is a property of the rows.
//!
//! Each lane has a driver, a tokio task beside the tasks of the lane. It brings what has come to the tasks, and
//! sends what they have left behind.

mod credits;
mod dispatch;
mod lead;
mod origins;
mod outlet;
mod sending;
mod shuffle;
mod turns;
mod waiting;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::clock::Clock;
use crate::exchange::Exchange;
use crate::graph::Graph;
use crate::parcel::{Acks, Item, Packet};
pub(crate) use credits::{Budget, LaneCredits};
use dispatch::Dispatcher;
use origins::Origins;
pub(crate) use outlet::Slot;
pub(crate) use sending::{Departed, InputKey, LaneOut, MemberId, NoTrees, Trees};

/// A lane that has had nothing to do for this time gives back memory.
const IDLE: Duration = Duration::from_millis(100);

/// The place of a destination in a worker: a lane, a link, or nowhere yet.
pub(crate) type DestId = u32;

/// Wakes the driver of a lane.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    driver: AtomicWaker,
    /// Whether the driver is about to look for work anyway.
    is_awake: AtomicBool,
}

impl Signal {
    /// Has the driver look for work.
    pub(crate) fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::SeqCst) {
            self.driver.wake();
        }
    }

    fn register(&self, driver: &Waker) {
        self.driver.register(driver);
        self.is_awake.store(true, Ordering::SeqCst);
    }

    /// The driver is about to sleep. It must look for work once more after this.
    fn sleep(&self) {
        self.is_awake.store(false, Ordering::SeqCst);
    }
}

/// The outcome of sending to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Sent,
    /// Another lane is sending to it.
    Busy,
    /// The ways have changed.
    Refused,
}

/// The way into a lane, for the whole worker.
#[derive(Debug)]
pub(crate) struct LanePort {
    /// The place of the lane among the destinations of the worker.
    pub(crate) dest: DestId,
    // Unbounded in itself: credits bound rows, open trees bound acks, edges bound markers.
    incoming: Mutex<Packet>,
    has_incoming: AtomicBool,
    /// How often the lane has taken what came.
    takes: AtomicU64,
    pub(crate) signal: Arc<Signal>,
    pub(crate) credits: Arc<LaneCredits>,
}

impl LanePort {
    pub(crate) fn new(dest: DestId, tasks: usize, budget: Arc<Budget>) -> Self {
        let signal = Arc::new(Signal::default());
        let credits = Arc::new(LaneCredits::new(tasks, signal.clone(), budget));
        Self {
            dest,
            incoming: Mutex::default(),
            has_incoming: AtomicBool::new(false),
            takes: AtomicU64::new(0),
            signal,
            credits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Packet> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Packet)) {
        self.change_locked(self.lock(), change);
    }

    fn change_locked(&self, mut incoming: MutexGuard<'_, Packet>, change: impl FnOnce(&mut Packet)) {
        change(&mut incoming);
        self.has_incoming.store(true, Ordering::SeqCst);
        drop(incoming);
        self.signal.wake();
    }

    /// Puts in what a lane sends: `fill` does, if `may` says so behind all earlier changes of the ways. Without
    /// `must`, nothing is sent while another lane is at it: its thread may have lost its core meanwhile.
    pub(crate) fn offer(&self, must: bool, may: impl FnOnce() -> bool, fill: impl FnOnce(&mut Packet)) -> Offered {
        let incoming = match self.incoming.try_lock() {
            Ok(incoming) => incoming,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) if must => self.lock(),
            Err(TryLockError::WouldBlock) => return Offered::Busy,
        };
        if !may() {
            return Offered::Refused;
        }
        self.change_locked(incoming, fill);
        Offered::Sent
    }

    /// Waits until all who are putting something in have done so.
    pub(crate) fn wait_for_senders(&self) {
        drop(self.lock());
    }

    /// Puts an item in, behind all others.
    pub(crate) fn tell(&self, item: Item) {
        self.change(|incoming| incoming.items.push(item));
    }

    /// Puts statements about trees in.
    pub(crate) fn push_acks(&self, acks: &mut Acks) {
        self.change(|incoming| incoming.push_acks(acks));
    }

    /// How often the lane has taken what came: what was put in before the number grew has been taken.
    pub(crate) fn takes(&self) -> u64 {
        self.takes.load(Ordering::Acquire)
    }
}

/// The tasks of one thread, for these tasks.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) port: Arc<LanePort>,
    dispatcher: Mutex<Dispatcher>,
    /// Those that the tasks of the lane give credit back to.
    origins: Mutex<Origins>,
    out: Mutex<LaneOut>,
}

/// The timers of a driver.
#[derive(Debug, Default)]
struct Timers {
    /// Wakes the driver when rows need no longer be held back.
    held: Option<Pin<Box<Sleep>>>,
    /// Wakes the driver when the lane has been idle for [`IDLE`], or may have been.
    idle: Option<Pin<Box<Sleep>>>,
    /// What the tasks of the lane had done when the timer was set last.
    activity: u64,
}

impl Timers {
    /// Ready once when the tasks of the lane have done nothing for a while.
    fn poll_idle(&mut self, activity: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.idle.is_none() && self.activity == activity {
            return Poll::Pending;
        }
        let timer = self.idle.get_or_insert_with(|| Box::pin(sleep(IDLE)));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let is_idle = std::mem::replace(&mut self.activity, activity) == activity;
        if is_idle {
            self.idle = None;
            return Poll::Ready(());
        }
        timer.as_mut().reset(Instant::now() + IDLE);
        let _ = timer.as_mut().poll(cx);
        Poll::Pending
    }
}

impl Lane {
    pub(crate) fn new(port: Arc<LanePort>, graph: &Arc<Graph>, exchange: &Arc<Exchange>, clock: Clock) -> Self {
        let dispatcher = Mutex::new(Dispatcher::new(graph.clone(), exchange.clone()));
        let origins = Mutex::new(Origins::new(exchange.clone()));
        let out = Mutex::new(LaneOut::new(port.clone(), graph.clone(), exchange.clone(), clock));
        Self { port, dispatcher, origins, out }
    }

    /// What the tasks of the lane send.
    pub(crate) fn out(&self) -> MutexGuard<'_, LaneOut> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something has come that the tasks have not got yet.
    pub(crate) fn has_incoming(&self) -> bool {
        self.port.has_incoming.load(Ordering::SeqCst)
    }

    /// Brings what has come to the tasks. Returns whether anything had.
    pub(crate) fn take_in(&self) -> bool {
        if !self.has_incoming() {
            return false;
        }
        let mut dispatcher = self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut packet = std::mem::take(&mut dispatcher.spare);
        {
            let mut incoming = self.port.lock();
            self.port.has_incoming.store(false, Ordering::SeqCst);
            std::mem::swap(&mut *incoming, &mut packet);
            self.port.takes.fetch_add(1, Ordering::Release);
        }
        dispatcher.take(&mut packet);
        dispatcher.spare = packet;
        true
    }

    /// Drives the lane, for ever.
    ///
    /// # Cancel safety
    /// It may be dropped when the tasks of the lane have ended.
    pub(crate) async fn drive(self: Arc<Self>) {
        let mut timers = Timers::default();
        poll_fn(|cx| self.poll_drive(cx, &mut timers)).await;
    }

    /// Gives back memory that only a busy lane needs.
    fn shrink(&self) {
        self.out().shrink();
        self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner).shrink();
    }

    fn poll_drive(&self, cx: &mut Context<'_>, timers: &mut Timers) -> Poll<()> {
        self.port.signal.register(cx.waker());
        let has_taken = self.take_in();
        let mut out = self.out();
        // While the tasks of the lane are at work, batches may fill. What is left when all wait leaves.
        if out.turn() || has_taken {
            out.offer();
            drop(out);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        out.send_all();
        let version = out.version();
        if let Some(at) = out.holds_until() {
            let timer = timers.held.get_or_insert_with(|| Box::pin(sleep_until(at)));
            timer.as_mut().reset(at);
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let activity = out.activity();
        drop(out);
        if timers.poll_idle(activity, cx).is_ready() {
            self.shrink();
        }
        self.port.signal.sleep();
        if self.has_incoming() || self.port.credits.has_returned() || self.out().is_outdated(version) {
            self.port.signal.wake();
        }
        Poll::Pending
    }
}
