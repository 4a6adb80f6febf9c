//! Counts of a topology by slots of time: single seconds for the last seconds, tens of seconds for the last minutes.

use std::collections::VecDeque;
use std::ops::Range;

use super::LONG;
use super::tally::Tallies;

/// Seconds of a long slot.
const LONG_SLOT: u64 = 10;
/// Number of short slots: the short window, and the seconds behind the last long slot.
const SHORT_SLOTS: usize = 24;
/// Number of long slots.
const LONG_SLOTS: usize = (LONG / LONG_SLOT) as usize + 1;

/// The counts in a window.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    /// The length of the window.
    pub(crate) seconds: f64,
    pub(crate) tallies: Tallies,
}

/// The latest counts of a topology.
#[derive(Debug)]
pub(super) struct Series {
    /// The time since which the counts are complete.
    since: f64,
    short: Ring,
    long: Ring,
}

impl Series {
    pub(super) fn new(since: f64) -> Self {
        Self { since, short: Ring::new(1, SHORT_SLOTS), long: Ring::new(LONG_SLOT, LONG_SLOTS) }
    }

    /// Forgets all counts before `since`: they are incomplete.
    pub(super) fn restart(&mut self, since: f64) {
        *self = Self::new(since.max(self.since));
    }

    /// Spreads counts evenly from one time to another.
    pub(super) fn add(&mut self, from: f64, to: f64, tallies: &Tallies) {
        self.short.add(from, to, tallies);
        self.long.add(from, to, tallies);
    }

    /// The counts in the last whole seconds before `until`; `None` for less than one second.
    pub(super) fn sum(&self, until: f64, length: u64) -> Option<Sum> {
        let end = until.max(0.0).floor() as u64;
        let mut tallies = Tallies::new();
        let start = if length as usize <= SHORT_SLOTS {
            let start = end.saturating_sub(length);
            self.short.sum(start..end, &mut tallies);
            start
        } else {
            let whole = end / LONG_SLOT;
            // One long slot less, because up to ten seconds follow the last long slot.
            let first = (whole + 1).saturating_sub(length / LONG_SLOT);
            self.long.sum(first..whole, &mut tallies);
            self.short.sum(whole * LONG_SLOT..end, &mut tallies);
            first * LONG_SLOT
        };
        let seconds = end as f64 - self.since.max(start as f64);
        (seconds >= 1.0).then_some(Sum { seconds, tallies })
    }
}

/// The latest slots, all of equal length.
#[derive(Debug)]
struct Ring {
    /// Seconds of a slot.
    width: u64,
    kept: usize,
    /// By number, ascending. Times without counts have no slot.
    slots: VecDeque<(u64, Tallies)>,
}

impl Ring {
    fn new(width: u64, kept: usize) -> Self {
        Self { width, kept, slots: VecDeque::new() }
    }

    fn add(&mut self, from: f64, to: f64, tallies: &Tallies) {
        let width = self.width as f64;
        let last = (to / width).floor() as u64;
        let newest = self.slots.back().map_or(last, |(number, _)| last.max(*number));
        let oldest = (newest + 1).saturating_sub(self.kept as u64);
        let first = ((from / width).floor() as u64).max(oldest);
        for number in first..=last {
            let begin = number as f64 * width;
            let overlap = to.min(begin + width) - from.max(begin);
            let share = if to > from { overlap / (to - from) } else { 1.0 };
            if share > 0.0 {
                self.add_to(number, tallies, share);
            }
        }
        while self.slots.front().is_some_and(|(number, _)| *number < oldest) {
            self.slots.pop_front();
        }
    }

    fn add_to(&mut self, number: u64, tallies: &Tallies, share: f64) {
        let place = self.slots.partition_point(|(known, _)| *known < number);
        if self.slots.get(place).is_none_or(|(known, _)| *known != number) {
            self.slots.insert(place, (number, Tallies::new()));
        }
        merge(&mut self.slots[place].1, tallies, share);
    }

    fn sum(&self, numbers: Range<u64>, into: &mut Tallies) {
        for (_, tallies) in self.slots.iter().filter(|(number, _)| numbers.contains(number)) {
            merge(into, tallies, 1.0);
        }
    }
}

fn merge(into: &mut Tallies, tallies: &Tallies, share: f64) {
    for (id, tally) in tallies {
        into.entry(id.clone()).or_default().add(tally, share);
    }
}
