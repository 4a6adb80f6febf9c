//! A cluster on paper: plans are checked, then carried out.

use std::collections::{BTreeMap, BTreeSet};

use galerna_protocol::{TaskRange, WorkerId};

use crate::scheduler::{
    Assignment, ClusterView, ComponentView, Decision, Plan, SupervisorView, TopologyView, clear_handovers, schedule,
};

/// A task's worker, and the first task of its executor.
pub(super) type Place = (WorkerId, u32);

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) view: ClusterView,
}

pub(super) fn supervisor(slots: u32) -> SupervisorView {
    SupervisorView { slots: (6701..6701 + slots).collect(), accepts_new_work: true, ..SupervisorView::default() }
}

/// Components of so many (tasks, executors), with numbers as they are given out.
pub(super) fn components(sizes: &[(u32, u32)]) -> Vec<ComponentView> {
    let mut first_task = 1;
    let component = |(tasks, executors): &(u32, u32)| {
        let first = first_task;
        first_task += tasks;
        ComponentView { first_task: first, tasks: *tasks, executors: *executors, ..ComponentView::default() }
    };
    sizes.iter().map(component).collect()
}

pub(super) fn worker(supervisor: &str, slot: u32) -> WorkerId {
    WorkerId::new(supervisor, slot)
}

impl World {
    pub(super) fn new(supervisors: &[(&str, u32)]) -> Self {
        let mut world = Self::default();
        for (id, slots) in supervisors {
            world.view.supervisors.insert((*id).to_owned(), supervisor(*slots));
        }
        world
    }

    /// Submits a topology.
    pub(super) fn submit(&mut self, id: &str, workers: u32, sizes: &[(u32, u32)]) -> &mut TopologyView {
        let submitted_unix_ms = self.view.topologies.len() as i64;
        let view =
            TopologyView { submitted_unix_ms, components: components(sizes), workers, ..TopologyView::default() };
        self.view.topologies.entry(id.to_owned()).or_insert(view)
    }

    pub(super) fn topology(&mut self, id: &str) -> &mut TopologyView {
        self.view.topologies.get_mut(id).expect("submitted")
    }

    pub(super) fn assignment(&self, id: &str) -> &Assignment {
        self.view.topologies[id].assignment.as_ref().expect("assigned")
    }

    /// Has a supervisor say that it is about to go, or that it stays.
    pub(super) fn set_leaving(&mut self, supervisor: &str, is_leaving: bool) {
        let supervisor = self.view.supervisors.get_mut(supervisor).expect("there");
        (supervisor.is_leaving, supervisor.accepts_new_work) = (is_leaving, !is_leaving);
    }

    pub(super) fn lose(&mut self, supervisor: &str) -> SupervisorView {
        self.view.supervisors.remove(supervisor).expect("there")
    }

    /// Makes a plan, checks all that must be true of any, and carries it out.
    pub(super) fn step(&mut self) -> Plan {
        let plan = schedule(&self.view);
        assert!(plan.topologies.keys().eq(self.view.topologies.keys()), "every topology is decided about");
        for (id, plan) in &plan.topologies {
            match &plan.decision {
                Decision::Assign(assignment) => {
                    self.check(id, assignment);
                    self.topology(id).assignment = Some(assignment.clone());
                }
                Decision::Unplaced => assert!(plan.shortfall.is_some(), "{id} says why it is not placed"),
                Decision::Unchanged => {}
            }
        }
        self.check_slots(&plan);
        plan
    }

    /// Carries out plans, and lets all handovers come to their end, until nothing changes; how many
    /// plans that took.
    pub(super) fn settle(&mut self) -> usize {
        for plans in 0..50 {
            let plan = self.step();
            self.finish_handovers();
            if plan.topologies.values().all(|plan| !matches!(plan.decision, Decision::Assign(_))) {
                return plans;
            }
        }
        panic!("it does not come to rest: {:#?}", self.view);
    }

    pub(super) fn finish_handovers(&mut self) {
        for topology in self.view.topologies.values_mut() {
            let pending = topology.assignment.as_mut().filter(|assignment| !assignment.handovers.is_empty());
            if let Some(assignment) = pending {
                *assignment = clear_handovers(assignment);
            }
        }
    }

    /// A plan changes nothing.
    pub(super) fn assert_stable(&self) {
        for (id, plan) in schedule(&self.view).topologies {
            assert!(!matches!(plan.decision, Decision::Assign(_)), "{id} changes again: {plan:?} in {:#?}", self.view);
        }
    }

    /// How many workers run something on each supervisor that is there.
    pub(super) fn loads(&self) -> BTreeMap<String, usize> {
        let mut loads: BTreeMap<String, usize> = self.view.supervisors.keys().map(|id| (id.clone(), 0)).collect();
        for assignment in self.view.topologies.values().filter_map(|topology| topology.assignment.as_ref()) {
            for (id, _) in assignment.workers.iter().filter(|(_, executors)| !executors.is_empty()) {
                loads.entry(id.supervisor.clone()).and_modify(|load| *load += 1);
            }
        }
        loads
    }

    pub(super) fn places(&self, id: &str) -> BTreeMap<u32, Place> {
        self.view.topologies[id].assignment.as_ref().map(places).unwrap_or_default()
    }

    fn check(&self, id: &str, new: &Assignment) {
        let topology = &self.view.topologies[id];
        let all: BTreeSet<u32> =
            topology.components.iter().flat_map(|one| one.first_task..one.first_task + one.tasks).collect();
        let executors: Vec<&TaskRange> = new.workers.values().flatten().collect();
        let tasks: Vec<u32> = executors.iter().flat_map(|executor| executor.tasks()).collect();
        assert_eq!(tasks.len(), all.len(), "{id} has every task once: {new:?}");
        assert_eq!(tasks.into_iter().collect::<BTreeSet<u32>>(), all, "{id} has every task");
        for component in &topology.components {
            let last = component.first_task + component.tasks - 1;
            let own = executors.iter().filter(|executor| (component.first_task..=last).contains(&executor.first));
            assert!(own.clone().all(|executor| executor.last <= last), "executors run one component");
            assert!(own.count() <= component.tasks as usize, "executors ≤ tasks");
        }
        for (worker, executors) in &new.workers {
            let is_needed = !executors.is_empty() || new.handovers.iter().any(|handover| handover.from == *worker);
            assert!(is_needed, "{worker} is there for something");
        }
        self.check_leaving(id, new);
        let Some(old) = &topology.assignment else {
            assert_eq!((new.generation, new.handovers.len()), (1, 0), "what is new has nothing to hand over");
            return;
        };
        assert_eq!(new.generation, old.generation + 1);
        self.check_handovers(id, old, new);
    }

    /// A supervisor that is leaving gets nothing that it does not have.
    fn check_leaving(&self, id: &str, new: &Assignment) {
        let before = self.view.topologies[id].assignment.as_ref().map(places).unwrap_or_default();
        for (task, place) in places(new) {
            let supervisor = self.view.supervisors.get(&place.0.supervisor);
            let is_fine = supervisor.is_none_or(|one| !one.is_leaving) || before.get(&task) == Some(&place);
            assert!(is_fine, "task {task} of {id} comes to {place:?}, which is leaving");
        }
    }

    /// A task stays put, is handed over by its living worker, or was lost.
    fn check_handovers(&self, id: &str, old: &Assignment, new: &Assignment) {
        let (before, after) = (places(old), places(new));
        let pending: BTreeMap<u32, &WorkerId> = handed_over(old);
        let handed_over = handed_over(new);
        for (task, place) in &after {
            let is_lost = |worker: &WorkerId| {
                let supervisor = self.view.supervisors.get(&worker.supervisor);
                supervisor.is_none_or(|one| !one.slots.contains(&worker.slot))
                    || self.view.topologies[id].avoid.contains(&worker.supervisor)
                        && old.workers.get(worker).is_some_and(|executors| !executors.is_empty())
            };
            let expected = match before.get(task) {
                Some(previous) if previous == place => pending.get(task).copied().filter(|from| !is_lost(from)),
                Some((worker, _)) if !is_lost(worker) => Some(worker),
                _ => None,
            };
            assert_eq!(handed_over.get(task).copied(), expected, "task {task} of {id}: {old:?} to {new:?}");
        }
    }

    /// Nobody else has the slot of any worker; it exists, or its topology waits for room.
    fn check_slots(&self, plan: &Plan) {
        let mut taken = BTreeSet::new();
        for (id, topology) in &self.view.topologies {
            for worker in topology.assignment.iter().flat_map(|assignment| assignment.workers.keys()) {
                if let Some(supervisor) = self.view.supervisors.get(&worker.supervisor) {
                    let waits = plan.topologies[id].shortfall.is_some();
                    assert!(supervisor.slots.contains(&worker.slot) || waits, "{worker} of {id} is there");
                    assert!(taken.insert(worker), "{worker} of {id} is its own");
                }
            }
        }
    }
}

pub(super) fn places(assignment: &Assignment) -> BTreeMap<u32, Place> {
    let executors = assignment.workers.iter().flat_map(|(id, executors)| executors.iter().map(move |one| (id, one)));
    executors.flat_map(|(id, one)| one.tasks().map(move |task| (task, (id.clone(), one.first)))).collect()
}

pub(super) fn handed_over(assignment: &Assignment) -> BTreeMap<u32, &WorkerId> {
    let handovers = assignment.handovers.iter();
    handovers.flat_map(|handover| handover.tasks.iter().map(|task| (*task, &handover.from))).collect()
}
