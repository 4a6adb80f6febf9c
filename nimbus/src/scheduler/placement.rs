//! A topology while a plan is being made: what it runs where, and what of it has no place.

use galerna_protocol::{TaskRange, WorkerId};

use super::board::{Board, Demand};
use super::components::Components;
use super::{Assignment, Handover, TopologyView};

/// An executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Executor {
    pub(super) tasks: TaskRange,
    /// Its component's place in the topology.
    pub(super) component: usize,
}

/// A worker that runs something.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) supervisor: usize,
    pub(super) slot: u32,
    /// In no particular order.
    pub(super) executors: Vec<Executor>,
    pub(super) demand: Demand,
}

impl Worker {
    fn runs(&self, task: u32) -> bool {
        self.executors.iter().any(|executor| executor.tasks.tasks().contains(&task))
    }
}

/// Why something has no place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Refusal {
    /// There are no tasks.
    Empty,
    /// No slot is free for it.
    Slots,
    /// The supervisors with free slots have too little left; this is what its largest worker asks for.
    Resources(Demand),
}

/// A topology.
#[derive(Debug)]
pub(super) struct Placement<'a> {
    pub(super) id: &'a str,
    pub(super) view: &'a TopologyView,
    pub(super) components: Components,
    /// What runs something, or will.
    pub(super) workers: Vec<Worker>,
    /// Executors without a place.
    pub(super) homeless: Vec<Executor>,
    /// Workers on avoided supervisors, which are better off elsewhere.
    pub(super) failing: Vec<Worker>,
    /// The slots that it holds on living supervisors since before this plan, ascending.
    pub(super) held: Vec<(usize, u32)>,
    /// Why something stays on a supervisor that is leaving.
    pub(super) stranded: Option<Refusal>,
    /// Whether tasks are on their way: until they have arrived, nothing else is moved.
    pub(super) is_handing_over: bool,
    /// Whether its assignment has to be made anew.
    pub(super) is_changed: bool,
    /// Why `homeless` or `failing` stay what they are.
    pub(super) refusal: Option<Refusal>,
    /// Why a rebalance is not carried out.
    pub(super) rebalance_refusal: Option<Refusal>,
}

impl<'a> Placement<'a> {
    /// Takes what the topology runs, and enters it on the board.
    pub(super) fn adopt(id: &'a str, view: &'a TopologyView, board: &mut Board<'_>) -> Self {
        let mut placement = Self {
            id,
            view,
            components: Components::new(view),
            workers: Vec::new(),
            homeless: Vec::new(),
            failing: Vec::new(),
            held: Vec::new(),
            stranded: None,
            is_handing_over: false,
            is_changed: false,
            refusal: None,
            rebalance_refusal: None,
        };
        if let Some(assignment) = &view.assignment {
            placement.adopt_assignment(assignment, board);
        }
        placement
    }

    fn adopt_assignment(&mut self, assignment: &Assignment, board: &mut Board<'_>) {
        let mut coverage = self.components.coverage();
        for (id, ranges) in &assignment.workers {
            let place = board.find(&id.supervisor).filter(|at| board.take(*at, id.slot));
            let executor = |range: &TaskRange| {
                let component = coverage.cover(&self.components, *range)?;
                Some(Executor { tasks: *range, component })
            };
            let executors: Vec<Executor> = ranges.iter().filter_map(executor).collect();
            self.is_changed |= executors.len() != ranges.len();
            let Some(supervisor) = place else {
                // A lost worker that only released tasks leaves nothing to place, but has to go.
                self.is_changed |= ranges.is_empty();
                self.homeless.extend(executors);
                continue;
            };
            self.held.push((supervisor, id.slot));
            if executors.is_empty() {
                continue;
            }
            let demand = self.demand(&executors);
            board.load(supervisor, demand);
            let is_failing = self.view.avoid.contains(&id.supervisor);
            let list = if is_failing { &mut self.failing } else { &mut self.workers };
            list.push(Worker { supervisor, slot: id.slot, executors, demand });
        }
        let missing = coverage.missing(&self.components);
        self.homeless.extend(missing.into_iter().map(|(component, tasks)| Executor { tasks, component }));
        self.homeless.sort_by_key(|executor| executor.tasks.first);
        self.held.sort_unstable();
        self.is_handing_over = assignment.handovers.iter().any(|handover| self.is_going_on(handover, board));
    }

    /// Whether both ends of a handover are alive.
    pub(super) fn is_going_on(&self, handover: &Handover, board: &Board<'_>) -> bool {
        let from = board.find(&handover.from.supervisor);
        from.is_some_and(|from| self.holds(from, handover.from.slot))
            && handover.tasks.iter().any(|task| self.workers.iter().any(|worker| worker.runs(*task)))
    }

    pub(super) fn demand(&self, executors: &[Executor]) -> Demand {
        self.components.demand(executors)
    }

    /// Whether something of it has no place, or only a bad one.
    pub(super) fn is_waiting(&self) -> bool {
        self.view.assignment.is_none() && self.workers.is_empty()
            || !self.homeless.is_empty()
            || !self.failing.is_empty()
    }

    /// Whether what runs may be moved at all.
    pub(super) fn is_movable(&self) -> bool {
        !self.view.is_ending && !self.is_handing_over && !self.is_waiting()
    }

    /// Whether what runs may be moved for the sake of evenness. What is stranded may not: it would share
    /// out to those that are leaving.
    pub(super) fn is_at_ease(&self) -> bool {
        self.is_movable() && self.stranded.is_none()
    }

    /// What it runs on supervisors that are leaving.
    pub(super) fn leaving<'p>(&'p self, board: &'p Board<'_>) -> impl Iterator<Item = &'p Worker> {
        self.workers.iter().filter(|worker| board.supervisor(worker.supervisor).view.is_leaving)
    }

    /// How many workers `executors` are to run on.
    pub(super) fn wanted_workers(&self, executors: usize) -> usize {
        (self.view.workers.max(1) as usize).min(executors)
    }

    pub(super) fn executor_count(&self) -> usize {
        self.workers.iter().map(|worker| worker.executors.len()).sum()
    }

    /// Whether new workers of it may be put there.
    pub(super) fn may_use(&self, board: &Board<'_>, at: usize) -> bool {
        let id = board.supervisor(at).id;
        self.view.allowed.as_ref().is_none_or(|allowed| allowed.contains(id)) && !self.view.avoid.contains(id)
    }

    /// How many workers run on a supervisor.
    pub(super) fn workers_on(&self, at: usize) -> usize {
        self.workers.iter().filter(|worker| worker.supervisor == at).count()
    }

    /// Whether a slot was its own before this plan: then it stays taken until its tasks are released.
    pub(super) fn holds(&self, supervisor: usize, slot: u32) -> bool {
        self.held.binary_search(&(supervisor, slot)).is_ok()
    }

    /// Takes what a worker runs off the board; its slot only if nothing has to be released there.
    pub(super) fn vacate(&self, board: &mut Board<'_>, worker: &Worker) {
        board.unload(worker.supervisor, worker.demand);
        if !self.holds(worker.supervisor, worker.slot) {
            board.release(worker.supervisor, worker.slot);
        }
    }

    /// Gives back the slots of workers that run nothing and release nothing that still has to be moved.
    pub(super) fn let_go(&mut self, board: &mut Board<'_>) -> Vec<(usize, u32)> {
        let handovers = self.view.assignment.iter().flat_map(|assignment| &assignment.handovers);
        let releasing: Vec<(usize, u32)> = handovers
            .filter(|handover| self.is_going_on(handover, board))
            .filter_map(|handover| Some((board.find(&handover.from.supervisor)?, handover.from.slot)))
            .collect();
        let running = || self.workers.iter().chain(&self.failing).map(|worker| (worker.supervisor, worker.slot));
        let is_needed = |held: &(usize, u32)| releasing.contains(held) || running().any(|place| place == *held);
        let (needed, idle): (Vec<_>, Vec<_>) = self.held.iter().copied().partition(is_needed);
        self.held = needed;
        for (supervisor, slot) in &idle {
            board.release(*supervisor, *slot);
        }
        idle
    }

    /// Takes back what was let go.
    pub(super) fn hold(&mut self, board: &mut Board<'_>, idle: Vec<(usize, u32)>) {
        for (supervisor, slot) in &idle {
            board.take(*supervisor, *slot);
        }
        self.held.extend(idle);
        self.held.sort_unstable();
    }

    pub(super) fn worker_id(board: &Board<'_>, supervisor: usize, slot: u32) -> WorkerId {
        WorkerId { supervisor: board.supervisor(supervisor).id.to_owned(), slot }
    }
}
