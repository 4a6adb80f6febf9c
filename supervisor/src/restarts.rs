//! When a worker that does not stay up is launched again, and when that is reported.

use std::time::Duration;

use tokio::time::Instant;

/// A worker that was up this long is taken to be well again.
pub(crate) const STEADY: Duration = Duration::from_secs(60);
/// From this many failed attempts in a row on, Nimbus is told.
pub(crate) const REPORTED_FROM: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How the launches of one slot went lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restarts {
    /// Failed attempts in a row.
    pub(crate) failed: u32,
    /// Not before this.
    pub(crate) retry_at: Option<Instant>,
    /// What happened last, and when, for people.
    pub(crate) message: String,
    pub(crate) last_unix_ms: i64,
    /// What happened last is told at once: it will happen again, and only people can help.
    is_told: bool,
}

impl Restarts {
    /// A launch has failed, or its process has ended though it should not.
    pub(crate) fn note_failure(&mut self, up: Duration, now: Instant, message: String, unix_ms: i64, is_told: bool) {
        if up >= STEADY {
            self.failed = 0;
        }
        self.failed = self.failed.saturating_add(1);
        self.retry_at = Some(now + wait_after(self.failed));
        self.message = message;
        self.last_unix_ms = unix_ms;
        self.is_told = is_told;
    }

    /// Whether Nimbus is told, given how long the worker has been up now.
    pub(crate) fn is_reported(&self, up: Option<Duration>) -> bool {
        (self.failed >= REPORTED_FROM || self.is_told) && up.is_none_or(|up| up < STEADY)
    }
}

/// How long to wait after so many failures in a row: not at all, then 0.5, 1, 2 … 30 s.
pub(crate) fn wait_after(failed: u32) -> Duration {
    match failed.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_up_to_thirty_seconds() {
        let waits: Vec<u64> = [0, 1, 2, 3, 4, 7, 8, 9, 1_000].map(|n| wait_after(n).as_millis() as u64).to_vec();
        assert_eq!(waits, [0, 0, 500, 1_000, 2_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_minute_up_makes_earlier_failures_forgotten() {
        let now = Instant::now();
        let mut restarts = Restarts::default();
        for n in 1..=4 {
            restarts.note_failure(Duration::from_secs(59), now, String::new(), 0, false);
            assert_eq!(restarts.failed, n);
            assert_eq!(restarts.is_reported(None), n >= 3);
        }
        assert!(restarts.is_reported(Some(Duration::from_secs(59))));
        assert!(!restarts.is_reported(Some(STEADY)));
        restarts.note_failure(STEADY, now, String::new(), 0, false);
        assert_eq!(restarts.failed, 1);
        assert_eq!(restarts.retry_at, Some(now));
        assert!(!restarts.is_reported(None));
        restarts.note_failure(STEADY, now, String::new(), 0, true);
        assert_eq!((restarts.failed, restarts.is_reported(None)), (1, true), "told from the first time on");
    }
}
