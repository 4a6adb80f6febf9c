//! How many trees a spout task may have open: as configured, or adapted to what the topology can
//! process well within the time-out. Pure.

use std::time::Duration;

const FIRST: usize = 64;
const MOST: usize = 1 << 20;
/// When all open trees are held by bolts and nothing was settled for this long, the bolts may be
/// waiting for more tuples.
const PATIENCE: Duration = Duration::from_millis(10);

/// The limit of a spout task's open trees.
///
/// When it adapts, it works in rounds: a round ends when as many trees were settled as were open at
/// its start, so its length is about how long a tree takes to get through (Little's law). A round
/// shorter than an eighth of the time-out, in which the limit held the spout back, doubles the
/// limit. One that takes longer than a quarter of it ends there, and what was settled until then is
/// the new limit. A time-out halves what was open.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    is_fixed: bool,
    timeout: Duration,
    round_began: Duration,
    /// How many trees were open at the start of the round.
    open_in_round: usize,
    settled_in_round: usize,
    has_held_back: bool,
    last_settled: Duration,
}

impl Window {
    pub(crate) fn new(fixed: Option<usize>, timeout: Option<Duration>) -> Self {
        let limit = fixed.unwrap_or(FIRST);
        Self {
            limit,
            is_fixed: fixed.is_some(),
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
            round_began: Duration::ZERO,
            open_in_round: limit,
            settled_in_round: 0,
            has_held_back: false,
            last_settled: Duration::ZERO,
        }
    }

    /// How many more trees may be opened when `open` ones are.
    pub(crate) fn room(&mut self, open: usize) -> usize {
        let room = self.limit.saturating_sub(open);
        self.has_held_back |= room == 0;
        room
    }

    /// Notes that trees were settled, after which `open` are left.
    pub(crate) fn settled(&mut self, count: usize, open: usize, now: Duration) {
        self.last_settled = now;
        if self.is_fixed {
            return;
        }
        self.settled_in_round += count;
        let round = now.saturating_sub(self.round_began);
        let is_slow = round > self.timeout / 4;
        if !is_slow && self.settled_in_round < self.open_in_round {
            return;
        }
        if is_slow {
            self.limit = self.limit.min(self.settled_in_round.max(1));
        } else if self.has_held_back && round < self.timeout / 8 {
            self.limit = (self.limit * 2).min(MOST);
        }
        self.round_began = now;
        self.open_in_round = open.max(1);
        self.settled_in_round = 0;
        self.has_held_back = false;
    }

    /// Notes that trees timed out, before which `open` were open.
    pub(crate) fn expired(&mut self, open: usize) {
        if !self.is_fixed {
            self.limit = (self.limit.min(open) / 2).max(1);
        }
    }

    /// When the limit will be raised though nothing is settled: all open trees are held by bolts, which
    /// may wait for a full batch and must not wait for ever. A fixed limit stands as the user set it.
    pub(crate) fn escape(&self, open: usize, held: usize) -> Option<Duration> {
        (!self.is_fixed && open > 0 && held == open && open >= self.limit && self.limit < MOST)
            .then(|| self.last_settled + PATIENCE)
    }

    /// Raises the limit, as [`escape`](Self::escape) foretold.
    pub(crate) fn take_escape(&mut self, now: Duration) {
        self.limit = (self.limit * 2).min(MOST);
        self.last_settled = now;
    }

    #[cfg(test)]
    fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps the window full over a bolt that takes `each` a tuple; the limit after `tuples`.
    fn run(window: &mut Window, began: Duration, tuples: u32, each: Duration) -> Duration {
        for n in 1..=tuples {
            while window.room(window.limit()) > 0 {}
            window.settled(1, window.limit() - 1, began + each * n);
        }
        began + each * tuples
    }

    #[test]
    fn a_slow_bolt_keeps_the_window_within_a_quarter_of_the_timeout() {
        for (each, most) in [(50, 26), (1000, 2), (4000, 1)] {
            let mut window = Window::new(None, Some(Duration::from_secs(5)));
            run(&mut window, Duration::ZERO, 2000, Duration::from_millis(each));
            assert!((1..=most).contains(&window.limit()), "{each} ms: {}", window.limit());
        }
    }

    #[test]
    fn a_fast_bolt_opens_the_window_wide_and_it_closes_when_the_bolt_gets_slow() {
        let mut window = Window::new(None, Some(Duration::from_secs(30)));
        let now = run(&mut window, Duration::ZERO, 10_000_000, Duration::from_nanos(100));
        assert_eq!(window.limit(), MOST);
        // Credits let only so many in, so that the limit does not hold back.
        let mut now = now;
        for _ in 0..2_000 {
            now += Duration::from_millis(50);
            window.settled(1, 10_000.min(window.limit() - 1), now);
        }
        assert!(window.limit() <= 200, "{}", window.limit());
        window.expired(100);
        assert!(window.limit() <= 50, "{}", window.limit());
    }

    #[test]
    fn a_window_that_does_not_hold_back_stays() {
        let mut window = Window::new(None, Some(Duration::from_secs(30)));
        for n in 1..1000 {
            window.room(1);
            window.settled(1, 1, Duration::from_millis(n));
        }
        assert_eq!(window.limit(), FIRST);
    }

    #[test]
    fn bolts_that_hold_everything_get_more_after_a_while() {
        let mut window = Window::new(None, Some(Duration::from_secs(30)));
        assert_eq!(window.escape(FIRST, FIRST - 1), None);
        let at = window.escape(FIRST, FIRST).expect("all are held");
        window.take_escape(at);
        assert_eq!(window.room(FIRST), FIRST);
        assert_eq!(Window::new(Some(5), None).escape(5, 5), None);
    }
}
