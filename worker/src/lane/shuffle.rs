//! The shares of the receivers of a shuffle grouping. Pure: loads are arguments.
//!
//! Rows wait with their sender until a receiver has room, and go to the receiver with the least work
//! outstanding. A receiver may have as many rows under way as it processes in a few milliseconds, so a
//! slow receiver holds few rows and never holds up rows that another receiver could process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::lead::Lead;
use crate::credit::{MOST, Progress};

/// A receiver may have as many rows under way as it processes in this time, or [`FEW`] rows if that is more.
const SHORT: Duration = Duration::from_millis(4);
/// Rows that a receiver may have under way if they take at most [`LONG`]: one in hand, one waiting.
const FEW: u32 = 2;
/// See [`FEW`].
const LONG: Duration = Duration::from_millis(100);
/// After this many refills that kept the receiver busy, the stretch of its allowance is halved.
const LONG_CALM: u32 = 16;
/// A run is the rows that a receiver gets before the next receiver is considered. It is the allowance divided
/// by this.
const RUNS_PER_ALLOWANCE: u32 = 8;
/// A receiver that takes longer for a row is slow: nobody waits for it to catch up.
const QUICK: Duration = Duration::from_micros(100);
/// The longest run: a batch of this size shares its fixed costs well enough.
const LONGEST_RUN: u32 = 128;

/// The rows that keep a receiver with this pace busy for [`SHORT`], or [`FEW`] if these take at most [`LONG`];
/// at least one.
fn rows_for(pace: Duration) -> u32 {
    let few = if pace * FEW <= LONG { FEW } else { 1 };
    let rows = SHORT.as_nanos().checked_div(pace.as_nanos()).map_or(MOST, |rows| rows.min(MOST.into()) as u32);
    rows.max(few)
}

/// A sender's knowledge of one receiver.
#[derive(Clone, Debug)]
struct Receiver {
    /// The rows that may be under way to the receiver.
    allowance: u32,
    /// The bound of the allowance. It doubles each time the receiver processes half of an allowance that has
    /// reached the bound.
    most: u32,
    /// The factor on [`rows_for`] that keeps the receiver busy while more rows are on their way: above 1 if
    /// the link is long, or if the threads of sender and receiver share a core.
    stretch: u32,
    /// Whether a whole allowance was under way since the last refill.
    was_full: bool,
    /// Whether the receiver ran out of work since the last refill.
    was_idle: bool,
    /// The number of refills in a row that kept the receiver busy.
    calm: u32,
    /// Whether the others wait for the receiver to catch up when it is behind.
    is_quick: bool,
    /// Whether the receiver has room, but leads by too many rows.
    is_held: bool,
}

impl Receiver {
    fn new() -> Self {
        Self {
            allowance: 1,
            most: 1,
            stretch: 1,
            was_full: false,
            was_idle: false,
            calm: 0,
            is_quick: true,
            is_held: false,
        }
    }

    /// Adapts the allowance to the receiver's progress, while `under_way` rows are under way.
    fn look(&mut self, under_way: u32, Progress { pace, is_idle }: Progress) {
        self.was_idle |= is_idle;
        if self.was_full && under_way <= self.refill_at() {
            self.was_full = false;
            let was_idle = std::mem::take(&mut self.was_idle);
            if self.allowance >= self.most {
                self.most = self.most.saturating_mul(2).min(MOST);
            } else if was_idle {
                self.calm = 0;
                self.stretch = self.stretch.saturating_mul(2).min(MOST);
            } else {
                self.calm += 1;
                if self.calm == LONG_CALM {
                    self.calm = 0;
                    self.stretch = (self.stretch / 2).max(1);
                }
            }
        }
        self.is_held = false;
        self.is_quick = pace <= QUICK;
        let rows = rows_for(pace);
        // Behind a row that takes long, a second row would wait too long.
        self.allowance = if rows == 1 { 1 } else { rows.saturating_mul(self.stretch).min(self.most) };
    }

    /// Notes that the receiver got rows; `under_way` includes them.
    fn give(&mut self, under_way: u32) {
        self.was_full |= under_way >= self.allowance;
    }

    /// The receiver gets more rows when at most this many are under way, so that batches do not become small.
    fn refill_at(&self) -> u32 {
        self.allowance / 2
    }

    /// The rows that the receiver gets at a time.
    fn run(&self) -> u32 {
        (self.allowance / RUNS_PER_ALLOWANCE).clamp(1, LONGEST_RUN)
    }
}

/// Shares the rows of one lane and stream among the tasks of one bolt.
#[derive(Debug)]
pub(super) struct Shuffle {
    /// Whether receivers in the same worker are preferred.
    prefers_local: bool,
    receivers: Vec<Receiver>,
    /// The places of the receivers to consider.
    among: Vec<usize>,
    /// The index in `among` of the receiver to consider first.
    next: usize,
    lead: Lead,
}

impl Shuffle {
    /// A shuffle among this many receivers. `first` is the receiver to consider first, so that many lanes do not
    /// all begin with the same receiver.
    pub(super) fn new(prefers_local: bool, receivers: usize, first: usize, is_local: impl Fn(usize) -> bool) -> Self {
        let lead = Lead::new(receivers);
        let receivers = (0..receivers).map(|_| Receiver::new()).collect();
        let mut shuffle = Self { prefers_local, receivers, among: Vec::new(), next: first, lead };
        shuffle.relocate(is_local);
        shuffle
    }

    /// Selects the receivers to consider after tasks have moved. `is_local` answers whether a receiver runs in
    /// this worker.
    pub(super) fn relocate(&mut self, is_local: impl Fn(usize) -> bool) {
        let all = 0..self.receivers.len();
        let local = |place: &usize| self.prefers_local && is_local(*place);
        self.among = all.clone().filter(local).collect();
        if self.among.is_empty() {
            self.among = all.collect();
        }
        self.next %= self.among.len().max(1);
        self.lead.forget();
    }

    /// The only receiver, if there is no choice. The credit alone decides then.
    pub(super) fn only(&self) -> Option<usize> {
        match self.among.as_slice() {
            [place] => Some(*place),
            _ => None,
        }
    }

    /// Decides how many of `rows` waiting rows each receiver gets, and writes pairs of receiver and rows to
    /// `shares`. `load` returns the rows under way to a receiver and its progress, `now` the time. Rows beyond
    /// all allowances stay, and rows that would put receivers with room too far ahead of others.
    pub(super) fn share(
        &mut self,
        mut rows: usize,
        load: impl Fn(usize) -> (u32, Progress),
        now: impl Fn() -> Duration,
        shares: &mut Vec<(usize, usize)>,
    ) {
        shares.clear();
        let count = self.among.len();
        // The least loaded receiver comes first; among equals, the first from `next` on.
        let mut candidates = BinaryHeap::new();
        let mut after = self.next + 1;
        let mut is_fresh = false;
        for order in 0..count {
            let place = self.among[(self.next + order) % count];
            let receiver = &mut self.receivers[place];
            let (load, progress) = load(place);
            receiver.look(load, progress);
            if load > receiver.refill_at() {
                continue;
            }
            let mut given = 0;
            if load == 0 {
                // No receiver has less to do, so no comparison is needed.
                let run = receiver.run();
                given = run.min(self.room(place, &mut is_fresh)).min(rows as u32);
                self.lead.give(place, given);
                rows -= given as usize;
                after = self.next + order + 1;
            }
            shares.push((place, given as usize));
            candidates.push(Reverse((load + given, order, shares.len() - 1)));
            if rows == 0 {
                break;
            }
        }
        // Receivers that lead by too many wait until all others have what they may get.
        let mut held = Vec::new();
        let mut ignores_lead = false;
        while rows > 0 {
            let Some(Reverse((load, order, share))) = candidates.pop() else {
                if held.is_empty() {
                    break;
                }
                if !self.catch_up() {
                    ignores_lead = !self.lead.may_hold(now());
                    if !ignores_lead {
                        break;
                    }
                }
                candidates.extend(held.drain(..));
                continue;
            };
            let place = shares[share].0;
            let room = if ignores_lead { u32::MAX } else { self.room(place, &mut is_fresh) };
            let receiver = &self.receivers[place];
            let given = receiver.run().min(receiver.allowance.saturating_sub(load)).min(rows as u32).min(room);
            if given > 0 {
                self.lead.give(place, given);
                shares[share].1 += given as usize;
                rows -= given as usize;
                candidates.push(Reverse((load + given, order, share)));
            } else if room == 0 {
                held.push(Reverse((load, order, share)));
            }
        }
        if rows == 0 || held.is_empty() {
            self.lead.release(now);
        } else {
            held.iter().for_each(|Reverse((_, _, share))| self.receivers[shares[*share].0].is_held = true);
        }
        self.next = after % count.max(1);
        shares.retain(|(_, given)| *given > 0);
    }

    /// The rows that a receiver may get without leading by too many. `is_fresh`: the bound was updated in this
    /// call of [`share`](Self::share); it is updated once, because this looks at all receivers.
    fn room(&mut self, receiver: usize, is_fresh: &mut bool) -> u32 {
        if self.lead.room(receiver) == 0 && !*is_fresh {
            *is_fresh = true;
            self.catch_up();
        }
        self.lead.room(receiver)
    }

    /// Updates the bound on leads from the quick receivers. Returns whether the bound has risen.
    fn catch_up(&mut self) -> bool {
        let quick = self.among.iter().filter(|place| self.receivers[**place].is_quick);
        self.lead.catch_up(quick.copied())
    }

    /// The time until which rows are held back at most from receivers that lead by too many, if any are.
    pub(super) fn holds_until(&self) -> Option<Duration> {
        self.lead.holds_until()
    }

    /// The rows that a receiver may have under way.
    pub(super) fn allowance_of(&self, receiver: usize) -> u32 {
        self.receivers[receiver].allowance
    }

    /// Notes that rows were sent to a receiver; `under_way` includes them.
    pub(super) fn sent(&mut self, receiver: usize, under_way: u32) {
        self.receivers[receiver].give(under_way);
    }

    /// Notes that a receiver did not get the last rows of its share.
    pub(super) fn kept(&mut self, receiver: usize, rows: usize) {
        self.lead.take_back(receiver, rows);
    }

    /// The receivers that get more rows when they have room, each with the rows under way at which it has. Receivers that
    /// lead by too many are left out.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = (usize, u32)> {
        let receivers = self.among.iter().map(|place| (*place, &self.receivers[*place]));
        receivers.filter(|(_, receiver)| !receiver.is_held).map(|(place, receiver)| (place, receiver.refill_at()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn shuffle(receivers: usize) -> Shuffle {
        Shuffle::new(false, receivers, 0, |_| false)
    }

    /// Shares rows among receivers with these loads. Returns the rows of each receiver.
    fn share(shuffle: &mut Shuffle, rows: usize, loads: &mut [(u32, Progress)]) -> Vec<usize> {
        share_at(Duration::ZERO, shuffle, rows, loads)
    }

    fn share_at(now: Duration, shuffle: &mut Shuffle, rows: usize, loads: &mut [(u32, Progress)]) -> Vec<usize> {
        let (mut shares, mut got) = (Vec::new(), vec![0; loads.len()]);
        shuffle.share(rows, |peer| loads[peer], || now, &mut shares);
        for (receiver, rows) in shares {
            loads[receiver].0 += rows as u32;
            got[receiver] += rows;
            shuffle.sent(receiver, loads[receiver].0);
        }
        got
    }

    /// Simulates a sender with endless rows, receivers that take `paces` per row, and a link that takes `way`.
    /// Returns the rows that each receiver processed in `time`.
    fn processed(paces: &[Duration], way: Duration, time: Duration) -> Vec<u32> {
        let mut shuffle = shuffle(paces.len());
        let mut processed = vec![0; paces.len()];
        let mut loads = vec![(0, Progress::default()); paces.len()];
        let mut free_at = vec![Duration::ZERO; paces.len()];
        // When rows are done and when they arrive, by receiver.
        let mut rows_under_way: Vec<(Duration, Duration, usize, u32)> = Vec::new();
        let mut now = Duration::ZERO;
        while now < time {
            let got = share_at(now, &mut shuffle, 1 << 20, &mut loads);
            for (receiver, mut rows) in got.into_iter().map(|rows| rows as u32).enumerate() {
                let pace = paces[receiver];
                while rows > 0 {
                    // Credit comes back about every millisecond.
                    let batch = rows.min((Duration::from_millis(1).as_nanos() / pace.as_nanos()).max(1) as u32);
                    free_at[receiver] = free_at[receiver].max(now + way) + pace * batch;
                    rows_under_way.push((free_at[receiver], now + way, receiver, batch));
                    rows -= batch;
                }
            }
            rows_under_way.sort_unstable_by_key(|(done, ..)| std::cmp::Reverse(*done));
            let (done, _, receiver, rows) = rows_under_way.pop().expect("something is under way");
            now = done + way;
            let has_more = |(_, arrives, of, _): &(Duration, Duration, usize, u32)| *of == receiver && *arrives <= done;
            let is_idle = !rows_under_way.iter().any(has_more);
            loads[receiver] = (loads[receiver].0 - rows, Progress { pace: paces[receiver], is_idle });
            processed[receiver] += rows;
        }
        processed
    }

    #[test]
    fn receivers_get_what_they_can_process_near_and_far() {
        let millis = Duration::from_millis;
        for way in [MICRO * 20, millis(1), millis(10)] {
            for paces in [[millis(1), millis(1), millis(10)], [MICRO, MICRO * 3, MICRO * 100], [millis(7); 3]] {
                let time = Duration::from_secs(20);
                let processed = processed(&paces, way, time);
                for (processed, pace) in processed.iter().zip(paces) {
                    let share = pace.as_secs_f64() * f64::from(*processed) / time.as_secs_f64();
                    // A long way with short rows is limited by the most that may be under way.
                    let least = if way > pace { 0.4 } else { 0.85 };
                    assert!(share > least, "{share} of what {pace:?} allows, {way:?} away: {processed:?}");
                }
            }
        }
    }

    #[test]
    fn a_receiver_that_becomes_slow_has_few_rows_under_way_soon() {
        let mut shuffle = shuffle(2);
        let at = |pace| (0, Progress { pace, is_idle: false });
        let mut loads = [at(MICRO), at(MICRO)];
        for _ in 0..30 {
            share(&mut shuffle, 100_000, &mut loads);
            loads = [at(MICRO), at(MICRO)];
        }
        let most = share(&mut shuffle, 100_000, &mut loads);
        assert!(most.iter().all(|rows| *rows >= 4_000), "{most:?}");
        loads = [at(Duration::from_millis(10)), at(MICRO)];
        let got = share(&mut shuffle, 100_000, &mut loads);
        assert!(got[0] <= 2 && got[1] >= 4_000, "{got:?}");
    }

    #[test]
    fn a_receiver_that_gets_no_core_is_waited_for_but_not_for_long() {
        let mut shuffle = shuffle(2);
        let at = |under_way| (under_way, Progress { pace: MICRO / 10, is_idle: under_way == 0 });
        let mut loads = [at(0), at(0)];
        // Both become known as quick. Then the second makes no progress any more.
        for _ in 0..8 {
            share(&mut shuffle, 100, &mut loads);
            loads = [at(0), at(0)];
        }
        let mut got = [0, 0];
        let mut millis = 0;
        while got[0] < 50_000 && millis < 1_000 {
            let now = Duration::from_millis(millis);
            let more = share_at(now, &mut shuffle, 100_000, &mut loads);
            got = [got[0] + more[0], got[1] + more[1]];
            loads[0] = at(0);
            if more[0] == 0 {
                assert!(got[0] <= got[1] + 512 + 800, "{got:?}");
                assert!(shuffle.thresholds().all(|(peer, _)| peer == 1), "nobody waits for the first");
                millis += 1;
            } else {
                assert!(millis == 0 || millis >= 100, "{got:?} after {millis} ms");
            }
        }
        assert_eq!(millis, 100);
        assert_eq!(shuffle.holds_until(), None);
    }

    proptest! {
        #[test]
        fn rows_go_to_the_least_loaded_within_their_allowances(
            rows in 0usize..5_000,
            loads in prop::collection::vec((0u32..300, 0u64..2_000), 2..20),
            warm in 0u32..20,
        ) {
            let mut shuffle = shuffle(loads.len());
            let progress = |pace: u64| Progress { pace: MICRO * pace as u32, is_idle: false };
            for _ in 0..warm {
                let mut idle: Vec<_> = loads.iter().map(|(_, pace)| (0, progress(*pace))).collect();
                share(&mut shuffle, 100_000, &mut idle);
            }
            let mut after: Vec<_> = loads.iter().map(|(load, pace)| (*load, progress(*pace))).collect();
            let got = share(&mut shuffle, rows, &mut after);
            let given: usize = got.iter().sum();
            prop_assert!(given <= rows);
            for (receiver, (before, _)) in loads.iter().enumerate() {
                let allowance = shuffle.allowance_of(receiver);
                prop_assert!(got[receiver] == 0 || after[receiver].0 <= allowance);
                let is_held = shuffle.receivers[receiver].is_held;
                let has_room = *before <= allowance / 2 && !is_held;
                prop_assert!(given == rows || got[receiver] > 0 || !has_room, "rows wait for nothing");
            }
        }
    }
}
