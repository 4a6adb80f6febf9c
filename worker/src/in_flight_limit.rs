//! The limit of open trees of a spout task: fixed by the config, or adapted to the latency. Pure: time is an
//! argument.

use std::time::Duration;

/// The first limit. A bolt that takes a second per tuple processes this many tuples well within the default
/// time-out; faster topologies raise the limit within a few rounds.
const FIRST: usize = 16;
const MOST: usize = 1 << 20;
/// The limit aims at this many times the shortest round trip.
const ROUND_TRIPS: u32 = 4;
/// The shortest latency that the limit aims at, so that pauses of a busy machine do not leave bolts without
/// work.
pub(crate) const LEAST_LATENCY: Duration = Duration::from_millis(20);
/// The time after which the shortest round trip is measured again.
const MEMORY: Duration = Duration::from_secs(10);
/// Time-outs count as overload if one of this many open trees, or more, times out together.
const OVERLOAD: usize = 64;
/// The time-out to assume for messages without one.
const NO_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of open trees, and of those of which a bolt holds a tuple on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) trees: usize,
    pub(crate) held: usize,
}

impl Open {
    /// The trees on their way.
    fn under_way(self) -> usize {
        self.trees.saturating_sub(self.held)
    }
}

/// The limit of a spout task's open trees.
///
/// A fixed limit bounds all open trees. The adaptive limit bounds the trees on their way: the trees of which
/// no bolt holds a tuple. Bolts hold tuples on purpose, to collect a batch or a window. So the time in which
/// a tuple is held does not count as latency, and held trees count only towards `most_open`, a generous
/// second limit.
///
/// The adaptive limit aims at a latency: [`ROUND_TRIPS`] times the shortest recent round trip, at least
/// [`LEAST_LATENCY`] (more where many lanes or tasks share a core), at most a quarter of the time-out; where a single round
/// trip takes long, at twice as much, at most half of the time-out. It works in rounds of as many trees as were on
/// their way at the start. By Little's law, the time that a whole limit of trees takes at the rate of
/// the round is the latency that the limit causes. A round in which the limit held the spout back
/// doubles the limit if that latency is short, and lowers the limit, by half at most, if it is too long.
///
/// At the limit, trees queue, so no tree shows how short a round trip could be. Every [`MEMORY`] the limit is
/// therefore divided by [`ROUND_TRIPS`] until the queues are short and a tree has passed, as in the
/// congestion control BBR. By the aim above, the reduced limit still keeps the bolts busy.
#[derive(Debug)]
pub(crate) struct InFlightLimit {
    limit: usize,
    is_fixed: bool,
    timeout: Duration,
    /// The shortest latency to aim at.
    least: Duration,
    shortest: Shortest,
    round: Round,
    /// The limit of all open trees, held ones included.
    most_open: usize,
    /// The time of the last change of `most_open`.
    most_open_at: Duration,
}

#[derive(Debug)]
struct Round {
    began: Duration,
    /// The number of trees that complete the round.
    size: usize,
    passed: i64,
    has_held_back: bool,
}

impl Round {
    fn new(began: Duration, size: usize) -> Self {
        Self { began, size: size.max(1), passed: 0, has_held_back: false }
    }
}

/// The shortest recent round trip.
#[derive(Debug, Default)]
struct Shortest {
    latency: Option<Duration>,
    measured_at: Duration,
    probe: Probe,
}

/// How far measuring the round trip again has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Probe {
    #[default]
    Off,
    /// The reduced limit empties the queues.
    Draining,
    /// The queues are short: a tree that departs from now on shows the round trip.
    Measuring { since: Duration },
}

impl Shortest {
    /// Notes that a tree took `latency` until now. `is_limited`: whether the limit made trees queue.
    fn note(&mut self, latency: Duration, is_limited: bool, now: Duration) {
        self.latency = Some(self.latency.map_or(latency, |known| known.min(latency)));
        match self.probe {
            Probe::Measuring { since } if now.saturating_sub(latency) >= since => {
                *self = Self { latency: Some(latency), measured_at: now, probe: Probe::Off };
            }
            Probe::Off if now.saturating_sub(self.measured_at) > MEMORY => {
                if is_limited {
                    self.probe = Probe::Draining;
                } else {
                    // Without queues, the latency is the round trip.
                    *self = Self { latency: Some(latency), measured_at: now, probe: Probe::Off };
                }
            }
            _ => {}
        }
    }

    /// The limit to apply: reduced while a round trip is being measured.
    fn during_probe(&mut self, limit: usize, under_way: usize, now: Duration) -> usize {
        if self.probe == Probe::Off {
            return limit;
        }
        let limit = (limit / ROUND_TRIPS as usize).max(1);
        if self.probe == Probe::Draining && under_way < limit {
            self.probe = Probe::Measuring { since: now };
        }
        limit
    }
}

impl InFlightLimit {
    /// A fixed limit, or an adaptive one if `fixed` is `None`.
    pub(crate) fn new(fixed: Option<usize>, timeout: Option<Duration>) -> Self {
        let limit = fixed.unwrap_or(FIRST);
        Self {
            limit,
            is_fixed: fixed.is_some(),
            timeout: timeout.unwrap_or(NO_TIMEOUT),
            least: LEAST_LATENCY,
            shortest: Shortest::default(),
            round: Round::new(Duration::ZERO, limit),
            most_open: MOST,
            most_open_at: Duration::ZERO,
        }
    }

    /// Aims at this latency at least, from now on.
    pub(crate) fn aim_at_least(&mut self, latency: Duration) {
        self.least = latency;
    }

    /// The number of trees that may be opened now.
    pub(crate) fn room(&mut self, open: Open, now: Duration) -> usize {
        if self.is_fixed {
            return self.limit.saturating_sub(open.trees);
        }
        let under_way = open.under_way();
        if under_way == 0 {
            // Time without work does not show how fast the topology is.
            self.round = Round::new(now, self.limit);
        }
        self.round.has_held_back |= under_way >= self.limit;
        let room = self.shortest.during_probe(self.limit, under_way, now).saturating_sub(under_way);
        room.min(self.most_open.saturating_sub(open.trees))
    }

    /// Notes that `count` trees left the trees on their way: decided trees, plus trees that a bolt now holds,
    /// minus trees that bolts have released. `open` is the state afterwards. `shortest` is the shortest time
    /// of the trees that are decided now, without the time in which bolts held their tuples.
    pub(crate) fn passed(&mut self, count: i64, shortest: Option<Duration>, open: Open, now: Duration) {
        if self.is_fixed {
            return;
        }
        if let Some(latency) = shortest {
            self.shortest.note(latency, self.round.has_held_back, now);
        }
        if now.saturating_sub(self.most_open_at) > self.timeout {
            self.most_open_at = now;
            self.most_open = (self.most_open * 2).min(MOST);
        }
        self.round.passed += count;
        if self.round.passed < 0 {
            // Bolts let go of more trees than got through: those are on their way again.
            self.round = Round::new(now, open.under_way());
            return;
        }
        let passed = usize::try_from(self.round.passed).unwrap_or(0);
        let elapsed = now.saturating_sub(self.round.began);
        let target = self.target();
        if passed == 0 || (passed < self.round.size && elapsed < target) {
            return;
        }
        if self.round.has_held_back && self.shortest.probe == Probe::Off {
            self.limit = adapted(self.limit, passed, elapsed, target);
        }
        self.round = Round::new(now, open.under_way());
    }

    /// The latency that the limit aims at.
    fn target(&self) -> Duration {
        let most = self.timeout / 4;
        // Where a single round trip takes longer than that, tasks that work side by side still get work.
        let least = |shortest: Duration| (shortest * 2).min(self.timeout / 2);
        let aim = |shortest: Duration| (shortest * ROUND_TRIPS).max(self.least).min(most).max(least(shortest));
        self.shortest.latency.map_or(most, aim)
    }

    /// Notes that `count` trees timed out together; `open` is the state before. A single lost tuple does not
    /// lower the limit, many do.
    pub(crate) fn expired(&mut self, count: usize, open: Open, now: Duration) {
        if self.is_fixed || count * OVERLOAD < open.trees {
            return;
        }
        self.limit = (self.limit.min(open.under_way()) / 2).max(1);
        self.round = Round::new(now, self.limit);
        self.most_open = (self.most_open.min(open.trees) / 2).max(FIRST);
        self.most_open_at = now;
    }
}

/// The next limit, after a round of `passed` trees in `elapsed` in which the limit held the spout back.
fn adapted(limit: usize, passed: usize, elapsed: Duration, target: Duration) -> usize {
    let latency = elapsed.as_secs_f64() * limit as f64 / passed as f64;
    let target = target.as_secs_f64();
    if latency * 2.0 <= target {
        (limit * 2).min(MOST)
    } else if latency > target {
        ((limit as f64 * target / latency) as usize).max(limit / 2).max(1)
    } else {
        limit
    }
}

#[cfg(test)]
mod tests;
