//! What the files of the sequence check say so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::KEYS;
use crate::fault::between;
use crate::journal::{Follower, files};

/// Reads the files of one folder, again and again while they grow.
#[derive(Debug)]
pub struct SequenceLog {
    folder: PathBuf,
    followers: BTreeMap<PathBuf, Follower>,
    pub(super) facts: Facts,
}

/// A number of a spout task.
pub(super) type Id = (u32, u64);

/// All that was written down.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) emitted: BTreeMap<Id, Vec<Emission>>,
    pub(super) acked: BTreeMap<Id, Vec<Ack>>,
    /// When each number arrived at the end of its way.
    pub(super) seen: BTreeMap<Id, Vec<i64>>,
    /// The last first emission that came each way.
    last: BTreeMap<Way, u64>,
    pub(super) out_of_order: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Emission {
    run: i64,
    at: i64,
    pub(super) is_replay: bool,
}

#[derive(Debug)]
pub(super) struct Ack {
    pub(super) run: i64,
    pub(super) at: i64,
}

/// Task and run of spout, middle and end: on each such way numbers must ascend.
type Way = [(u32, i64); 3];

impl SequenceLog {
    /// The files in this folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), followers: BTreeMap::new(), facts: Facts::default() }
    }

    /// Reads what was added.
    ///
    /// # Errors
    /// When a file cannot be read, or a line is none of ours.
    pub fn refresh(&mut self) -> Result<()> {
        for kind in ["acked", "seen", "emitted"] {
            for path in files(&self.folder, kind)? {
                let text = self.followers.entry(path.clone()).or_default().read(&path)?;
                let start = Start::of(&path)?;
                for line in text.lines() {
                    self.facts
                        .take(kind, start, line)
                        .with_context(|| format!("`{line}` in {} is not as expected", path.display()))?;
                }
            }
        }
        Ok(())
    }

    /// The spout tasks that have emitted something.
    pub fn spout_tasks(&self) -> BTreeSet<u32> {
        self.facts.emitted.keys().map(|(task, _)| *task).collect()
    }

    /// How many numbers were acked.
    pub fn acked(&self) -> usize {
        self.facts.acked.len()
    }

    /// How many acks there were, those of replays included.
    pub fn acks(&self) -> usize {
        self.facts.acked.values().map(Vec::len).sum()
    }

    /// How many numbers were acked for the first time from `start` to `end`.
    pub fn acked_between(&self, start: i64, end: i64) -> usize {
        self.first_acks().filter(|at| (start..end).contains(at)).count()
    }

    /// When the first number was acked.
    pub fn first_ack(&self) -> Option<i64> {
        self.first_acks().min()
    }

    /// The longest time from `start` to `end` in which nothing arrived at the end of the way.
    pub fn longest_gap(&self, start: i64, end: i64) -> Duration {
        let mut arrivals: Vec<i64> = self.facts.seen.values().flatten().copied().collect();
        arrivals.retain(|at| (start..end).contains(at));
        arrivals.extend([start, end]);
        arrivals.sort_unstable();
        arrivals.windows(2).map(|pair| between(pair[0], pair[1])).max().unwrap_or_default()
    }

    /// How often a run has emitted a number.
    pub(super) fn emissions_in(&self, id: &Id, run: i64) -> usize {
        self.facts.emitted.get(id).into_iter().flatten().filter(|emission| emission.run == run).count()
    }

    fn first_acks(&self) -> impl Iterator<Item = i64> {
        self.facts.acked.values().filter_map(|acks| acks.iter().map(|ack| ack.at).min())
    }

    /// When tuples flowed again after something that happened at `fault`: from each spout task, for
    /// each key, one that was emitted after it has been acked. Then every way was gone once.
    pub fn flowing_again_at(&self, fault: i64) -> Option<i64> {
        let mut recovered: BTreeMap<(u32, u64), i64> = BTreeMap::new();
        for ((task, number), acks) in &self.facts.acked {
            let emissions = self.facts.emitted.get(&(*task, *number));
            for ack in acks.iter().filter(|ack| ack.at > fault) {
                let emitted = emissions.into_iter().flatten().filter(|emission| emission.run == ack.run);
                let last = emitted.map(|emission| emission.at).filter(|at| *at <= ack.at).max();
                if last.is_some_and(|at| at > fault) {
                    let at = recovered.entry((*task, number % KEYS)).or_insert(ack.at);
                    *at = ack.at.min(*at);
                }
            }
        }
        let ways = self.spout_tasks().len() * KEYS as usize;
        if ways == 0 || recovered.len() < ways {
            return None;
        }
        recovered.into_values().max()
    }
}

/// Whose file it is.
#[derive(Clone, Copy, Debug)]
struct Start {
    task: u32,
    run: i64,
}

impl Start {
    /// From a name like `acked-3-123456.txt`.
    fn of(path: &Path) -> Result<Self> {
        let stem = path.file_stem().and_then(|stem| stem.to_str()).context("a file without a name")?;
        let mut parts = stem.split('-').skip(1);
        Ok(Self { task: part(&mut parts)?, run: part(&mut parts)? })
    }
}

fn part<'a, T: std::str::FromStr>(parts: &mut impl Iterator<Item = &'a str>) -> Result<T> {
    parts.next().and_then(|part| part.parse().ok()).context("a number is missing")
}

impl Facts {
    fn take(&mut self, kind: &str, start: Start, line: &str) -> Result<()> {
        let mut parts = line.split(' ');
        let (at, number) = (part(&mut parts)?, part(&mut parts)?);
        let Start { task, run } = start;
        match kind {
            "emitted" => {
                let is_replay = part::<u8>(&mut parts)? == 1;
                self.emitted.entry((task, number)).or_default().push(Emission { run, at, is_replay });
            }
            "acked" => self.acked.entry((task, number)).or_default().push(Ack { run, at }),
            _ => {
                let is_replay = part::<u8>(&mut parts)? == 1;
                let spout = (part(&mut parts)?, part(&mut parts)?);
                let middle = (part(&mut parts)?, part(&mut parts)?);
                self.seen.entry((spout.0, number)).or_default().push(at);
                if !is_replay {
                    self.check_order([spout, middle, (task, run)], number);
                }
            }
        }
        Ok(())
    }

    fn check_order(&mut self, way: Way, number: u64) {
        if let Some(last) = self.last.insert(way, number)
            && last >= number
        {
            let [(spout, _), (middle, _), (end, _)] = way;
            self.out_of_order
                .push(format!("{spout}/{number} came behind {last} on the way {spout} → {middle} → {end}"));
        }
    }
}
