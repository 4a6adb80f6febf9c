//! Deals executors to workers evenly: each gets as many as the others, or one more, and a mix of components.

use std::cmp::Reverse;

use super::placement::{Executor, Worker};

/// One after the other to `workers` workers, as Storm's even scheduler does.
pub(super) fn deal_in_turn(executors: &[Executor], workers: usize) -> Vec<Vec<Executor>> {
    (0..workers).map(|at| executors.iter().skip(at).step_by(workers).copied().collect()).collect()
}

/// What workers have been dealt.
#[derive(Debug)]
pub(super) struct Dealt {
    counts: Vec<usize>,
    /// Of each worker: how many executors it has of each component.
    components: Vec<Vec<usize>>,
}

impl Dealt {
    /// Workers that have these executors, and `opened` that have none.
    pub(super) fn new<'e>(workers: impl Iterator<Item = &'e [Executor]>, opened: usize) -> Self {
        let mut dealt = Self { counts: Vec::new(), components: Vec::new() };
        for executors in workers {
            dealt.counts.push(0);
            dealt.components.push(Vec::new());
            for executor in executors {
                dealt.add(dealt.counts.len() - 1, *executor);
            }
        }
        dealt.counts.resize(dealt.counts.len() + opened, 0);
        dealt.components.resize(dealt.counts.len(), Vec::new());
        dealt
    }

    pub(super) fn add(&mut self, at: usize, executor: Executor) {
        let components = &mut self.components[at];
        components.resize(components.len().max(executor.component + 1), 0);
        components[executor.component] += 1;
        self.counts[at] += 1;
    }

    fn of_component(&self, at: usize, component: usize) -> usize {
        self.components[at].get(component).copied().unwrap_or(0)
    }

    /// The worker with the fewest executors, among those the one with the fewest of this component.
    pub(super) fn emptiest(&self, executor: Executor, fits: impl Fn(usize) -> bool) -> Option<usize> {
        let key = |at: &usize| (self.counts[*at], self.of_component(*at, executor.component));
        (0..self.counts.len()).filter(|at| fits(*at)).min_by_key(key)
    }

    /// The worker below its quota with the fewest executors of this component, among those the emptiest.
    fn least_like(&self, executor: Executor, quotas: &[usize]) -> Option<usize> {
        let key = |at: &usize| (self.of_component(*at, executor.component), self.counts[*at]);
        (0..self.counts.len()).filter(|at| self.counts[*at] < quotas[*at]).min_by_key(key)
    }
}

/// An executor that some of its tasks need not be moved for, if it stays at its worker.
#[derive(Clone, Copy, Debug)]
struct Stay {
    /// Its place among all executors.
    at: usize,
    /// How many tasks stay put.
    tasks: u32,
    /// How many of its component come before it at the same worker.
    rank: usize,
    component: usize,
}

/// Where executors could stay: for each worker those that begin as one that runs there, the most
/// valuable first.
#[derive(Debug)]
pub(super) struct Stays(Vec<Vec<Stay>>);

impl Stays {
    pub(super) fn new(executors: &[Executor], workers: &[Worker]) -> Self {
        let mut running: Vec<(u32, u32, usize)> = Vec::new();
        for (at, worker) in workers.iter().enumerate() {
            running.extend(worker.executors.iter().map(|executor| (executor.tasks.first, executor.tasks.last, at)));
        }
        running.sort_unstable();
        let mut stays: Vec<Vec<Stay>> = vec![Vec::new(); workers.len()];
        for (at, executor) in executors.iter().enumerate() {
            let tasks = executor.tasks;
            let Ok(found) = running.binary_search_by_key(&tasks.first, |(first, ..)| *first) else { continue };
            let (first, last, worker) = running[found];
            let rank = stays[worker].iter().filter(|stay| stay.component == executor.component).count();
            let tasks = last.min(tasks.last) - first + 1;
            stays[worker].push(Stay { at, tasks, rank, component: executor.component });
        }
        for stays in &mut stays {
            stays.sort_by_key(|stay| (Reverse(stay.tasks), stay.rank, stay.at));
        }
        Self(stays)
    }

    /// How many tasks stay put if `executors` at most stay at a worker.
    pub(super) fn value(&self, worker: usize, executors: usize) -> u64 {
        self.0[worker].iter().take(executors).map(|stay| u64::from(stay.tasks)).sum()
    }

    /// Deals all executors to the workers that are kept and `opened` new ones, so that as few tasks as
    /// possible move. The result has the kept ones first, in their order.
    pub(super) fn deal(mut self, executors: &[Executor], kept: &[usize], opened: usize) -> Vec<Vec<Executor>> {
        let workers = kept.len() + opened;
        let share = executors.len() / workers;
        let quotas = self.quotas(kept, opened, share, executors.len() % workers);
        let mut parts: Vec<Vec<Executor>> = vec![Vec::new(); workers];
        let mut is_settled = vec![false; executors.len()];
        let components = 1 + executors.iter().map(|executor| executor.component).max().unwrap_or(0);
        for (place, worker) in kept.iter().enumerate() {
            let stays = &mut self.0[*worker];
            let leaving = stays.len().saturating_sub(quotas[place]);
            // Where it makes no difference, each worker gives away other components than its neighbour,
            // so that who gets them gets a mix.
            let turn = |stay: &Stay| (stay.component + place * leaving) % components;
            stays.sort_by_key(|stay| (Reverse(stay.tasks), stay.rank, turn(stay)));
            for stay in stays.iter().take(quotas[place]) {
                parts[place].push(executors[stay.at]);
                is_settled[stay.at] = true;
            }
        }
        let mut dealt = Dealt::new(parts.iter().map(Vec::as_slice), 0);
        for (executor, _) in executors.iter().zip(is_settled).filter(|(_, is_settled)| !is_settled) {
            // The quotas add up to the executors, so there is always one below its quota.
            let Some(at) = dealt.least_like(*executor, &quotas) else { continue };
            dealt.add(at, *executor);
            parts[at].push(*executor);
        }
        parts
    }

    /// How many executors each worker gets: those where one more would stay get the surplus.
    fn quotas(&self, kept: &[usize], opened: usize, share: usize, surplus: usize) -> Vec<usize> {
        let gain = |place: &usize| kept.get(*place).and_then(|at| self.0[*at].get(share)).map_or(0, |stay| stay.tasks);
        let mut places: Vec<usize> = (0..kept.len() + opened).collect();
        places.sort_by_key(|place| Reverse(gain(place)));
        let mut quotas = vec![share; places.len()];
        for place in places.into_iter().take(surplus) {
            quotas[place] += 1;
        }
        quotas
    }
}
