//! How many trees a spout task may have open: as configured, or adapted so that tuples get through
//! quickly. Pure: time comes in as an argument.

use std::time::Duration;

/// The first limit. A bolt that takes a second for a tuple gets through so many well within the default
/// time-out; faster topologies raise the limit within a few rounds.
const FIRST: usize = 16;
const MOST: usize = 1 << 20;
/// The limit aims at this many times the shortest round trip.
const ROUND_TRIPS: u32 = 4;
/// The limit never aims at less, so that pauses of a busy machine do not leave bolts without work.
const LEAST_LATENCY: Duration = Duration::from_millis(20);
/// How long the shortest round trip is remembered before it is measured again.
const MEMORY: Duration = Duration::from_secs(10);
/// Time-outs show overload when this part of the open trees times out at a time.
const OVERLOAD: usize = 64;
/// For messages without a time-out.
const NO_TIMEOUT: Duration = Duration::from_secs(30);

/// Open trees, and how many of them bolts hold on purpose.
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
/// A fixed limit bounds all open trees. The adaptive one bounds the trees on their way: those that no
/// bolt holds. A bolt holds a tuple on purpose, to collect a batch or a window, so the time counts for
/// nothing and the tree for no limit but a generous one.
///
/// The adaptive limit aims at a latency: [`ROUND_TRIPS`] times the shortest round trip of late, at least
/// [`LEAST_LATENCY`], at most a quarter of the time-out. It works in rounds of as many trees as were on
/// their way at the start. By Little's law, the time that a whole limit of trees takes at the rate of
/// the round is the latency that the limit causes. A round in which the limit held the spout back
/// doubles the limit if that latency is short, and lowers the limit, by half at most, if it is too long.
///
/// At the limit, trees queue, so none of them shows how short a round trip could be. Now and then the
/// limit is therefore divided by [`ROUND_TRIPS`] until the queues are short and a tree has got through,
/// as the congestion control BBR does. By the aim above, that many trees keep the bolts busy.
#[derive(Debug)]
pub(crate) struct InFlightLimit {
    limit: usize,
    is_fixed: bool,
    timeout: Duration,
    shortest: Shortest,
    round: Round,
    /// The limit of all open trees, held ones included.
    most_open: usize,
    /// When `most_open` was changed last.
    most_open_at: Duration,
}

#[derive(Debug)]
struct Round {
    began: Duration,
    /// How many trees make the round.
    size: usize,
    passed: i64,
    has_held_back: bool,
}

impl Round {
    fn new(began: Duration, size: usize) -> Self {
        Self { began, size: size.max(1), passed: 0, has_held_back: false }
    }
}

/// The shortest round trip of late.
#[derive(Debug, Default)]
struct Shortest {
    latency: Option<Duration>,
    measured_at: Duration,
    /// Whether it is being measured again, and if the queues are short already, since when.
    probe: Option<Option<Duration>>,
}

impl Shortest {
    /// A tree took `latency` until now. `is_limited` says whether the limit made trees queue.
    fn note(&mut self, latency: Duration, is_limited: bool, now: Duration) {
        self.latency = Some(self.latency.map_or(latency, |known| known.min(latency)));
        match self.probe {
            Some(Some(short_since)) if now.saturating_sub(latency) >= short_since => {
                *self = Self { latency: Some(latency), measured_at: now, probe: None };
            }
            None if now.saturating_sub(self.measured_at) > MEMORY => {
                if is_limited {
                    self.probe = Some(None);
                } else {
                    // Nothing queues: this is how long it takes.
                    *self = Self { latency: Some(latency), measured_at: now, probe: None };
                }
            }
            _ => {}
        }
    }

    /// The limit while a round trip is being measured.
    fn during_probe(&mut self, limit: usize, under_way: usize, now: Duration) -> usize {
        let Some(short_since) = &mut self.probe else { return limit };
        let limit = (limit / ROUND_TRIPS as usize).max(1);
        if under_way < limit {
            short_since.get_or_insert(now);
        }
        limit
    }
}

impl InFlightLimit {
    /// A limit as configured, or an adaptive one.
    pub(crate) fn new(fixed: Option<usize>, timeout: Option<Duration>) -> Self {
        let limit = fixed.unwrap_or(FIRST);
        Self {
            limit,
            is_fixed: fixed.is_some(),
            timeout: timeout.unwrap_or(NO_TIMEOUT),
            shortest: Shortest::default(),
            round: Round::new(Duration::ZERO, limit),
            most_open: MOST,
            most_open_at: Duration::ZERO,
        }
    }

    /// How many more trees may be opened now.
    pub(crate) fn room(&mut self, open: Open, now: Duration) -> usize {
        if self.is_fixed {
            return self.limit.saturating_sub(open.trees);
        }
        let under_way = open.under_way();
        if under_way == 0 {
            // Time without work says nothing about how fast the topology is.
            self.round = Round::new(now, self.limit);
        }
        self.round.has_held_back |= under_way >= self.limit;
        let room = self.shortest.during_probe(self.limit, under_way, now).saturating_sub(under_way);
        room.min(self.most_open.saturating_sub(open.trees))
    }

    /// Notes that this many trees got through, or into the hands of a bolt that holds them, those not
    /// counted that bolts let go of again; afterwards `open` are left. `shortest` is the shortest time
    /// that a tree took which is decided now, apart from the time in which bolts held it.
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
        let passed = usize::try_from(self.round.passed).unwrap_or(0);
        let elapsed = now.saturating_sub(self.round.began);
        let target = self.target();
        if passed == 0 || (passed < self.round.size && elapsed < target) {
            return;
        }
        if self.round.has_held_back && self.shortest.probe.is_none() {
            self.limit = adapted(self.limit, passed, elapsed, target);
        }
        self.round = Round::new(now, open.under_way());
    }

    /// The latency that the limit aims at.
    fn target(&self) -> Duration {
        let most = self.timeout / 4;
        self.shortest.latency.map_or(most, |shortest| (shortest * ROUND_TRIPS).max(LEAST_LATENCY).min(most))
    }

    /// Notes that this many trees timed out, before which `open` were open. One lost tuple is no reason
    /// to slow down; many are.
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

/// The limit after a round in which `passed` trees took `elapsed`, while the limit held the spout back.
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
