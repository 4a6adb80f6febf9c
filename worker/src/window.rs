//! How many trees a spout task may have open: as configured, or adapted to what the topology can
//! process well within the time-out.

use std::time::Duration;

const FIRST: usize = 64;
const LEAST: usize = 8;
const MOST: usize = 1 << 20;

/// The limit of a spout task's open trees.
///
/// When it adapts, it works in rounds: a round ends when as many trees were settled as the limit
/// allows to be open, so its length is about how long a tree takes to get through a full window
/// (Little's law). A round shorter than an eighth of the time-out, in which the limit held the
/// spout back, doubles the limit; one longer than a quarter of it halves the limit.
#[derive(Debug)]
pub(crate) struct Window {
    limit: usize,
    is_fixed: bool,
    timeout: Duration,
    round_began: Duration,
    left_in_round: usize,
    has_held_back: bool,
}

impl Window {
    pub(crate) fn new(fixed: Option<usize>, timeout: Option<Duration>) -> Self {
        let limit = fixed.unwrap_or(FIRST);
        Self {
            limit,
            is_fixed: fixed.is_some(),
            timeout: timeout.unwrap_or(Duration::from_secs(30)),
            round_began: Duration::ZERO,
            left_in_round: limit,
            has_held_back: false,
        }
    }

    /// How many more trees may be opened, with `open` ones of which bolts hold `held`.
    ///
    /// Held trees count towards a fixed limit, as the user set it; an adaptive one leaves them out,
    /// for a bolt that waits for a full batch must not wait for ever.
    pub(crate) fn room(&mut self, open: usize, held: usize) -> usize {
        let counted = if self.is_fixed { open } else { open - held.min(MOST) };
        let room = self.limit.saturating_sub(counted);
        self.has_held_back |= room == 0;
        room
    }

    /// Notes that trees were settled.
    pub(crate) fn settled(&mut self, count: usize, now: Duration) {
        if self.is_fixed {
            return;
        }
        if count < self.left_in_round {
            self.left_in_round -= count;
            return;
        }
        let round = now.saturating_sub(self.round_began);
        if self.has_held_back && round < self.timeout / 8 {
            self.limit = (self.limit * 2).min(MOST);
        } else if self.has_held_back && round > self.timeout / 4 {
            self.limit = (self.limit / 2).max(LEAST);
        }
        self.round_began = now;
        self.left_in_round = self.limit;
        self.has_held_back = false;
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
    fn limit_after(tuples: usize, each: Duration, timeout: u64) -> usize {
        let mut window = Window::new(None, Some(Duration::from_secs(timeout)));
        for n in 1..=tuples as u32 {
            while window.room(window.limit(), 0) > 0 {}
            window.settled(1, each * n);
        }
        window.limit()
    }

    #[test]
    fn a_slow_bolt_keeps_the_window_within_a_quarter_of_the_timeout() {
        let limit = limit_after(1000, Duration::from_millis(50), 5);
        assert!((LEAST..=25).contains(&limit), "{limit}");
    }

    #[test]
    fn a_fast_bolt_opens_the_window_wide() {
        assert_eq!(limit_after(10_000_000, Duration::from_nanos(100), 30), MOST);
    }

    #[test]
    fn a_window_that_does_not_hold_back_stays() {
        let mut window = Window::new(None, Some(Duration::from_secs(30)));
        for n in 1..1000 {
            window.room(1, 0);
            window.settled(1, Duration::from_millis(n));
        }
        assert_eq!(window.limit(), FIRST);
    }
}
