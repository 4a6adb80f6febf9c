//! The room that is left on the supervisors while a plan is being made.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::{ClusterView, SupervisorView};

/// What a worker asks its supervisor for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Demand {
    /// Points of CPU.
    pub(super) cpu: f64,
    /// Mebibytes.
    pub(super) memory_mb: f64,
}

impl Demand {
    /// Numbers from outside, where nonsense asks for nothing.
    pub(super) fn new(cpu: f64, memory_mb: f64) -> Self {
        let sane = |number: f64| if number.is_finite() { number.max(0.0) } else { 0.0 };
        Self { cpu: sane(cpu), memory_mb: sane(memory_mb) }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, memory_mb: self.memory_mb + other.memory_mb }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { cpu: self.cpu - other.cpu, memory_mb: self.memory_mb - other.memory_mb }
    }

    pub(super) fn times(self, tasks: u32) -> Self {
        Self { cpu: self.cpu * f64::from(tasks), memory_mb: self.memory_mb * f64::from(tasks) }
    }
}

/// A supervisor and what is taken of it.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    pub(super) id: &'a str,
    pub(super) view: &'a SupervisorView,
    limit: Demand,
    slots: usize,
    /// The slots that nobody holds.
    free: BTreeSet<u32>,
    /// Workers that run something; one that only releases tasks holds a slot and is no load.
    load: usize,
    used: Demand,
}

impl Supervisor<'_> {
    pub(super) fn load(&self) -> usize {
        self.load
    }

    pub(super) fn free_slots(&self) -> usize {
        self.free.len()
    }

    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Whether it may get more than it has.
    pub(super) fn is_open(&self) -> bool {
        self.view.accepts_new_work && !self.view.is_leaving
    }

    /// What is left, infinite where nothing was announced.
    pub(super) fn left(&self) -> Demand {
        let left = |limit: f64, used: f64| if limit > 0.0 { (limit - used).max(0.0) } else { f64::INFINITY };
        Demand { cpu: left(self.limit.cpu, self.used.cpu), memory_mb: left(self.limit.memory_mb, self.used.memory_mb) }
    }

    /// Whether this much more can be asked of it. What asks for nothing fits everywhere.
    pub(super) fn fits(&self, demand: Demand) -> bool {
        // Sums of fractions must not decide: far below what anyone announces.
        const ROUNDING: f64 = 1e-6;
        let left = self.left();
        (demand.cpu <= 0.0 || demand.cpu <= left.cpu + ROUNDING)
            && (demand.memory_mb <= 0.0 || demand.memory_mb <= left.memory_mb + ROUNDING)
    }
}

/// Where a supervisor stands among those that can take a worker: the least loaded first, then the one
/// with most free slots, then by id.
type Rank = (usize, Reverse<usize>, usize);

/// All supervisors, by id; they are named by their place in that order.
#[derive(Debug)]
pub(super) struct Board<'a> {
    supervisors: Vec<Supervisor<'a>>,
    /// Their places by id; never iterated. Every running worker is looked up here.
    places: HashMap<&'a str, usize>,
    /// Those that take new work and have a free slot; none before `rank_all`.
    ranked: Option<BTreeSet<Rank>>,
}

impl<'a> Board<'a> {
    pub(super) fn new(view: &'a ClusterView) -> Self {
        let supervisors = view.supervisors.iter().map(|(id, supervisor)| {
            let free: BTreeSet<u32> = supervisor.slots.iter().copied().collect();
            let limit = Demand::new(supervisor.cpu, supervisor.memory_mb);
            Supervisor { id, view: supervisor, limit, slots: free.len(), free, load: 0, used: Demand::default() }
        });
        let places = view.supervisors.keys().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        Self { supervisors: supervisors.collect(), places, ranked: None }
    }

    /// Ranks the supervisors, once all that runs is on the board: from then on the order is kept.
    pub(super) fn rank_all(&mut self) {
        self.ranked = Some((0..self.supervisors.len()).filter_map(|at| self.rank(at)).collect());
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    pub(super) fn supervisor(&self, at: usize) -> &Supervisor<'a> {
        &self.supervisors[at]
    }

    pub(super) fn supervisors(&self) -> &[Supervisor<'a>] {
        &self.supervisors
    }

    /// Whether some are about to go.
    pub(super) fn has_leaving(&self) -> bool {
        self.supervisors.iter().any(|supervisor| supervisor.view.is_leaving)
    }

    /// Those that can take a worker, the best first.
    pub(super) fn ranked(&self) -> impl Iterator<Item = usize> {
        self.ranked.iter().flatten().map(|(.., at)| *at)
    }

    /// Takes a certain slot; false if somebody holds it or there is none such.
    pub(super) fn take(&mut self, at: usize, slot: u32) -> bool {
        self.change(at, |supervisor| supervisor.free.remove(&slot))
    }

    /// Takes the lowest free slot.
    pub(super) fn take_any(&mut self, at: usize) -> Option<u32> {
        self.change(at, |supervisor| supervisor.free.pop_first())
    }

    pub(super) fn release(&mut self, at: usize, slot: u32) {
        self.change(at, |supervisor| supervisor.free.insert(slot));
    }

    /// A worker begins to run something.
    pub(super) fn load(&mut self, at: usize, demand: Demand) {
        self.change(at, |supervisor| {
            supervisor.load += 1;
            supervisor.used = supervisor.used.plus(demand);
        });
    }

    /// A worker runs nothing any more.
    pub(super) fn unload(&mut self, at: usize, demand: Demand) {
        self.change(at, |supervisor| {
            supervisor.load -= 1;
            supervisor.used = supervisor.used.minus(demand);
        });
    }

    /// A worker asks for other things than before.
    pub(super) fn exchange(&mut self, at: usize, old: Demand, new: Demand) {
        let supervisor = &mut self.supervisors[at];
        supervisor.used = supervisor.used.minus(old).plus(new);
    }

    fn rank(&self, at: usize) -> Option<Rank> {
        let supervisor = &self.supervisors[at];
        let has_room = supervisor.is_open() && !supervisor.free.is_empty();
        has_room.then_some((supervisor.load, Reverse(supervisor.free.len()), at))
    }

    fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut Supervisor<'a>) -> R) -> R {
        let old = self.rank(at);
        let result = change(&mut self.supervisors[at]);
        let new = self.rank(at);
        if let Some(ranked) = self.ranked.as_mut().filter(|_| old != new) {
            old.map(|rank| ranked.remove(&rank));
            new.map(|rank| ranked.insert(rank));
        }
        result
    }
}
