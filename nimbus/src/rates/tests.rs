//! Reports that are late, repeated or missing distort no rate.

use galerna_protocol::{ComponentLatency, HistogramReport, TaskReport};

use super::*;
use crate::spec::tests::component;

const AGE: Duration = Duration::from_secs(3);
const ID: &str = "words-1";

fn spec() -> TopologySpec {
    TopologySpec { components: vec![component("words", 1, 2), component("count", 3, 2)], ..Default::default() }
}

/// A worker that emits 100 tuples a second, busy for a quarter of its time.
fn worker(slot: u32, incarnation: u64, uptime_ms: u64) -> WorkerReport {
    let tuples = uptime_ms / 10;
    WorkerReport {
        topology_id: ID.into(),
        id: Some(WorkerId::new("a", slot)),
        incarnation,
        uptime_ms,
        state: WorkerState::Running.into(),
        tasks: vec![TaskReport { task: 1, emitted: tuples, busy_ns: uptime_ms * 250_000, ..Default::default() }],
        latencies: vec![ComponentLatency {
            component: "words".into(),
            execute: Some(HistogramReport { values: vec![2_000], counts: vec![tuples] }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

struct World {
    rates: Rates,
    began: Instant,
    spec: TopologySpec,
}

impl World {
    fn new() -> Self {
        Self { rates: Rates::default(), began: Instant::now(), spec: spec() }
    }

    fn at(&self, seconds: f64) -> Instant {
        self.began + Duration::from_secs_f64(seconds)
    }

    /// This supervisor reports these workers at this second.
    fn report(&mut self, supervisor: &str, seconds: f64, workers: Vec<WorkerReport>) {
        let report = SupervisorReport { supervisor: supervisor.into(), workers, ..Default::default() };
        let now = self.at(seconds);
        self.rates.take(&report, now, |id| (id == ID).then_some(&self.spec));
    }

    /// The length of a window, and the tuples a second in it.
    fn rate(&self, seconds: f64, length: u64) -> Option<(f64, f64)> {
        let sum = self.rates.over(ID, length, self.at(seconds), AGE)?;
        let emitted = sum.tallies.get("words").map_or(0.0, |tally| tally.emitted);
        Some((sum.seconds, emitted / sum.seconds))
    }
}

fn assert_about(found: Option<(f64, f64)>, seconds: f64, rate: f64) {
    let (length, per_second) = found.expect("there is a window");
    assert!((length - seconds).abs() < 0.6, "the window is {length} s long, expected {seconds}");
    assert!((per_second - rate).abs() <= rate * 0.02, "{per_second} tuples/s, expected {rate}");
}

#[test]
fn new_leader_says_for_how_long_it_has_watched_and_counts_nothing_from_before() {
    let mut world = World::new();
    world.report("a", 0.0, vec![worker(1, 1, 3_600_000)]);
    assert_eq!(world.rate(0.5, SHORT), None);
    for second in 1..=4 {
        world.report("a", f64::from(second) + 0.2, vec![worker(1, 1, 3_600_000 + 1000 * second as u64 + 200)]);
    }
    assert_about(world.rate(4.3, SHORT), 4.0, 100.0);
    assert_about(world.rate(4.3, LONG), 4.0, 100.0);
}

#[test]
fn worker_that_starts_under_a_known_supervisor_counts_from_its_first_tuple() {
    let mut world = World::new();
    world.report("a", 0.0, Vec::new());
    world.report("a", 5.0, vec![worker(1, 1, 900)]);
    world.report("a", 8.0, vec![worker(1, 1, 3_900)]);
    assert_about(world.rate(8.0, SHORT), 4.0, 100.0);
}

#[test]
fn reports_that_come_late_or_twice_change_no_rate() {
    let mut world = World::new();
    world.report("a", 0.0, Vec::new());
    let (mut uptime, mut time) = (0, 0.0);
    for round in 0..40 {
        // The supervisor reports each second; the worker's report is 0 to 0.9 s old, and sometimes the one before.
        time += 1.0;
        let age = f64::from(round * 7 % 10) / 10.0;
        if round % 5 != 3 {
            uptime = ((time - age) * 1000.0) as u64;
        }
        world.report("a", time, vec![worker(1, 1, uptime.max(1))]);
        if round > 15 {
            assert_about(world.rate(time, SHORT), 10.0, 100.0);
        }
    }
    let sum = world.rates.over(ID, SHORT, world.at(time), AGE).expect("a window");
    let tally = &sum.tallies["words"];
    assert!((tally.busy_ns / 1e9 / sum.seconds - 0.25).abs() < 0.01 && tally.tells_busy);
    let latency = tally.execute.latency().expect("it was measured");
    assert!((1.95..2.05).contains(&latency.p99), "{latency:?}");
}

#[test]
fn report_after_a_gap_is_spread_over_the_time_in_which_it_was_counted() {
    let mut world = World::new();
    world.report("a", 0.0, Vec::new());
    for second in 1..=10 {
        world.report("a", f64::from(second), vec![worker(1, 1, 1000 * second as u64)]);
    }
    world.report("a", 40.0, vec![worker(1, 1, 40_000)]);
    assert_about(world.rate(40.0, SHORT), 10.0, 100.0);
    assert_about(world.rate(40.0, LONG), 40.0, 100.0);
}

#[test]
fn rates_of_several_workers_add_up_and_those_of_a_dead_one_fade() {
    let mut world = World::new();
    world.report("a", 0.0, Vec::new());
    let second_of = |second: u64| (second as f64, 1000 * second);
    for (time, uptime) in (1..=20).map(second_of) {
        world.report("a", time, vec![worker(1, 1, uptime), worker(2, 1, uptime)]);
    }
    assert_about(world.rate(20.0, SHORT), 10.0, 200.0);
    // One worker ends. Counts that its supervisor adds to the final report are old.
    let mut gone = worker(2, 1, 20_000);
    gone.set_state(WorkerState::Gone);
    for (time, uptime) in (21..=40).map(second_of) {
        gone.tasks[0].emitted += 1_000_000;
        world.report("a", time, vec![worker(1, 1, uptime), gone.clone()]);
    }
    assert_about(world.rate(40.0, SHORT), 10.0, 100.0);
    assert_about(world.rate(40.0, LONG), 40.0, 150.0);
    assert_about(world.rate(60.0, SHORT), 10.0, 0.0);
}

#[test]
fn windows_begin_when_the_last_supervisor_is_heard() {
    let mut world = World::new();
    world.report("a", 0.0, vec![worker(1, 1, 60_000)]);
    for second in 1..=5 {
        world.report("a", f64::from(second), vec![worker(1, 1, 60_000 + 1000 * second as u64)]);
    }
    let of_b = |uptime| WorkerReport { id: Some(WorkerId::new("b", 1)), ..worker(1, 1, uptime) };
    world.report("b", 5.0, vec![of_b(90_000)]);
    for second in 6..=8 {
        world.report("a", f64::from(second), vec![worker(1, 1, 60_000 + 1000 * second as u64)]);
        world.report("b", f64::from(second), vec![of_b(85_000 + 1000 * second as u64)]);
    }
    assert_about(world.rate(8.0, SHORT), 3.0, 200.0);
}

#[test]
fn workers_of_an_earlier_version_have_rates_but_no_busy_share() {
    let mut world = World::new();
    world.report("a", 0.0, vec![WorkerReport { uptime_ms: 0, ..worker(1, 1, 5_000) }]);
    for second in 1..=12 {
        let report = WorkerReport { uptime_ms: 0, ..worker(1, 1, 5_000 + 1000 * second as u64) };
        world.report("a", f64::from(second), vec![report]);
    }
    assert_about(world.rate(12.0, SHORT), 10.0, 100.0);
    assert!(!world.rates.over(ID, SHORT, world.at(12.0), AGE).expect("a window").tallies["words"].tells_busy);
}

#[test]
fn what_is_gone_is_forgotten() {
    let mut world = World::new();
    world.report("a", 0.0, vec![worker(1, 1, 5_000)]);
    world.report("a", 2.0, vec![worker(1, 1, 7_000)]);
    world.rates.sweep(|_| false);
    assert_eq!(world.rate(2.0, SHORT), None);
    assert!(world.rates.launches.is_empty() && world.rates.series.is_empty());
}
