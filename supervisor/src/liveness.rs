//! Whether a worker is heard: heartbeats in, how long it has been silent out.
//!
//! Silence is counted in time during which this daemon looked. A daemon that was stopped itself, or got no
//! processor, has heard nobody; that is no fault of the workers.

use std::time::Duration;

/// Time between two looks.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A daemon that looks later than this was held up: the time between the two looks does not count.
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// After so long a silence a worker is shown as not responding.
const SHOWN_AFTER: Duration = Duration::from_secs(5);

/// What is known of one worker's heartbeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Heartbeats received.
    heartbeats: u64,
    /// Time since the last heartbeat; `None` while none is expected.
    silence: Option<Duration>,
}

impl Pulse {
    /// The pulse of a worker that an earlier start of this daemon has heard: it attaches again soon.
    pub(crate) fn expected() -> Self {
        Self { heartbeats: 0, silence: Some(Duration::ZERO) }
    }

    /// The worker has attached. A worker of an older release sends its first heartbeat only when its topology is built.
    pub(crate) fn attached(&mut self) {
        self.silence = (self.heartbeats > 0).then_some(Duration::ZERO);
    }

    /// Updates the pulse with the number of heartbeats received. `since`: time since the last check.
    pub(crate) fn look(&mut self, heartbeats: u64, since: Duration) {
        if heartbeats != self.heartbeats {
            *self = Self { heartbeats, silence: Some(Duration::ZERO) };
        } else if let Some(silence) = self.silence.as_mut().filter(|_| since <= LONGEST_LOOK) {
            *silence += since;
        }
    }

    /// How long the worker has been silent though heartbeats are expected.
    pub(crate) fn silence(&self) -> Duration {
        self.silence.unwrap_or_default()
    }
}

/// Whether a worker that is silent for so long is shown as not responding, given after how long it is killed.
pub(crate) fn is_shown(silence: Duration, timeout: Option<Duration>) -> bool {
    silence >= timeout.map_or(SHOWN_AFTER, |timeout| SHOWN_AFTER.min(timeout / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: Duration = Duration::from_millis(500);

    /// The silence after looks that found these numbers of heartbeats, half a second apart.
    fn silence_after(pulse: &mut Pulse, looks: &[u64]) -> Duration {
        for heartbeats in looks {
            pulse.look(*heartbeats, EACH);
        }
        pulse.silence()
    }

    #[test]
    fn silence_begins_with_the_first_heartbeat_and_ends_with_the_next() {
        let mut pulse = Pulse::default();
        assert_eq!(silence_after(&mut pulse, &[0; 100]), Duration::ZERO, "nothing is expected before the first");
        pulse.attached();
        assert_eq!(silence_after(&mut pulse, &[0; 100]), Duration::ZERO, "an older worker builds its topology");
        assert_eq!(silence_after(&mut pulse, &[1, 1, 1, 1]), EACH * 3);
        assert_eq!(silence_after(&mut pulse, &[2]), Duration::ZERO);
        assert_eq!(silence_after(&mut pulse, &[2, 2]), EACH * 2);
        pulse.attached();
        assert_eq!(silence_after(&mut pulse, &[2]), EACH, "it goes on beating after it has attached again");
    }

    #[test]
    fn adopted_worker_is_silent_until_it_attaches_again() {
        let mut pulse = Pulse::expected();
        assert_eq!(silence_after(&mut pulse, &[0; 8]), EACH * 8);
        pulse.attached();
        assert_eq!(silence_after(&mut pulse, &[0; 8]), Duration::ZERO);
        assert_eq!(silence_after(&mut pulse, &[1, 1]), EACH);
    }

    #[test]
    fn pause_of_the_daemon_itself_is_no_silence_of_the_workers() {
        let mut pulse = Pulse::default();
        pulse.look(1, EACH);
        pulse.look(1, EACH);
        pulse.look(1, Duration::from_secs(3600));
        assert_eq!(pulse.silence(), EACH);
        // What was sent meanwhile is read by the next look.
        pulse.look(2, EACH);
        assert_eq!(pulse.silence(), Duration::ZERO);
    }

    #[test]
    fn silence_is_shown_after_five_seconds_or_half_of_the_time_until_the_kill() {
        let secs = Duration::from_secs;
        let table = [
            (4, Some(30), false),
            (5, Some(30), true),
            (4, None, false),
            (5, None, true),
            (1, Some(4), false),
            (2, Some(4), true),
        ];
        for (silence, timeout, expected) in table {
            assert_eq!(is_shown(secs(silence), timeout.map(secs)), expected, "{silence} s of {timeout:?}");
        }
    }
}
