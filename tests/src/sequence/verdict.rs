//! Whether the engine kept its promises, from what the files say at the end.

use std::collections::BTreeMap;
use std::fmt;

use super::log::{Ack, Facts, Id, SequenceLog};

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Different numbers that were emitted.
    pub numbers: usize,
    /// Emissions after one that failed.
    pub replays: usize,
    /// Emissions by a later run of what an earlier one had emitted already.
    pub reread: usize,
    /// Arrivals of a number that had arrived before.
    pub duplicates: usize,
    /// Emitted, but not at the end of the way.
    pub lost: Broken,
    /// Emitted, but never acked.
    pub never_acked: Broken,
    /// Acked before they were at the end of the way.
    pub acked_early: Broken,
    /// Acked more often in one run than they were emitted in it.
    pub acked_twice: Broken,
    /// At the end of the way, or acked, though never emitted.
    pub invented: Broken,
    /// First emissions that overtook others between the same runs of tasks.
    pub out_of_order: Broken,
}

/// Violations of one promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// How often it was broken.
    pub count: usize,
    /// The first few.
    pub examples: Vec<String>,
}

impl Broken {
    fn new(cases: impl IntoIterator<Item = String>) -> Self {
        let mut broken = Self::default();
        for case in cases {
            broken.count += 1;
            if broken.examples.len() < 5 {
                broken.examples.push(case);
            }
        }
        broken
    }

    fn of<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Self {
        Self::new(ids.into_iter().map(|(task, number)| format!("{task}/{number}")))
    }
}

impl SequenceLog {
    /// Judges what was read. Only when the topology has come to its end: before that, numbers on
    /// their way count as lost.
    pub fn verdict(&self) -> Verdict {
        let Facts { emitted, acked, seen, out_of_order, .. } = &self.facts;
        let emissions = || emitted.values().flatten();
        let replays = emissions().filter(|emission| emission.is_replay).count();
        let arrivals: usize = seen.values().map(Vec::len).sum();
        Verdict {
            numbers: emitted.len(),
            replays,
            reread: emissions().count() - replays - emitted.len(),
            duplicates: arrivals - seen.len(),
            lost: Broken::of(emitted.keys().filter(|id| !seen.contains_key(id))),
            never_acked: Broken::of(emitted.keys().filter(|id| !acked.contains_key(id))),
            acked_early: Broken::of(acked.iter().filter(|(id, acks)| is_early(acks, seen.get(id))).map(|(id, _)| id)),
            acked_twice: Broken::of(acked.iter().filter(|(id, acks)| self.is_acked_twice(id, acks)).map(|(id, _)| id)),
            invented: Broken::of(seen.keys().chain(acked.keys()).filter(|id| !emitted.contains_key(id))),
            out_of_order: Broken::new(out_of_order.iter().cloned()),
        }
    }

    fn is_acked_twice(&self, id: &Id, acks: &[Ack]) -> bool {
        let mut runs: BTreeMap<i64, usize> = BTreeMap::new();
        for ack in acks {
            *runs.entry(ack.run).or_default() += 1;
        }
        runs.into_iter().any(|(run, acks)| acks > self.emissions_in(id, run))
    }
}

/// Whether the first ack came before the number had arrived at all.
fn is_early(acks: &[Ack], seen: Option<&Vec<i64>>) -> bool {
    let first_ack = acks.iter().map(|ack| ack.at).min();
    let first_seen = seen.into_iter().flatten().min();
    first_seen.is_none_or(|seen| first_ack.is_some_and(|ack| ack < *seen))
}

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_good(&self) -> bool {
        self.numbers > 0 && self.promises().iter().all(|(_, broken)| broken.count == 0)
    }

    fn promises(&self) -> [(&'static str, &Broken); 6] {
        [
            ("lost", &self.lost),
            ("never acked", &self.never_acked),
            ("acked before they had arrived", &self.acked_early),
            ("acked more often than emitted", &self.acked_twice),
            ("never emitted", &self.invented),
            ("out of order", &self.out_of_order),
        ]
    }
}

/// `12000 numbers, 30 replays, 0 reread, 12 duplicates`, and a line for each broken promise.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { numbers, replays, reread, duplicates, .. } = self;
        write!(f, "{numbers} numbers, {replays} replays, {reread} reread, {duplicates} duplicates")?;
        for (promise, Broken { count, examples }) in self.promises() {
            if *count > 0 {
                write!(f, "\n{count} {promise}: {}", examples.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
