//! What comes of constructed reports.

use std::sync::Arc;

use galerna_coordination::keys::Desired;
use galerna_coordination::metrics::Exposition;
use galerna_protocol::{
    AssignedWorker, Assignment, ComponentLatency, ComponentSpec, HistogramReport, LaunchFailure, MOST_USER_METRICS,
    StreamReport, TaskRange, TaskReport, UserHistograms, UserMetrics, WorkerId,
};

use super::*;
use crate::view::{Dated, Seen};

/// A topology of a spout with task 1 and a bolt with tasks 2 and 3, of which slots 7 and 8 are assigned here.
fn view() -> View {
    let component = |id: &str, is_spout, first_task, tasks| ComponentSpec {
        id: id.to_owned(),
        is_spout,
        first_task,
        tasks,
        ..ComponentSpec::default()
    };
    let components = vec![component("words", true, 1, 1), component("count", false, 2, 2)];
    let spec = TopologySpec { name: "a \"b\"".to_owned(), components, ..TopologySpec::default() };
    let worker = |slot| AssignedWorker { id: Some(WorkerId::new("s", slot)), ..AssignedWorker::default() };
    let assignment = Assignment { generation: 1, workers: vec![worker(7), worker(8)], handovers: Vec::new() };
    let seen = Seen {
        spec: Some(Arc::new(spec)),
        desired: Some(Dated { value: Desired::default(), modified: 1 }),
        assignment: Some(Dated { value: assignment, modified: 1 }),
    };
    View { topologies: [("ab-1".to_owned(), Arc::new(seen))].into(), ..View::default() }
}

fn bolt_task(factor: u64) -> TaskReport {
    let stream = |from: &str, count| StreamReport {
        from: from.to_owned(),
        stream: "default".to_owned(),
        emitted: if from.is_empty() { count } else { 0 },
        executed: if from.is_empty() { 0 } else { count },
        acked: if from.is_empty() { 0 } else { count },
        failed: 0,
    };
    TaskReport {
        task: 2,
        emitted: factor,
        executed: 10 * factor,
        acked: 9 * factor,
        failed: factor,
        restarts: factor,
        errors: 2 * factor,
        pending: 3,
        queued: 5,
        queue_capacity: 50,
        blocked_ns: 500_000_000 * factor,
        streams: vec![stream("", factor), stream("words", 10 * factor)],
        ..TaskReport::default()
    }
}

fn worker(incarnation: u64, state: WorkerState, tasks: Vec<TaskReport>) -> WorkerReport {
    let histogram = HistogramReport { values: vec![9_984, 1_000_448], counts: vec![2, 3] };
    WorkerReport {
        topology_id: "ab-1".to_owned(),
        id: Some(WorkerId::new("s", 7)),
        incarnation,
        state: state.into(),
        executors: vec![TaskRange::new(1, 2)],
        tasks,
        latencies: vec![ComponentLatency {
            component: "count".to_owned(),
            execute: Some(histogram),
            ..ComponentLatency::default()
        }],
        fenced_batches: 4,
        started_unix_ms: 1_500,
        ..WorkerReport::default()
    }
}

fn exported(view: &View, workers: Vec<WorkerReport>, failures: Vec<LaunchFailure>) -> Exposition {
    let report = SupervisorReport { supervisor: "s".to_owned(), workers, failures, ..SupervisorReport::default() };
    let mut families = Families::default();
    add_topologies(&mut families, view, &report);
    Exposition::read(&families.into_text()).expect("it keeps to the rules")
}

#[test]
fn counts_are_summed_over_incarnations_and_levels_are_those_of_the_living_one() {
    let spout =
        TaskReport { task: 1, emitted: 70, acked: 60, replayed: 6, gave_up: 1, pending: 9, ..Default::default() };
    let gone = worker(1, WorkerState::Gone, vec![bolt_task(1)]);
    let living = worker(2, WorkerState::Running, vec![bolt_task(2), spout]);
    let read = exported(&view(), vec![gone, living], Vec::new());
    let labels = [("topology", "a \"b\""), ("topology_id", "ab-1"), ("component", "count"), ("task", "2")];
    for (name, expected) in [
        ("galerna_task_emitted_total", 3.0),
        ("galerna_task_executed_total", 30.0),
        ("galerna_task_acked_total", 27.0),
        ("galerna_task_failed_total", 3.0),
        ("galerna_task_restarts_total", 3.0),
        ("galerna_task_errors_total", 6.0),
        ("galerna_task_blocked_seconds_total", 1.5),
        ("galerna_task_up", 1.0),
        ("galerna_task_pending", 3.0),
        ("galerna_task_queued", 5.0),
        ("galerna_task_queue_capacity", 50.0),
        ("galerna_stream_emitted_total", 3.0),
        ("galerna_stream_executed_total", 30.0),
        ("galerna_stream_acked_total", 30.0),
        ("galerna_stream_failed_total", 0.0),
    ] {
        assert_eq!(read.sum(name, &labels), Some(expected), "{name}");
    }
    let own = [("stream", "default"), ("from", "")];
    assert_eq!(read.sum("galerna_stream_emitted_total", &own), Some(3.0));
    assert_eq!(read.samples("galerna_stream_executed_total", &own).count(), 0);
    for (name, expected) in [
        ("galerna_task_emitted_total", Some(70.0)),
        ("galerna_task_executed_total", None),
        ("galerna_task_acked_total", Some(60.0)),
        ("galerna_task_replayed_total", Some(6.0)),
        ("galerna_task_gave_up_total", Some(1.0)),
        ("galerna_task_pending", Some(9.0)),
        ("galerna_task_queued", None),
    ] {
        assert_eq!(read.sum(name, &[("component", "words")]), expected, "{name}");
    }
    let bucket = |le| read.sum("galerna_component_execute_seconds_bucket", &[("component", "count"), ("le", le)]);
    assert_eq!([bucket("0.00001"), bucket("0.001"), bucket("0.0025"), bucket("+Inf")], [4., 4., 10., 10.].map(Some));
    let sum = read.sum("galerna_component_execute_seconds_sum", &[]).expect("measured");
    assert!((sum - (4.0 * 9_984e-9 + 6.0 * 1_000_448e-9)).abs() < 1e-12, "{sum}");
    assert_eq!(read.sum("galerna_component_complete_seconds_count", &[]), None);
    assert_eq!(read.sum("galerna_worker_fenced_batches_total", &[]), Some(8.0));
    assert_eq!(read.sum("galerna_worker_start_time_seconds", &[("slot", "7")]), Some(1.5));
}

#[test]
fn tasks_that_moved_away_keep_their_counts_and_are_down_here() {
    let mut report = worker(2, WorkerState::Running, vec![bolt_task(2)]);
    report.executors = vec![TaskRange::new(1, 1)];
    let read = exported(&view(), vec![report], Vec::new());
    assert_eq!(read.sum("galerna_task_executed_total", &[("task", "2")]), Some(20.0));
    for gauge in ["galerna_task_up", "galerna_task_pending", "galerna_task_queued"] {
        assert_eq!(read.sum(gauge, &[("task", "2")]), Some(0.0), "{gauge}");
    }
}

#[test]
fn workers_are_told_with_their_states_and_failures_and_topologies_that_are_gone_vanish() {
    let failure = LaunchFailure { topology_id: "ab-1".to_owned(), slot: 8, attempts: 5, ..LaunchFailure::default() };
    let workers = vec![worker(2, WorkerState::Running, vec![bolt_task(2)])];
    let read = exported(&view(), workers.clone(), vec![failure.clone()]);
    let states: Vec<_> =
        read.samples("galerna_worker_state", &[]).map(|(has, _)| (&*has["slot"], &*has["state"])).collect();
    assert_eq!(states, [("7", "running"), ("8", "absent")]);
    assert_eq!(read.sum("galerna_worker_failed_launches", &[("slot", "8")]), Some(5.0));
    let read = exported(&View::default(), workers, vec![failure]);
    assert!(read.families().is_empty(), "{:?}", read.families());
}

#[test]
fn metrics_are_described_once_and_as_is_advised() {
    let metrics = metrics();
    let mut names: Vec<&str> = metrics.iter().map(|metric| metric.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), metrics.len());
    for metric in &metrics {
        assert_eq!(metric.name.ends_with("_total"), metric.kind.to_string() == "counter", "{}", metric.name);
        assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
    }
}

#[test]
fn metrics_of_components_are_exported_by_name_over_all_launches() {
    let user = |hits, level| UserMetrics {
        counters: [("cache.hits".to_owned(), hits), ("cache-hits_total".to_owned(), 1)].into(),
        gauges: [("cache hits".to_owned(), level)].into(),
    };
    let task = |hits, level| TaskReport { task: 2, user_metrics: Some(user(hits, level)), ..TaskReport::default() };
    let with_histogram = |report: WorkerReport| WorkerReport {
        user_histograms: vec![UserHistograms {
            component: "count".to_owned(),
            histograms: [("row bytes".to_owned(), HistogramReport { values: vec![7, 300], counts: vec![2, 1] })].into(),
        }],
        ..report
    };
    let gone = with_histogram(worker(1, WorkerState::Gone, vec![task(5, 9.0)]));
    let living = with_histogram(worker(2, WorkerState::Running, vec![task(6, 0.5)]));
    let read = exported(&view(), vec![gone, living], Vec::new());
    let labels = [("topology", "a \"b\""), ("topology_id", "ab-1"), ("component", "count"), ("task", "2")];
    assert_eq!(read.sum("galerna_user_cache_hits_total", &labels), Some(13.0));
    assert_eq!(read.sum("galerna_user_cache_hits_gauge", &labels), Some(0.5));
    assert_eq!(read.sum("galerna_user_row_bytes_count", &labels[..3]), Some(6.0));
    assert_eq!(read.sum("galerna_user_row_bytes_sum", &labels[..3]), Some(628.0));
    let bucket = [("component", "count"), ("le", "10.0")];
    assert_eq!(read.sum("galerna_user_row_bytes_bucket", &bucket), Some(4.0));
}

#[test]
fn only_so_many_metrics_of_a_component_are_exported() {
    let counters = (0..3 * MOST_USER_METRICS).map(|number| (format!("n{number}"), 1)).collect();
    let user_metrics = Some(UserMetrics { counters, ..UserMetrics::default() });
    let task = TaskReport { task: 2, user_metrics, ..TaskReport::default() };
    let mut families = Families::default();
    let report = SupervisorReport {
        supervisor: "s".to_owned(),
        workers: vec![worker(1, WorkerState::Running, vec![task])],
        ..SupervisorReport::default()
    };
    add_topologies(&mut families, &view(), &report);
    let text = families.into_text();
    assert_eq!(text.lines().filter(|line| line.starts_with("galerna_user_")).count(), MOST_USER_METRICS);
}
