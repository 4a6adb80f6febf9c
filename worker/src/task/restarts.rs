//! When a task that panicked is made anew, and when that is pointless. Pure.

use std::time::Duration;

/// Tries to start a task, or to get it over a fatal error, before the run fails.
pub(crate) const TRIES: u32 = 3;

const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Calls in good order after which earlier panics no longer make the next wait longer.
const RECOVERED: u64 = 100;

/// The troubles that a task has had lately.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    in_a_row: u32,
    /// Fatal errors are never forgotten: a bolt that writes now and then may fail long after the calls
    /// that it took in good order.
    fatal: u32,
    /// The count of calls at the last trouble.
    at: u64,
}

impl Restarts {
    fn note(&mut self, calls: u64) {
        if calls.saturating_sub(self.at) > RECOVERED {
            self.in_a_row = 0;
        }
        self.at = calls;
        self.in_a_row += 1;
    }

    /// The wait before the next try after a panic, the task having made `calls` so far.
    pub(crate) fn after_panic(&mut self, calls: u64) -> Duration {
        self.note(calls);
        self.wait()
    }

    /// The wait before the next try after a fatal error; none when there have been too many.
    pub(crate) fn after_fatal(&mut self, calls: u64) -> Option<Duration> {
        self.note(calls);
        self.fatal += 1;
        (self.fatal < TRIES).then(|| self.wait())
    }

    fn wait(&self) -> Duration {
        FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.in_a_row - 1)).min(LONGEST_WAIT)
    }
}

/// The wait before try `number` (from 2) to start a task.
pub(crate) fn wait_before_try(number: u32) -> Duration {
    Duration::from_millis(50) * number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_is_forgotten_after_good_calls() {
        let mut restarts = Restarts::default();
        let waits: Vec<_> = (0..4).map(|n| restarts.after_panic(n).as_millis()).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
        assert_eq!(restarts.after_panic(1000).as_millis(), 1);
    }

    #[test]
    fn the_third_fatal_error_ends_it_however_many_calls_lie_between() {
        let mut restarts = Restarts::default();
        assert!(restarts.after_fatal(1).is_some());
        assert!(restarts.after_fatal(20_000).is_some());
        assert!(restarts.after_fatal(30_000).is_none());
    }
}
