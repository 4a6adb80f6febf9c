//! The bound on how many rows one receiver of a shuffle gets ahead of another. Pure: the time is an argument.
//!
//! Where more threads are busy than there are cores, a receiver that has a core asks for rows again and again,
//! while another waits for a core with rows in its inbox. Without a bound, the first receiver would get nearly
//! all rows of a large call. So it gets no more rows once it leads by [`MOST_AHEAD`], until the other has caught
//! up. The wait leaves a core free for the other.
//!
//! A receiver may also be behind because it is slower. Then nothing is gained by waiting, so the total time of
//! waiting is bounded by [`PATIENCE`] at first, and by a small part of the time that passes later.

use std::time::Duration;

/// A receiver may get this many rows more than another.
const MOST_AHEAD: u64 = 512;
/// The time that a sender may hold rows back for receivers that are behind, unless more has been regained.
const PATIENCE: Duration = Duration::from_millis(100);
/// The sender holds no rows back for less than this: timers are not more precise.
const SHORTEST: Duration = Duration::from_millis(2);
/// The sender regains one part of the time that passes while it holds nothing back.
const REGAINED: u32 = 32;

/// The rows that each receiver of a shuffle got, and the time left for holding rows back.
#[derive(Debug)]
pub(super) struct Lead {
    /// By receiver.
    given: Vec<u64>,
    /// No receiver that may be waited for got fewer rows.
    fewest: u64,
    left: Duration,
    /// The time when `left` was right.
    at: Duration,
    is_holding: bool,
}

impl Lead {
    pub(super) fn new(receivers: usize) -> Self {
        Self { given: vec![0; receivers], fewest: 0, left: PATIENCE, at: Duration::ZERO, is_holding: false }
    }

    /// Forgets who leads: the receivers to consider have changed.
    pub(super) fn forget(&mut self) {
        self.given.fill(0);
        self.fewest = 0;
    }

    /// Notes that a receiver gets rows.
    #[inline]
    pub(super) fn give(&mut self, receiver: usize, rows: u32) {
        self.given[receiver] += u64::from(rows);
    }

    /// Notes that a receiver does not get rows after all.
    pub(super) fn take_back(&mut self, receiver: usize, rows: usize) {
        self.given[receiver] -= rows as u64;
    }

    /// The rows that a receiver may get by the bound; 0 if it leads by too many.
    #[inline]
    pub(super) fn room(&self, receiver: usize) -> u32 {
        (self.fewest + MOST_AHEAD).saturating_sub(self.given[receiver]).min(u32::MAX.into()) as u32
    }

    /// Updates the bound from the receivers that may be waited for. Returns whether the bound has risen.
    pub(super) fn catch_up(&mut self, waited_for: impl Iterator<Item = usize>) -> bool {
        let most = self.given.iter().copied().max().unwrap_or_default();
        // A receiver that has been slow for long and becomes quick must not get all rows for as long.
        let least = most.saturating_sub(2 * MOST_AHEAD);
        self.given.iter_mut().for_each(|given| *given = (*given).max(least));
        let fewest = waited_for.map(|receiver| self.given[receiver]).min().unwrap_or(most);
        fewest > std::mem::replace(&mut self.fewest, fewest)
    }

    /// Whether rows may be held back now from a receiver that leads by too many.
    pub(super) fn may_hold(&mut self, now: Duration) -> bool {
        self.pass(now);
        self.is_holding = self.left >= if self.is_holding { Duration::from_nanos(1) } else { SHORTEST };
        self.is_holding
    }

    /// Notes that nothing is held back any longer.
    pub(super) fn release(&mut self, now: impl Fn() -> Duration) {
        if self.is_holding {
            self.pass(now());
            self.is_holding = false;
        }
    }

    /// The time until which rows are held back at most, if any are.
    pub(super) fn holds_until(&self) -> Option<Duration> {
        self.is_holding.then_some(self.at + self.left)
    }

    fn pass(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at);
        self.at = now;
        self.left = if self.is_holding {
            self.left.saturating_sub(passed)
        } else {
            (self.left + passed / REGAINED).min(PATIENCE)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn a_receiver_gets_no_more_rows_when_it_leads_by_the_most() {
        let mut lead = Lead::new(3);
        lead.give(0, 500);
        lead.give(1, 10);
        assert_eq!((lead.room(0), lead.room(1)), (12, 502));
        lead.give(0, 12);
        assert!(!lead.catch_up(0..3), "the third has none");
        assert_eq!(lead.room(0), 0);
        assert!(lead.catch_up(0..2), "the third is not waited for");
        assert_eq!(lead.room(0), 10);
        lead.take_back(0, 5);
        assert_eq!(lead.room(0), 15);
        lead.catch_up([].into_iter());
        assert_eq!(lead.room(0), 512, "nobody is waited for");
        lead.give(1, 1_000_000);
        lead.catch_up(0..3);
        assert_eq!((lead.room(0), lead.room(1)), (512, 0), "a lead beyond twice the most is forgotten");
        lead.forget();
        assert_eq!(lead.room(1), 512);
    }

    #[test]
    fn rows_are_held_back_for_a_bounded_time() {
        let mut lead = Lead::new(2);
        let mut held = 0;
        for millis in 0..10_000 {
            held += u32::from(lead.may_hold(MILLI * millis));
        }
        assert!((400..450).contains(&held), "{held} ms of 10 s");
        lead.release(|| MILLI * 10_000);
        assert_eq!(lead.holds_until(), None);
        let later = Duration::from_secs(60);
        assert!(lead.may_hold(later));
        assert_eq!(lead.holds_until(), Some(later + PATIENCE));
        assert!(lead.may_hold(later + MILLI));
        assert_eq!(lead.holds_until(), Some(later + PATIENCE), "time passes, the end stays");
    }
}
