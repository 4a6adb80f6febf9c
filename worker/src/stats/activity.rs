//! What a task is doing: whether a call of user code runs, and whether it waits for room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// Whether a task runs user code, and since when, for whoever watches that it goes on.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// The total time of all runs of calls, and the start of the present run.
    busy: Stopwatch,
    calls: AtomicU64,
    /// The time since which an order waits for the running call, in nanoseconds since the worker's start, plus 1; 0 when
    /// none waits.
    holds_up_since: AtomicU64,
}

impl Activity {
    /// A call, or a run of calls, begins.
    pub(crate) fn begin(&self, now: Duration) {
        self.busy.begin(now);
    }

    /// One of a run of calls came back.
    #[inline]
    pub(crate) fn progress(&self) {
        // Only the task itself writes.
        self.calls.store(self.calls.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// No call runs.
    pub(crate) fn end(&self, clock: Clock) {
        self.progress();
        self.busy.end(clock);
        if self.holds_up_since.load(Ordering::Relaxed) > 0 {
            self.holds_up_since.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that an order waits for the end of the running call.
    pub(crate) fn hold_up(&self, now: Duration) {
        if self.holds_up_since.load(Ordering::Relaxed) == 0 {
            self.holds_up_since.store(nanos(now) + 1, Ordering::Relaxed);
        }
    }

    /// The time since which an order has waited for the running call.
    pub(crate) fn holds_up_since(&self) -> Option<Duration> {
        self.holds_up_since.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos)
    }

    /// If a call runs: when the run of calls began, and how many calls came back so far.
    pub(crate) fn running(&self) -> Option<(Duration, u64)> {
        Some((self.busy.since()?, self.calls.load(Ordering::Relaxed)))
    }

    /// Nanoseconds of all runs of calls so far, without waits for room. Never decreases.
    pub(crate) fn busy(&self, clock: Clock) -> u64 {
        self.busy.total(clock)
    }
}

/// How long a task could not go on because it waited for room at those it sends to.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Stopwatch);

impl Waiting {
    /// A wait begins, unless one has begun already.
    pub(crate) fn begin(&self, clock: Clock) {
        if self.0.since().is_none() {
            self.0.begin(clock.now());
        }
    }

    /// The wait is over, if there was one.
    #[inline]
    pub(crate) fn end(&self, clock: Clock) {
        self.0.end(clock);
    }

    /// Nanoseconds so far, with those of a wait that is not over. Never less than it was before.
    pub(crate) fn total(&self, clock: Clock) -> u64 {
        self.0.total(clock)
    }
}

/// The total time of spans, each with a beginning and an end.
///
/// The task alone writes. The clock is read where a span begins and ends.
#[derive(Debug, Default)]
struct Stopwatch {
    /// Nanoseconds of all spans that are over.
    total: AtomicU64,
    /// When the present span began, in nanoseconds since the worker's start, plus 1; 0 when there is none.
    since: AtomicU64,
    /// The most that was answered so far.
    told: AtomicU64,
}

impl Stopwatch {
    /// A span begins; one that has begun already ends.
    fn begin(&self, now: Duration) {
        let before = self.since.swap(nanos(now) + 1, Ordering::Relaxed);
        if before > 0 {
            self.total.fetch_add((nanos(now) + 1).saturating_sub(before), Ordering::Relaxed);
        }
    }

    /// The span is over, if there was one.
    #[inline]
    fn end(&self, clock: Clock) {
        let since = self.since.load(Ordering::Relaxed);
        if since > 0 {
            self.since.store(0, Ordering::Relaxed);
            self.total.fetch_add((nanos(clock.now()) + 1).saturating_sub(since), Ordering::Relaxed);
        }
    }

    fn since(&self) -> Option<Duration> {
        self.since.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_nanos)
    }

    fn total(&self, clock: Clock) -> u64 {
        let total = self.total.load(Ordering::Relaxed);
        let since = self.since.load(Ordering::Relaxed);
        let present = if since > 0 { (nanos(clock.now()) + 1).saturating_sub(since) } else { 0 };
        // A span that ends between the two looks counts once, or only at the next look.
        self.told.fetch_max(total + present, Ordering::Relaxed).max(total + present)
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn busy_time_is_that_of_calls_without_waits_for_room_and_grows_while_one_runs() {
        let (clock, second) = (Clock::start(), Duration::from_secs(1));
        let (activity, waiting) = (Activity::default(), Waiting::default());
        let seconds = || (activity.busy(clock) / 1_000_000_000, waiting.total(clock) / 1_000_000_000);
        advance(second).await;
        activity.begin(clock.now());
        advance(second * 2).await;
        assert_eq!(seconds(), (2, 0), "the call still runs");
        // The call waits for room.
        activity.end(clock);
        waiting.begin(clock);
        advance(second * 3).await;
        waiting.end(clock);
        activity.begin(clock.now());
        advance(second).await;
        activity.end(clock);
        activity.end(clock);
        advance(second * 5).await;
        assert_eq!(seconds(), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_begins_while_another_runs_loses_no_time() {
        let (clock, activity) = (Clock::start(), Activity::default());
        activity.begin(clock.now());
        advance(Duration::from_secs(2)).await;
        activity.begin(clock.now());
        assert_eq!(activity.running().map(|(since, _)| since), Some(Duration::from_secs(2)));
        advance(Duration::from_secs(1)).await;
        activity.end(clock);
        assert_eq!(activity.busy(clock), 3_000_000_000);
    }
}
