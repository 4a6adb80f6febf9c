//! Measures the scheduler on large clusters, and sees to it that a loss moves what was lost and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_nimbus::scheduler::{
    Assignment, ClusterView, ComponentView, Decision, SupervisorView, TopologyView, clear_handovers, schedule,
};
use galerna_protocol::WorkerId;
use serde::Serialize;
use tokio::time::Instant;

const SLOTS: u32 = 10;
/// Of each topology: one slot in ten stays free.
const WORKERS: u32 = 9;

/// The figures of one cluster.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    supervisors: usize,
    topologies: usize,
    executors: usize,
    workers: usize,
    /// Medians.
    from_nothing_ms: f64,
    after_a_loss_ms: f64,
    after_a_return_ms: f64,
    to_empty_one_ms: f64,
    without_a_change_ms: f64,
    /// How many tasks ran on the supervisor that was lost: all that moved.
    lost_tasks: usize,
}

/// As many supervisors as topologies: a thousand, and ten thousand.
pub(crate) fn measure() -> Result<Vec<Figures>> {
    Ok(vec![measure_cluster(1_000, 9)?, measure_cluster(10_000, 3)?])
}

pub(crate) fn print(figures: &[Figures]) {
    for figures in figures {
        let Figures { supervisors, topologies, executors, workers, lost_tasks, .. } = figures;
        println!("{supervisors} supervisors, {topologies} topologies, {workers} workers, {executors} executors");
        println!("  placed from nothing        {:>8.2} ms", figures.from_nothing_ms);
        println!("  after a supervisor's loss  {:>8.2} ms ({lost_tasks} tasks moved)", figures.after_a_loss_ms);
        println!("  after its return           {:>8.2} ms", figures.after_a_return_ms);
        println!("  to empty one that leaves   {:>8.2} ms", figures.to_empty_one_ms);
        println!("  nothing to do              {:>8.2} ms", figures.without_a_change_ms);
    }
    println!("Storm 2.8.3, DefaultScheduler, 1000 supervisors and 100000 executors: 9500 ms and 250 ms");
}

fn measure_cluster(size: u32, rounds: usize) -> Result<Figures> {
    let mut view = cluster(size);
    let from_nothing = median(rounds, || schedule(&view));
    apply(&mut view)?;
    let without_a_change = median(rounds, || schedule(&view));
    ensure!(apply(&mut view)? == 0, "a plan that was carried out leads to another one");

    let placed = places(&view);
    let lost_id = format!("node-{:05}", size / 2);
    let lost = view.supervisors.remove(&lost_id).context("no supervisor was lost")?;
    let after_a_loss = median(rounds, || schedule(&view));
    apply(&mut view)?;
    let moved = places(&view);
    let lost_tasks = placed.values().filter(|(worker, _)| worker.supervisor == lost_id).count();
    let moved_tasks = moved.iter().filter(|(task, place)| placed.get(task) != Some(place)).count();
    ensure!(moved.len() == placed.len(), "{} tasks of {} are placed", moved.len(), placed.len());
    ensure!(moved_tasks == lost_tasks, "{moved_tasks} tasks moved where {lost_tasks} were lost");

    view.supervisors.insert(lost_id.clone(), lost);
    let after_a_return = median(rounds, || schedule(&view));
    ensure!(apply(&mut view)? > 0, "a supervisor that returned gets no work");
    ensure!(apply(&mut view)? == 0, "a plan that was carried out leads to another one");

    clear_handovers_of(&mut view);
    let placed = places(&view);
    let leaving = view.supervisors.get_mut(&lost_id).context("none is leaving")?;
    (leaving.is_leaving, leaving.accepts_new_work) = (true, false);
    let to_empty_one = median(rounds, || schedule(&view));
    apply(&mut view)?;
    let moved = places(&view);
    let left = moved.values().filter(|(worker, _)| worker.supervisor == lost_id).count();
    ensure!(left == 0, "{left} tasks stay on a supervisor that is leaving");
    let is_needless = |(task, place): (&(String, u32), &(WorkerId, u32))| {
        placed.get(task) != Some(place) && placed.get(task).is_some_and(|(worker, _)| worker.supervisor != lost_id)
    };
    let needless = moved.iter().filter(|place| is_needless(*place)).count();
    ensure!(needless == 0, "{needless} tasks of other supervisors moved");
    ensure!(apply(&mut view)? == 0, "a plan that was carried out leads to another one");
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Figures {
        supervisors: size as usize,
        topologies: size as usize,
        executors: view.topologies.values().flat_map(|one| &one.components).map(|one| one.executors as usize).sum(),
        workers: (size * WORKERS) as usize,
        from_nothing_ms: millis(from_nothing),
        after_a_loss_ms: millis(after_a_loss),
        after_a_return_ms: millis(after_a_return),
        to_empty_one_ms: millis(to_empty_one),
        without_a_change_ms: millis(without_a_change),
        lost_tasks,
    })
}

/// Topologies of a hundred executors: twenty of a spout, fifty of a bolt, thirty of another one that
/// runs two tasks in each.
fn cluster(size: u32) -> ClusterView {
    let slots: Vec<u32> = (6701..6701 + SLOTS).collect();
    let supervisor = SupervisorView { slots, accepts_new_work: true, ..SupervisorView::default() };
    let component = |first_task, tasks, executors| ComponentView { first_task, tasks, executors, ..Default::default() };
    let components = vec![component(1, 20, 20), component(21, 50, 50), component(71, 60, 30)];
    let topology = |number: u32| TopologyView {
        submitted_unix_ms: i64::from(number),
        components: components.clone(),
        workers: WORKERS,
        ..TopologyView::default()
    };
    ClusterView {
        supervisors: (0..size).map(|number| (format!("node-{number:05}"), supervisor.clone())).collect(),
        topologies: (0..size).map(|number| (format!("topology-{number}"), topology(number))).collect(),
    }
}

/// Carries out a plan; how many assignments it changes.
fn apply(view: &mut ClusterView) -> Result<usize> {
    let mut changed = 0;
    for (id, plan) in schedule(view).topologies {
        let topology = view.topologies.get_mut(&id).context("a plan names an unknown topology")?;
        match plan.decision {
            Decision::Assign(assignment) => topology.assignment = Some(assignment),
            Decision::Unchanged => continue,
            Decision::Unplaced => anyhow::bail!("{id} is not placed: {}", plan.shortfall.unwrap_or_default()),
        }
        changed += 1;
    }
    Ok(changed)
}

/// Has all that is being handed over arrive.
fn clear_handovers_of(view: &mut ClusterView) {
    let assignments = view.topologies.values_mut().filter_map(|topology| topology.assignment.as_mut());
    for assignment in assignments.filter(|assignment| !assignment.handovers.is_empty()) {
        *assignment = clear_handovers(assignment);
    }
}

/// Where each task runs: its worker, and the first task of its executor.
fn places(view: &ClusterView) -> BTreeMap<(String, u32), (WorkerId, u32)> {
    let assigned = view.topologies.iter().filter_map(|(id, one)| Some((id, one.assignment.as_ref()?)));
    let tasks = |(id, assignment): (&String, &Assignment)| {
        let mut tasks = Vec::new();
        for (worker, executors) in &assignment.workers {
            for executor in executors {
                tasks.extend(executor.tasks().map(|task| ((id.clone(), task), (worker.clone(), executor.first))));
            }
        }
        tasks
    };
    assigned.flat_map(tasks).collect()
}

fn median<T>(rounds: usize, mut work: impl FnMut() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let began = Instant::now();
            std::hint::black_box(work());
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[rounds / 2]
}
