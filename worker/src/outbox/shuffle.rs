//! Which receivers of a shuffle grouping get how many rows. Pure: time and loads come in as arguments.
//!
//! Rows wait with their sender until a receiver has room, and go to the receiver with the least work
//! outstanding. A receiver may have as many rows under way as it processes in a few milliseconds, so a
//! slow receiver holds few rows and never holds up rows that another receiver could process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::credit::MOST;

/// A receiver may have as many rows under way as it processes in this time, if that is more than
/// [`FEW`] rows.
const SHORT: Duration = Duration::from_millis(4);
/// Rows that a receiver may have under way though they take up to [`LONG`]: one in hand, one waiting.
const FEW: u32 = 2;
/// See [`FEW`].
const LONG: Duration = Duration::from_millis(100);
/// A run, the rows that a receiver gets before the next one is considered, is this part of its allowance.
const RUNS_PER_ALLOWANCE: u32 = 8;
/// A run is not longer than this: it makes a batch whose costs are shared well enough.
const LONGEST_RUN: u32 = 128;

/// How many rows keep a receiver busy for [`SHORT`] that takes this long for a row.
fn rows_for(pace: Duration) -> u32 {
    let few = if pace * FEW <= LONG { FEW } else { 1 };
    let rows = SHORT.as_nanos().checked_div(pace.as_nanos()).map_or(MOST, |rows| rows.min(MOST.into()) as u32);
    rows.max(few)
}

/// What a sender knows of one receiver.
#[derive(Clone, Debug)]
struct Receiver {
    /// Its place among the outbox's peers.
    peer: usize,
    /// How many rows may be under way to it.
    allowance: u32,
    /// What the allowance may grow to by the receiver's progress so far.
    most: u32,
    /// How many times the rows of [`SHORT`] must be under way so that the receiver has work while others
    /// are on their way: above 1 where the way is long, or the threads of both take turns.
    stretch: u32,
    /// Whether it has had a whole allowance under way since the mark.
    was_full: bool,
    /// When it had that.
    mark: Duration,
}

impl Receiver {
    fn new(peer: usize) -> Self {
        Self { peer, allowance: 1, most: 1, stretch: 1, was_full: false, mark: Duration::ZERO }
    }

    /// Adapts the allowance to the receiver, which takes `pace` for a row and has `under_way` rows.
    fn look(&mut self, under_way: u32, pace: Duration, now: Duration) {
        if self.was_full && under_way <= self.allowance / 2 {
            self.was_full = false;
            if self.allowance >= self.most {
                self.most = self.most.saturating_mul(2).min(MOST);
            } else if now.saturating_sub(self.mark) <= pace * self.allowance * 2 {
                self.stretch = (self.stretch / 2).max(1);
            } else if under_way == 0 {
                // That took much longer than the work: the receiver had none for most of the time.
                self.stretch = self.stretch.saturating_mul(2).min(MOST);
            }
        }
        self.allowance = rows_for(pace).saturating_mul(self.stretch).min(self.most);
    }

    /// Notes that it got rows, after which `under_way` are under way.
    fn give(&mut self, under_way: u32, now: Duration) {
        if under_way >= self.allowance {
            self.was_full = true;
            self.mark = now;
        }
    }

    /// The rows that it gets at a time.
    fn run(&self) -> u32 {
        (self.allowance / RUNS_PER_ALLOWANCE).clamp(1, LONGEST_RUN)
    }
}

/// How one emitting task shares the rows of one stream among the tasks of one bolt.
#[derive(Debug)]
pub(super) struct Shuffle {
    /// Whether receivers in the same worker are preferred.
    prefers_local: bool,
    receivers: Vec<Receiver>,
    /// The places of the receivers that are considered.
    among: Vec<usize>,
    /// Where among them the next look begins.
    next: usize,
}

impl Shuffle {
    /// Shares among the tasks with these places among the outbox's peers. `first` is the receiver that
    /// is considered first, so that many emitting tasks do not all begin with the same one.
    pub(super) fn new(prefers_local: bool, peers: &[usize], first: usize, is_local: impl Fn(usize) -> bool) -> Self {
        let receivers = peers.iter().map(|peer| Receiver::new(*peer)).collect();
        let mut shuffle = Self { prefers_local, receivers, among: Vec::new(), next: first };
        shuffle.relocate(is_local);
        shuffle
    }

    /// Tasks have come to this worker or left it. `is_local` says for a peer whether it runs here.
    pub(super) fn relocate(&mut self, is_local: impl Fn(usize) -> bool) {
        let all = 0..self.receivers.len();
        let local = |place: &usize| self.prefers_local && is_local(self.receivers[*place].peer);
        self.among = all.clone().filter(local).collect();
        if self.among.is_empty() {
            self.among = all.collect();
        }
        self.next %= self.among.len().max(1);
    }

    /// The only receiver, if there is no choice: then the credit alone decides.
    pub(super) fn only(&self) -> Option<usize> {
        match self.among.as_slice() {
            [place] => Some(self.receivers[*place].peer),
            _ => None,
        }
    }

    /// Decides which receivers get how many of `rows` waiting rows: `shares` of (receiver, rows).
    /// `load` answers for a peer how many rows are under way to it and how long it takes for a row. Rows
    /// beyond all allowances stay.
    pub(super) fn share(
        &mut self,
        mut rows: usize,
        now: Duration,
        load: impl Fn(usize) -> (u32, Duration),
        shares: &mut Vec<(usize, usize)>,
    ) {
        shares.clear();
        let count = self.among.len();
        // The least loaded first; of equals, the first from `next` on.
        let mut candidates = BinaryHeap::new();
        let mut after = self.next + 1;
        for order in 0..count {
            let place = self.among[(self.next + order) % count];
            let receiver = &mut self.receivers[place];
            let (load, pace) = load(receiver.peer);
            receiver.look(load, pace, now);
            if load >= receiver.allowance {
                continue;
            }
            let mut given = 0;
            if load == 0 {
                // Nobody has less to do.
                given = (receiver.run() as usize).min(rows);
                rows -= given;
                after = self.next + order + 1;
            }
            shares.push((place, given));
            candidates.push(Reverse((load + given as u32, order, shares.len() - 1)));
            if rows == 0 {
                break;
            }
        }
        while rows > 0
            && let Some(Reverse((load, order, share))) = candidates.pop()
        {
            let receiver = &self.receivers[shares[share].0];
            let given = receiver.run().min(receiver.allowance.saturating_sub(load)).min(rows as u32);
            if given > 0 {
                shares[share].1 += given as usize;
                rows -= given as usize;
                candidates.push(Reverse((load + given, order, share)));
            }
        }
        self.next = after % count.max(1);
        shares.retain(|(_, given)| *given > 0);
    }

    /// The place of a receiver among the outbox's peers.
    pub(super) fn peer_of(&self, receiver: usize) -> usize {
        self.receivers[receiver].peer
    }

    /// How many rows a receiver may have under way.
    pub(super) fn allowance_of(&self, receiver: usize) -> u32 {
        self.receivers[receiver].allowance
    }

    /// Notes that rows were sent to a receiver, after which `under_way` are under way to it.
    pub(super) fn sent(&mut self, receiver: usize, under_way: u32, now: Duration) {
        self.receivers[receiver].give(under_way, now);
    }

    /// For each receiver that is considered, its peer and the number of rows under way at which it
    /// has room for a good part of its allowance.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = (usize, u32)> {
        self.among.iter().map(|place| {
            let receiver = &self.receivers[*place];
            (receiver.peer, receiver.allowance / 2)
        })
    }
}
