//! Waits between tries: 100 ms at first, twice as long each time, 10 s at most.

use std::time::Duration;

/// How long to wait before the next try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff(Duration);

impl Default for BackOff {
    fn default() -> Self {
        Self(Duration::from_millis(100))
    }
}

impl BackOff {
    const LONGEST: Duration = Duration::from_secs(10);

    /// The wait before the next try; the one after it is longer.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(Self::LONGEST);
        wait
    }
}
