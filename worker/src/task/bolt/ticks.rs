//! When a bolt gets its ticks: at their interval, and at the latest after the running call.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use galerna_topology_api::engine::{BoltEvent, ErasedBolt};
use tokio::time::{Sleep, sleep_until};

use super::super::Fatal;
use super::BoltTask;
use crate::clock::Clock;

/// The ticks of a task. After a late tick the next one comes at the next multiple of the interval.
pub(super) struct Ticks {
    every: Duration,
    due: Duration,
    /// Wakes the task when a tick is due.
    timer: Pin<Box<Sleep>>,
    /// Whether the latest tick emitted rows that have to wait for room, so that the next tick waits, too.
    is_held: bool,
}

impl Ticks {
    /// Ticks at this interval from now on.
    pub(super) fn new(every: Duration, clock: Clock) -> Self {
        let due = clock.now() + every;
        Self { every, due, timer: Box::pin(sleep_until(clock.at(due))), is_held: false }
    }

    /// Whether a tick is due at this time.
    fn is_due(&self, now: Duration) -> bool {
        now >= self.due
    }

    /// Ready when a tick is due.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.as_mut().poll(cx)
    }

    /// A tick begins: the next one is due at a multiple of the interval.
    fn begin(&mut self, clock: Clock) {
        self.due = next_due(self.due, self.every, clock.now());
        self.timer.as_mut().reset(clock.at(self.due));
    }
}

/// The first multiple of the interval after `due` that lies after `now`.
fn next_due(due: Duration, every: Duration, now: Duration) -> Duration {
    let late = now.saturating_sub(due).as_nanos();
    let missed = late / every.as_nanos().max(1);
    let rest = u64::try_from(late - missed * every.as_nanos()).unwrap_or_default();
    now.max(due) + every - Duration::from_nanos(rest)
}

impl BoltTask {
    /// Ready when a tick is due. A parked task has said its last words: it gets no call.
    pub(super) fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.ticks {
            Some(ticks) if !self.is_parked => ticks.poll(cx),
            _ => Poll::Pending,
        }
    }

    /// Between two calls: calls `tick` if it is due.
    pub(super) async fn tick_if_due(&mut self, cell: &mut Box<dyn ErasedBolt>, now: Duration) -> Result<(), Fatal> {
        if !self.is_parked && self.ticks.as_ref().is_some_and(|ticks| ticks.is_due(now)) {
            // A call that computes for long must not hold up the rows of the calls before.
            self.core.flush(now);
            self.tick(cell).await?;
        }
        Ok(())
    }

    /// Calls `tick`.
    pub(super) async fn tick(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        let waiting = self.core.outbox.waiting_rows();
        if let Some(ticks) = &mut self.ticks {
            ticks.begin(self.core.run.clock);
        }
        self.event(cell, BoltEvent::Tick).await?;
        let has_more = self.core.outbox.is_blocked() && self.core.outbox.waiting_rows() > waiting;
        if let Some(ticks) = &mut self.ticks {
            ticks.is_held = has_more;
        }
        Ok(())
    }

    /// Sends everything, waiting for room as long as it takes; ticks come meanwhile.
    pub(super) async fn leave(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        while self.leave_or_tick().await {
            self.tick(cell).await?;
        }
        Ok(())
    }

    /// Sends everything, waiting for room until a tick is due; whether the tick came first. While nothing can
    /// leave, only one tick may add rows, so that memory stays bounded.
    ///
    /// # Cancel safety
    /// If the future is dropped, no row and no tick is lost.
    pub(super) async fn leave_or_tick(&mut self) -> bool {
        let Self { core, ticks, is_parked, .. } = self;
        let tick = poll_fn(|cx| match ticks {
            Some(ticks) if !*is_parked && !ticks.is_held => ticks.poll(cx),
            _ => Poll::Pending,
        });
        tokio::select! {
            biased;
            () = core.leave() => {}
            () = tick => return true,
        }
        if let Some(ticks) = &mut self.ticks {
            ticks.is_held = false;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_do_not_move_those_after_them() {
        let millis = Duration::from_millis;
        let next = |now| next_due(millis(1000), millis(1000), millis(now));
        assert_eq!([1000, 1300, 1999, 2000, 4500].map(next), [2000, 2000, 2000, 3000, 5000].map(millis));
    }
}
