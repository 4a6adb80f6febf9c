//! What holds whatever happens to a cluster.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::{Place, World, handed_over, supervisor};
use crate::scheduler::{Decision, TopologyView};

#[derive(Clone, Debug)]
enum Happening {
    Submit { workers: u32, sizes: Vec<(u32, u32)> },
    Kill(prop::sample::Index),
    Lose(prop::sample::Index),
    Return { slots: u32 },
    Rebalance { topology: prop::sample::Index, workers: u32, executors: u32 },
    Avoid { topology: prop::sample::Index, supervisor: prop::sample::Index },
    Leave(prop::sample::Index),
    Release,
}

fn sizes() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1u32..7, 1u32..7), 1..4)
}

fn happening(has_failures: bool, has_leaving: bool) -> impl Strategy<Value = Happening> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (1u32..6, sizes()).prop_map(|(workers, sizes)| Happening::Submit { workers, sizes }),
        1 => index().prop_map(Happening::Kill),
        2 => index().prop_map(Happening::Lose),
        2 => (1u32..5).prop_map(|slots| Happening::Return { slots }),
        2 => (index(), 1u32..6, 1u32..7)
            .prop_map(|(topology, workers, executors)| Happening::Rebalance { topology, workers, executors }),
        u32::from(has_failures) => (index(), index())
            .prop_map(|(topology, supervisor)| Happening::Avoid { topology, supervisor }),
        u32::from(has_leaving) => index().prop_map(Happening::Leave),
        2 => Just(Happening::Release),
    ]
}

fn pick<T: Clone>(keys: impl Iterator<Item = T>, index: &prop::sample::Index) -> Option<T> {
    let keys: Vec<T> = keys.collect();
    (!keys.is_empty()).then(|| keys[index.index(keys.len())].clone())
}

/// What takes place in the world, before the scheduler looks at it.
fn happen(world: &mut World, number: usize, happening: &Happening) {
    let view = &mut world.view;
    match happening {
        Happening::Submit { workers, sizes } => {
            world.submit(&format!("t{number}"), *workers, sizes);
        }
        Happening::Kill(index) => {
            pick(view.topologies.keys().cloned(), index).map(|id| view.topologies.remove(&id));
        }
        Happening::Lose(index) => {
            pick(view.supervisors.keys().cloned(), index).map(|id| view.supervisors.remove(&id));
        }
        Happening::Return { slots } => {
            let missing = (0..6).map(|number| format!("s{number}")).find(|id| !view.supervisors.contains_key(id));
            missing.map(|id| view.supervisors.insert(id, supervisor(*slots)));
        }
        Happening::Rebalance { topology, workers, executors } => {
            if let Some(topology) = pick(view.topologies.keys().cloned(), topology) {
                let topology = world.topology(&topology);
                (topology.workers, topology.is_rebalance_wanted) = (*workers, true);
                topology.components[0].executors = *executors;
            }
        }
        Happening::Avoid { topology, supervisor } => {
            let supervisor = pick(view.supervisors.keys().cloned(), supervisor);
            if let (Some(topology), Some(supervisor)) = (pick(view.topologies.keys().cloned(), topology), supervisor) {
                world.topology(&topology).avoid = BTreeSet::from([supervisor]);
            }
        }
        Happening::Leave(index) => {
            if let Some(id) = pick(view.supervisors.keys().cloned(), index) {
                let is_leaving = view.supervisors[&id].is_leaving;
                world.set_leaving(&id, !is_leaving);
            }
        }
        Happening::Release => world.finish_handovers(),
    }
}

/// Tasks that ran on a place that is there no more, of topologies that are placed elsewhere now.
fn lost_tasks(before: &World, after: &World) -> usize {
    let mut lost = 0;
    for (id, topology) in &after.view.topologies {
        let is_replaced = topology.assignment != before.view.topologies[id].assignment;
        let is_gone = |supervisor: &str| !after.view.supervisors.contains_key(supervisor);
        let places = before.places(id);
        lost += places.values().filter(|(worker, _)| is_replaced && is_gone(&worker.supervisor)).count();
    }
    lost
}

/// Tasks that moved, and how many of them are handed over.
fn moved_tasks(before: &World, after: &World) -> (usize, usize) {
    let mut moved = 0;
    let mut released = 0;
    for (id, topology) in &after.view.topologies {
        let (old, new) = (before.places(id), after.places(id));
        moved += new.iter().filter(|(task, place)| old.get(task).is_some_and(|old| old != *place)).count();
        let is_new = topology.assignment != before.view.topologies[id].assignment;
        released += topology.assignment.iter().filter(|_| is_new).map(|one| handed_over(one).len()).sum::<usize>();
    }
    (moved, released)
}

/// The most tasks that can stay where they are, if `counts` of one task each are dealt evenly to
/// `workers` workers.
fn most_that_stay(counts: &[usize], workers: usize) -> usize {
    let all: usize = counts.iter().sum();
    let (share, surplus) = (all / workers, all % workers);
    let subsets = (0u32..1 << counts.len()).filter(|subset| subset.count_ones() as usize <= workers);
    let stay = |subset: u32| {
        let kept = counts.iter().enumerate().filter(|(at, _)| subset & (1 << at) != 0).map(|(_, count)| *count);
        let larger = kept.clone().filter(|count| *count > share).count();
        kept.map(|count| count.min(share)).sum::<usize>() + larger.min(surplus)
    };
    subsets.map(stay).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// `step` checks every plan: all tasks once, no slot twice, handovers as they have to be.
    #[test]
    fn whatever_happens_plans_are_valid_and_come_to_rest(
        happenings in prop::collection::vec(happening(true, true), 1..25),
        needs in prop::collection::vec((0u32..3, 0u32..3), 3),
        limits in prop::collection::vec(0u32..20, 6),
    ) {
        let mut world = World::new(&[("s0", 3), ("s1", 4), ("s2", 2)]);
        for (number, happening) in happenings.iter().enumerate() {
            happen(&mut world, number, happening);
            for (supervisor, limit) in world.view.supervisors.values_mut().zip(&limits) {
                supervisor.cpu = f64::from(*limit) * 1.1;
            }
            for topology in world.view.topologies.values_mut() {
                for (component, (cpu, memory_mb)) in topology.components.iter_mut().zip(&needs) {
                    (component.cpu, component.memory_mb) = (f64::from(*cpu) / 3.0, f64::from(*memory_mb));
                }
            }
            world.step();
        }
        world.settle();
    }

    #[test]
    fn plan_that_was_carried_out_leads_to_no_other(
        happenings in prop::collection::vec(happening(false, true), 1..25),
    ) {
        let mut world = World::new(&[("s0", 4), ("s1", 4), ("s2", 4)]);
        for (number, happening) in happenings.iter().enumerate() {
            happen(&mut world, number, happening);
            world.step();
            world.assert_stable();
        }
    }

    #[test]
    fn loss_moves_what_was_lost_at_once_and_hands_over_nothing(
        topologies in prop::collection::vec(sizes(), 1..20),
        supervisors in 2u32..6,
        lost in any::<prop::sample::Index>(),
        is_single in any::<bool>(),
    ) {
        let mut world = World::default();
        for number in 0..supervisors {
            world.view.supervisors.insert(format!("s{number}"), supervisor(8));
        }
        for (number, sizes) in topologies.iter().enumerate() {
            world.submit(&format!("t{number}"), if is_single { 1 } else { 2 }, sizes);
        }
        world.step();
        let loads = world.loads();
        let (least, most) = (loads.values().min().expect("some"), loads.values().max().expect("some"));
        prop_assert!(most - least <= 1, "{loads:?}");
        let before = world.clone();
        let id = pick(world.view.supervisors.keys().cloned(), &lost).expect("some");
        world.lose(&id);
        world.step();
        let (moved, released) = moved_tasks(&before, &world);
        prop_assert_eq!(moved - released, lost_tasks(&before, &world));
        if is_single {
            prop_assert_eq!(released, 0);
        }
        world.assert_stable();
        world.view.supervisors.insert(id, supervisor(8));
        world.step();
        world.assert_stable();
        world.finish_handovers();
        world.assert_stable();
        let loads = world.loads();
        let (least, most) = (loads.values().min().expect("some"), loads.values().max().expect("some"));
        prop_assert!(*most < least + 2 || *most < 2 * least, "{loads:?}");
    }

    #[test]
    fn supervisors_that_leave_keep_nothing_and_no_other_task_moves(
        topologies in prop::collection::vec((1u32..4, sizes()), 1..15),
        supervisors in 2u32..6,
        leaving in prop::collection::btree_set(0u32..6, 1..4),
        are_slots_scarce in any::<bool>(),
    ) {
        let mut world = World::default();
        for number in 0..supervisors {
            world.view.supervisors.insert(format!("s{number}"), supervisor(40));
        }
        for (number, (workers, sizes)) in topologies.iter().enumerate() {
            world.submit(&format!("t{number}"), *workers, sizes);
        }
        world.settle();
        let leaving: Vec<String> = leaving.iter().filter(|number| **number < supervisors).map(|number| format!("s{number}")).collect();
        let does_one_stay = leaving.len() < supervisors as usize;
        if are_slots_scarce {
            // Nothing is free: what leaves can only join the workers of its topology elsewhere.
            for (id, supervisor) in &mut world.view.supervisors {
                let used = world.view.topologies.values().filter_map(|topology| topology.assignment.as_ref());
                let used: BTreeSet<u32> = used.flat_map(|one| one.workers.keys()).filter(|worker| worker.supervisor == *id).map(|worker| worker.slot).collect();
                supervisor.slots.retain(|slot| used.contains(slot));
            }
        }
        let before = world.clone();
        for id in &leaving {
            world.set_leaving(id, true);
        }
        let plan = world.step();
        for id in world.view.topologies.keys() {
            let (old, new) = (before.places(id), world.places(id));
            let has_gone = |place: &Place| leaving.contains(&place.0.supervisor);
            let has_others = old.values().any(|place| !has_gone(place));
            let released = handed_over(world.assignment(id));
            for (task, place) in &old {
                let must_move = has_gone(place) && does_one_stay && (has_others || !are_slots_scarce);
                prop_assert_eq!(new[task] != *place, must_move, "task {} of {}", task, id);
                prop_assert_eq!(released.contains_key(task), must_move);
                prop_assert!(must_move || !has_gone(place) || plan.topologies[id].shortfall.is_some());
            }
        }
        world.assert_stable();
        world.finish_handovers();
        world.assert_stable();
        // They come back, with nothing: each once moved back is enough.
        for id in &leaving {
            world.set_leaving(id, false);
        }
        world.settle();
        let loads = world.loads();
        let (least, most) = (loads.values().min().expect("some"), loads.values().max().expect("some"));
        prop_assert!(are_slots_scarce || *most < least + 2 || *most < 2 * least, "{loads:?}");
    }

    /// A task moves when its supervisor goes, and back to one that has come back empty: not more often.
    #[test]
    fn restart_of_all_one_by_one_moves_no_task_without_need(
        topologies in prop::collection::vec(sizes(), 1..30),
        supervisors in 2u32..6,
    ) {
        let mut world = World::default();
        for number in 0..supervisors {
            world.view.supervisors.insert(format!("s{number}"), supervisor(80));
        }
        for (number, sizes) in topologies.iter().enumerate() {
            world.submit(&format!("t{number}"), 1, sizes);
        }
        world.settle();
        for number in 0..supervisors {
            let id = format!("s{number}");
            let before = world.clone();
            world.set_leaving(&id, true);
            world.settle();
            prop_assert_eq!(world.loads()[&id], 0);
            let is_there = |(worker, _): &Place| worker.supervisor == id;
            let had_to: usize =
                before.view.topologies.keys().map(|id| before.places(id).values().filter(|place| is_there(place)).count()).sum();
            prop_assert_eq!(moved_tasks(&before, &world).0, had_to);
            world.lose(&id);
            world.assert_stable();
            world.view.supervisors.insert(id.clone(), supervisor(80));
            let before = world.clone();
            world.settle();
            // Whatever moves then, moves to the one that is back.
            for topology in world.view.topologies.keys() {
                let (old, new) = (before.places(topology), world.places(topology));
                prop_assert!(new.iter().all(|(task, place)| old[task] == *place || place.0.supervisor == id));
            }
        }
    }

    #[test]
    fn rebalance_moves_as_few_tasks_as_possible(
        tasks in 1u32..40,
        slots in prop::collection::vec(1u32..4, 1..5),
        workers in 1u32..7,
        next_workers in 1u32..7,
    ) {
        let mut world = World::default();
        for (number, slots) in slots.iter().enumerate() {
            world.view.supervisors.insert(format!("s{number}"), supervisor(*slots));
        }
        world.submit("t", workers, &[(tasks, tasks)]);
        world.step();
        // What two lost workers leave behind is not even any more.
        if slots.len() > 2 {
            world.lose("s0");
            world.settle();
        }
        let before = world.clone();
        world.view.supervisors.insert("more".to_owned(), supervisor(8));
        let topology: &mut TopologyView = world.topology("t");
        (topology.workers, topology.is_rebalance_wanted) = (next_workers, true);
        let plan = world.step();
        let counts: Vec<usize> = before.assignment("t").workers.values().map(Vec::len).collect();
        let running = world.assignment("t").workers.values().filter(|executors| !executors.is_empty()).count();
        prop_assert_eq!(running, next_workers.min(tasks) as usize);
        let (moved, released) = moved_tasks(&before, &world);
        prop_assert_eq!(moved, released);
        let is_relieved = matches!(plan.topologies["t"].decision, Decision::Assign(_)) && moved > 0;
        let bound = tasks as usize - most_that_stay(&counts, running);
        prop_assert!(moved >= bound, "{moved} moved, {bound} had to");
        // An idle supervisor may have taken over whole workers besides.
        let loads = world.loads();
        prop_assert!(moved == bound || (is_relieved && loads["more"] > 0), "{moved} moved, {bound} had to");
    }
}
