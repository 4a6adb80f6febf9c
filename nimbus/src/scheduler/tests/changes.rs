//! Losses, returns, rebalances and failing workers: what moves, and what does not.

use std::collections::BTreeSet;

use galerna_protocol::TaskRange;

use super::world::{World, handed_over, supervisor, worker};
use crate::scheduler::{Decision, clear_handovers_from, schedule};

/// How many tasks run elsewhere than in `before`.
fn moved(world: &World, before: &World, id: &str) -> usize {
    let (before, after) = (before.places(id), world.places(id));
    after.iter().filter(|(task, place)| before.get(task) != Some(place)).count()
}

#[test]
fn lost_supervisor_moves_what_it_ran_at_once_and_nothing_else() {
    let mut world = World::new(&[("a", 4), ("b", 4), ("c", 4)]);
    world.submit("t", 3, &[(6, 6), (3, 3)]);
    world.submit("u", 2, &[(4, 4)]);
    world.step();
    let before = world.clone();
    world.lose("b");
    let lost_of_t = before.places("t").values().filter(|(worker, _)| worker.supervisor == "b").count();
    let lost_of_u = before.places("u").values().filter(|(worker, _)| worker.supervisor == "b").count();
    world.step();
    assert_eq!((moved(&world, &before, "t"), moved(&world, &before, "u")), (lost_of_t, lost_of_u));
    assert_eq!(lost_of_t, 3);
    assert!(world.assignment("t").handovers.is_empty());
    assert_eq!(world.assignment("t").workers.len(), 3);
    world.assert_stable();
}

#[test]
fn without_a_free_slot_lost_executors_join_the_workers_that_are_left_and_spread_again_later() {
    let mut world = World::new(&[("a", 1), ("b", 1), ("c", 1)]);
    world.submit("t", 3, &[(9, 9)]);
    world.step();
    let c = world.lose("c");
    let plan = world.step();
    assert!(plan.topologies["t"].shortfall.as_ref().is_some_and(|text| text.starts_with("runs on 2 workers of 3: ")));
    let counts: Vec<usize> = world.assignment("t").workers.values().map(Vec::len).collect();
    assert_eq!(counts, [5, 4]);
    world.assert_stable();
    let before = world.clone();
    world.view.supervisors.insert("c".to_owned(), c);
    world.step();
    assert_eq!(moved(&world, &before, "t"), 3);
    assert_eq!(handed_over(world.assignment("t")).len(), 3);
    world.assert_stable();
    world.finish_handovers();
    world.assert_stable();
    assert!(world.assignment("t").workers.values().all(|executors| executors.len() == 3));
}

#[test]
fn what_finds_no_room_stays_assigned_and_goes_on_when_its_supervisor_returns() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    world.submit("t", 1, &[(2, 2)]);
    world.submit("u", 1, &[(2, 2)]);
    world.step();
    let a = world.lose("a");
    let plan = world.step();
    assert_eq!(plan.topologies["t"].decision, Decision::Unchanged);
    assert_eq!(
        plan.topologies["t"].shortfall.as_deref(),
        Some(
            "2 executors of lost workers cannot be placed anew: needs 1 slot, none is free: \
             1 supervisor with 1 slot runs 1 worker; add supervisors or slots, or kill a topology"
        )
    );
    world.view.supervisors.insert("a".to_owned(), a);
    assert!(
        world.step().topologies.values().all(|plan| plan.decision == Decision::Unchanged && plan.shortfall.is_none())
    );
}

#[test]
fn ten_topologies_follow_a_supervisor_that_leaves_and_comes_back() {
    let mut world = World::new(&[("a", 20), ("b", 20)]);
    for number in 0..10 {
        world.submit(&format!("t{number}"), 1, &[(2, 2)]);
    }
    world.step();
    assert!(world.loads().values().eq([&5, &5]));
    let b = world.lose("b");
    let plan = world.step();
    let moved = plan.topologies.values().filter(|plan| matches!(plan.decision, Decision::Assign(_))).count();
    assert_eq!((moved, world.loads()["a"]), (5, 10));
    world.view.supervisors.insert("b".to_owned(), b);
    let plan = world.step();
    let moved = plan.topologies.values().filter(|plan| matches!(plan.decision, Decision::Assign(_))).count();
    assert_eq!(moved, 5);
    assert!(world.loads().values().eq([&5, &5]));
    world.assert_stable();
    world.finish_handovers();
    world.assert_stable();
}

#[test]
fn small_differences_move_nothing() {
    let mut world = World::new(&[("a", 9), ("b", 9)]);
    for number in 0..10 {
        world.submit(&format!("t{number}"), 1, &[(1, 1)]);
    }
    world.step();
    for id in ["t1", "t3"] {
        world.view.topologies.remove(id);
    }
    assert!(world.loads().values().eq([&5, &3]));
    world.assert_stable();
}

#[test]
fn idle_supervisor_relieves_a_topology_that_shares_one() {
    let mut world = World::new(&[("a", 4)]);
    world.submit("alone", 1, &[(1, 1)]);
    world.submit("shared", 2, &[(8, 8)]);
    world.step();
    world.view.supervisors.insert("b".to_owned(), supervisor(4));
    let plan = world.step();
    assert_eq!(plan.topologies["alone"].decision, Decision::Unchanged);
    assert!(world.loads().values().eq([&2, &1]));
    assert_eq!(handed_over(world.assignment("shared")).len(), 4);
    // The worker that releases them is kept until it has.
    assert_eq!(world.assignment("shared").workers.len(), 3);
}

#[test]
fn rebalance_to_more_workers_hands_over_what_they_are_to_get() {
    let mut world = World::new(&[("a", 4), ("b", 4)]);
    world.submit("t", 2, &[(4, 4), (4, 4), (4, 4)]);
    world.step();
    let before = world.clone();
    let topology = world.topology("t");
    (topology.workers, topology.is_rebalance_wanted) = (4, true);
    world.step();
    assert_eq!(moved(&world, &before, "t"), 6);
    world.assert_stable();
    world.finish_handovers();
    world.assert_stable();
    for executors in world.assignment("t").workers.values() {
        let components: BTreeSet<u32> = executors.iter().map(|executor| (executor.first - 1) / 4).collect();
        assert_eq!((executors.len(), components.len()), (3, 3), "a mix: {executors:?}");
    }
}

#[test]
fn rebalance_to_fewer_workers_keeps_those_that_release_tasks_until_they_have() {
    let mut world = World::new(&[("a", 1), ("b", 1), ("c", 1)]);
    world.submit("t", 3, &[(6, 6)]);
    world.step();
    let before = world.clone();
    let topology = world.topology("t");
    (topology.workers, topology.is_rebalance_wanted) = (2, true);
    world.step();
    assert_eq!(moved(&world, &before, "t"), 2);
    let released: Vec<_> = world.assignment("t").workers.iter().filter(|(_, executors)| executors.is_empty()).collect();
    assert_eq!(released.len(), 1);
    assert_eq!(world.assignment("t").handovers[0].from, *released[0].0);
    world.finish_handovers();
    assert_eq!(world.assignment("t").workers.len(), 2);
    world.assert_stable();
}

#[test]
fn tasks_that_change_their_executor_are_handed_over_even_within_a_worker() {
    let mut world = World::new(&[("a", 1)]);
    world.submit("t", 1, &[(6, 3)]);
    world.step();
    world.topology("t").components[0].executors = 2;
    world.assert_stable();
    world.topology("t").is_rebalance_wanted = true;
    world.step();
    // 1-2, 3-4, 5-6 become 1-3, 4-6: of those, 1 and 2 alone keep their executor.
    let assignment = world.assignment("t");
    assert_eq!(assignment.workers[&worker("a", 6701)], [TaskRange::new(1, 3), TaskRange::new(4, 6)]);
    assert_eq!(assignment.handovers[0].tasks, [3, 4, 5, 6]);
    assert_eq!(assignment.handovers[0].from, worker("a", 6701));
}

#[test]
fn while_tasks_are_handed_over_a_loss_is_repaired_and_the_rest_goes_on() {
    let mut world = World::new(&[("a", 4), ("b", 4)]);
    world.submit("t", 2, &[(6, 6)]);
    world.step();
    world.view.supervisors.insert("c".to_owned(), supervisor(4));
    let topology = world.topology("t");
    (topology.workers, topology.is_rebalance_wanted) = (3, true);
    world.step();
    assert_eq!(world.assignment("t").handovers.len(), 2);
    world.topology("t").workers = 1;
    world.assert_stable();
    world.topology("t").workers = 3;
    let running_at_b = world.assignment("t").workers[&worker("b", 6701)].len();
    let before = world.clone();
    world.lose("b");
    world.step();
    let assignment = world.assignment("t");
    assert_eq!(moved(&world, &before, "t"), running_at_b);
    assert!(assignment.handovers.iter().map(|handover| &handover.from).eq([&worker("a", 6701)]));
    let given_up = clear_handovers_from(assignment, &BTreeSet::from([worker("a", 6701)]));
    assert_eq!((given_up.handovers.len(), given_up.generation), (0, assignment.generation + 1));
}

#[test]
fn workers_that_fail_to_start_go_elsewhere_if_there_is_room() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit("t", 2, &[(4, 4)]);
    world.step();
    let before = world.clone();
    world.topology("t").avoid.insert("a".to_owned());
    world.step();
    assert_eq!(moved(&world, &before, "t"), 2);
    assert_eq!(world.loads()["b"], 2);
    assert!(world.assignment("t").handovers.is_empty());
    world.assert_stable();
    world.topology("t").avoid.insert("b".to_owned());
    let plan = world.step();
    assert_eq!(plan.topologies["t"].decision, Decision::Unchanged);
    assert_eq!(
        plan.topologies["t"].shortfall.as_deref(),
        Some("2 workers fail to start on a, b, and no other supervisor has room for them")
    );
}

#[test]
fn supervisor_that_accepts_nothing_new_keeps_its_workers() {
    let mut world = World::new(&[("a", 4), ("b", 4)]);
    world.submit("t", 2, &[(2, 2)]);
    world.step();
    world.view.supervisors.get_mut("b").expect("there").accepts_new_work = false;
    world.assert_stable();
    world.submit("u", 2, &[(2, 2)]);
    world.step();
    assert!(world.loads().values().eq([&3, &1]));
}

#[test]
fn supervisor_that_leaves_hands_all_its_tasks_to_new_workers_elsewhere() {
    let mut world = World::new(&[("a", 4), ("b", 4), ("c", 4)]);
    world.submit("t", 3, &[(6, 6), (3, 3)]);
    world.submit("u", 1, &[(4, 4)]);
    world.step();
    let before = world.clone();
    world.set_leaving("b", true);
    let plan = world.step();
    let had: Vec<u32> =
        before.places("t").iter().filter(|(_, (worker, _))| worker.supervisor == "b").map(|(task, _)| *task).collect();
    assert_eq!((moved(&world, &before, "t"), moved(&world, &before, "u")), (had.len(), 0));
    let assignment = world.assignment("t");
    let from = worker("b", 6701);
    assert!(handed_over(assignment).into_iter().eq(had.iter().map(|task| (*task, &from))));
    // The worker that releases them stays until it has, and another runs them all.
    assert_eq!((assignment.workers.len(), assignment.workers[&from].len()), (4, 0));
    assert_eq!(plan.topologies["t"].shortfall, None);
    world.assert_stable();
    world.finish_handovers();
    assert!(world.assignment("t").workers.keys().all(|worker| worker.supervisor != "b"));
    world.assert_stable();
}

#[test]
fn without_a_free_slot_what_leaves_joins_its_topology_and_what_is_alone_stays_and_says_so() {
    let mut world = World::new(&[("a", 1), ("b", 2)]);
    world.submit("t", 2, &[(6, 6)]);
    world.submit("u", 1, &[(2, 2)]);
    world.step();
    world.set_leaving("b", true);
    let plan = world.step();
    assert_eq!(world.assignment("t").workers[&worker("a", 6701)].len(), 6);
    assert_eq!(plan.topologies["u"].decision, Decision::Unchanged);
    assert_eq!(
        plan.topologies["u"].shortfall.as_deref(),
        Some(
            "2 executors stay on supervisor b, which is leaving: needs 1 slot, none is free: 2 supervisors with 3 slots \
             run 3 workers, 1 of them is leaving; add supervisors or slots, or kill a topology"
        )
    );
    world.finish_handovers();
    world.assert_stable();
    // A rebalance would give it more there.
    world.topology("u").components[0].executors = 1;
    world.topology("u").is_rebalance_wanted = true;
    world.assert_stable();
    world.set_leaving("b", false);
    world.step();
    assert_eq!(world.assignment("t").workers.values().filter(|executors| executors.len() == 3).count(), 2);
    assert_eq!(world.assignment("u").workers[&worker("b", 6702)].len(), 1);
}

#[test]
fn evacuation_waits_for_handovers_and_lost_executors_find_no_place_where_all_leave() {
    let mut world = World::new(&[("a", 4), ("b", 4)]);
    world.submit("t", 2, &[(6, 6)]);
    world.step();
    let topology = world.topology("t");
    (topology.workers, topology.is_rebalance_wanted) = (3, true);
    world.step();
    world.topology("t").is_rebalance_wanted = false;
    world.set_leaving("b", true);
    world.assert_stable();
    world.finish_handovers();
    world.step();
    assert_eq!(world.loads(), [("a".to_owned(), 3), ("b".to_owned(), 0)].into());
    // Of several that leave, nothing is lent to another one of them; what is lost is not either.
    world.finish_handovers();
    world.set_leaving("b", false);
    world.settle();
    assert!(world.loads()["b"] > 0);
    world.set_leaving("b", true);
    world.lose("a");
    let plan = world.step();
    assert_eq!(plan.topologies["t"].decision, Decision::Unchanged);
    let shortfall = plan.topologies["t"].shortfall.as_deref().expect("it has no place");
    assert!(shortfall.contains("executors of lost workers cannot be placed anew: needs 1 slot"), "{shortfall}");
    world.view.supervisors.insert("c".to_owned(), supervisor(1));
    world.step();
    // What is lost comes first; the rest joins it.
    assert!(world.assignment("t").workers.iter().all(|(worker, has)| (worker.supervisor == "c") != has.is_empty()));
}

#[test]
fn topology_that_ends_is_left_where_it_is_when_its_supervisor_leaves() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit("t", 1, &[(2, 2)]);
    world.step();
    world.topology("t").is_ending = true;
    world.set_leaving("a", true);
    let plan = world.step();
    assert_eq!((&plan.topologies["t"].decision, &plan.topologies["t"].shortfall), (&Decision::Unchanged, &None));
}

#[test]
fn what_asks_for_more_than_is_left_elsewhere_stays_and_the_rest_goes() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    for (id, cpu) in [("a", 100.0), ("b", 400.0)] {
        world.view.supervisors.get_mut(id).expect("there").cpu = cpu;
    }
    world.submit("t", 1, &[(1, 1), (1, 1)]);
    world.topology("t").components[0].cpu = 50.0;
    world.topology("t").components[1].cpu = 300.0;
    world.step();
    assert_eq!(world.loads()["b"], 1);
    world.set_leaving("b", true);
    let plan = world.step();
    let assignment = world.assignment("t");
    assert_eq!(assignment.workers[&worker("a", 6701)], [TaskRange::new(1, 1)]);
    assert_eq!(assignment.workers[&worker("b", 6701)], [TaskRange::new(2, 2)]);
    let shortfall = plan.topologies["t"].shortfall.as_deref().expect("a part stays");
    assert!(
        shortfall.starts_with("1 executor stays on supervisor b, which is leaving: needs 300 % of a core"),
        "{shortfall}"
    );
    world.finish_handovers();
    world.assert_stable();
}

#[test]
fn topology_that_ends_holds_its_slots_and_is_not_touched() {
    let mut world = World::new(&[("a", 1), ("b", 1)]);
    world.submit("t", 2, &[(2, 2)]);
    world.step();
    world.topology("t").is_ending = true;
    world.lose("b");
    world.submit("u", 1, &[(1, 1)]);
    let plan = world.step();
    assert_eq!(plan.topologies["t"].decision, Decision::Unchanged);
    assert_eq!(plan.topologies["u"].decision, Decision::Unplaced);
}

#[test]
fn broken_assignment_is_repaired() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit("t", 2, &[(4, 4), (4, 2)]);
    world.step();
    let broken = world.topology("t").assignment.as_mut().expect("assigned");
    let executors = broken.workers.get_mut(&worker("a", 6701)).expect("there");
    executors[0] = TaskRange::new(9, 12);
    executors.push(TaskRange::new(3, 2));
    executors.push(TaskRange::new(2, 2));
    let elsewhere = broken.workers.remove(&worker("b", 6701)).expect("there");
    broken.workers.insert(worker("b", 7000), elsewhere);
    world.step();
    assert_eq!(world.places("t").len(), 8);
    world.assert_stable();
}

#[test]
fn slot_that_two_topologies_claim_stays_with_the_older_one() {
    let mut world = World::new(&[("a", 2)]);
    world.submit("t", 1, &[(1, 1)]);
    world.step();
    let taken = world.topology("t").assignment.clone();
    world.submit("u", 1, &[(1, 1)]).assignment = taken;
    let plan = schedule(&world.view);
    assert_eq!(plan.topologies["t"].decision, Decision::Unchanged);
    let Decision::Assign(assignment) = &plan.topologies["u"].decision else { panic!("it stays: {plan:?}") };
    assert!(assignment.workers.keys().eq([&worker("a", 6702)]));
}
