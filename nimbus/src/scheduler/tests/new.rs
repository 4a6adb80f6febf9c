//! New topologies: where they go, and what is said when there is no room.

use std::collections::BTreeSet;
use std::sync::Arc;

use galerna_protocol::TaskRange;

use super::world::{World, supervisor, worker};
use crate::scheduler::{Assignment, Decision, executors_of};

fn shortfall(world: &mut World, id: &str) -> String {
    world.step().topologies[id].shortfall.clone().expect("something is missing")
}

#[test]
fn tasks_of_a_component_are_cut_into_at_most_as_many_executors() {
    let ranges = |tasks, executors| executors_of(4, tasks, executors);
    assert_eq!(ranges(5, 2), [TaskRange::new(4, 6), TaskRange::new(7, 8)]);
    assert_eq!(ranges(2, 9), [TaskRange::new(4, 4), TaskRange::new(5, 5)]);
    assert_eq!(ranges(2, 0), [TaskRange::new(4, 5)]);
    assert_eq!(ranges(0, 3), []);
}

#[test]
fn new_topology_gets_its_workers_on_different_supervisors_with_a_mix_of_components_each() {
    let mut world = World::new(&[("a", 4), ("b", 4), ("c", 4)]);
    world.submit("t", 3, &[(3, 3), (6, 3), (3, 3)]);
    let plan = world.step();
    assert_eq!(plan.topologies["t"].shortfall, None);
    let workers = &world.assignment("t").workers;
    assert!(workers.keys().eq([&worker("a", 6701), &worker("b", 6701), &worker("c", 6701)]));
    assert_eq!(workers[&worker("a", 6701)], [TaskRange::new(1, 1), TaskRange::new(4, 5), TaskRange::new(10, 10)]);
    world.assert_stable();
}

#[test]
fn more_workers_than_executors_are_not_opened() {
    let mut world = World::new(&[("a", 4)]);
    world.submit("t", 3, &[(4, 2)]);
    assert_eq!(world.step().topologies["t"].shortfall, None);
    assert_eq!(world.loads()["a"], 2);
}

#[test]
fn too_few_slots_make_it_run_on_fewer_workers_and_say_so() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit("first", 3, &[(3, 3)]);
    world.submit("second", 3, &[(4, 4)]);
    let text = shortfall(&mut world, "second");
    assert_eq!(
        text,
        "runs on 1 worker of 3: needs 2 slots, none is free: 2 supervisors with 4 slots run 4 workers; \
         add supervisors or slots, or kill a topology"
    );
}

#[test]
fn topologies_are_served_in_the_order_in_which_they_were_submitted() {
    let mut world = World::new(&[("a", 2)]);
    world.submit("z", 2, &[(2, 2)]);
    world.submit("a", 1, &[(1, 1)]);
    let text = shortfall(&mut world, "a");
    assert_eq!(
        text,
        "needs 1 slot, none is free: 1 supervisor with 2 slots runs 2 workers; \
         add supervisors or slots, or kill a topology"
    );
    assert_eq!(world.step().topologies["a"].decision, Decision::Unplaced);
    world.view.topologies.remove("z");
    world.settle();
    assert_eq!(world.loads()["a"], 1);
}

#[test]
fn without_supervisors_nothing_is_placed_and_starting_one_is_advised() {
    let mut world = World::default();
    world.submit("t", 1, &[(1, 1)]);
    assert_eq!(shortfall(&mut world, "t"), "no supervisor is there; start one");
}

#[test]
fn what_may_not_be_used_is_not_used_and_named() {
    let mut world = World::new(&[("arm", 1), ("bad", 1), ("going", 1)]);
    world.set_leaving("going", true);
    let topology = world.submit("t", 1, &[(1, 1)]);
    topology.allowed = Some(Arc::new(BTreeSet::from(["bad".to_owned(), "going".to_owned()])));
    topology.avoid = BTreeSet::from(["bad".to_owned()]);
    assert_eq!(
        shortfall(&mut world, "t"),
        "needs 1 slot, none is free: 3 supervisors with 3 slots run 0 workers, 1 of them is leaving, \
         1 of them has another platform, 1 of them failed to start its workers; \
         add supervisors or slots, or kill a topology"
    );
    world.topology("t").allowed = None;
    world.step();
    assert_eq!(world.loads()["arm"], 1);
}

#[test]
fn announced_memory_is_not_exceeded_by_what_is_asked_for() {
    let mut world = World::new(&[("large", 4), ("small", 4)]);
    world.view.supervisors.get_mut("large").expect("there").memory_mb = 1000.0;
    world.view.supervisors.get_mut("small").expect("there").memory_mb = 600.0;
    for id in ["one", "two", "three"] {
        world.submit(id, 1, &[(2, 2)]).components[0].memory_mb = 200.0;
    }
    world.step();
    assert_eq!(world.loads()["large"], 2);
    assert_eq!(world.loads()["small"], 1);
    world.submit("four", 1, &[(2, 2)]).components[0].memory_mb = 200.0;
    assert_eq!(
        shortfall(&mut world, "four"),
        "needs 400 MiB for a worker, at most 200 MiB is left on a supervisor with a free slot: \
         2 supervisors with 8 slots run 3 workers; add supervisors, ask for less CPU or memory, or kill a topology"
    );
    // In two workers it would fit.
    world.topology("four").workers = 2;
    world.step();
    assert_eq!(world.assignment("four").workers.len(), 1 + 1);
}

#[test]
fn what_asks_for_nothing_runs_where_others_use_all() {
    let mut world = World::new(&[("a", 4)]);
    world.view.supervisors.get_mut("a").expect("there").cpu = 100.0;
    world.submit("greedy", 1, &[(1, 1)]).components[0].cpu = 100.0;
    world.submit("modest", 1, &[(1, 1)]);
    world.step();
    assert_eq!(world.loads()["a"], 2);
}

#[test]
fn nonsense_is_survived() {
    let mut world = World::new(&[("a", 0), ("b", 1)]);
    world.view.supervisors.insert("c".to_owned(), supervisor(0));
    world.view.supervisors.get_mut("b").expect("there").cpu = f64::NAN;
    world.submit("empty", 3, &[]);
    let text = shortfall(&mut world, "empty");
    assert_eq!(text, "it has no tasks; give its components some");
    let topology = world.submit("odd", 0, &[(2, 0)]);
    topology.components[0].cpu = -1.0;
    topology.components[0].memory_mb = f64::INFINITY;
    world.step();
    assert_eq!(world.loads()["b"], 1);
}

#[test]
fn an_assignment_comes_back_from_its_message_as_it_was() {
    let mut world = World::new(&[("a", 2), ("b", 2)]);
    world.submit("t", 1, &[(4, 4)]);
    world.step();
    let topology = world.topology("t");
    (topology.workers, topology.is_rebalance_wanted) = (2, true);
    world.step();
    let assignment = world.assignment("t");
    let message = assignment.to_message(|id| (format!("{id}.example"), format!("{id}.example:6628")));
    assert_eq!(message.workers[1].host, "b.example");
    assert_eq!(message.handovers.len(), 1);
    assert_eq!(Assignment::from(&message), *assignment);
}
