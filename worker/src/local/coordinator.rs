//! The one place that knows how a run stands: hears of tasks that start, end and fail, gives orders
//! to spouts, and says what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::{Component, Histogram, TaskId, Topology};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::inbox::Inbox;
use crate::message::{Control, Message};
use crate::panics::{Panic, guarded};
use crate::run::{RunEvent, RunShared};
use crate::runtimes::Lanes;
use crate::stats::{Once, TaskStats};
use crate::summary::{ComponentSummary, Latency, RetryingSummary, RunFailure, RunStatus, RunSummary};
use crate::watchdog;

/// What the owner of a run asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Stop,
    Abort,
    SetActive(bool),
}

/// Everything that is counted in a run.
#[derive(Debug)]
pub(super) struct Counters {
    topology: Topology,
    run: Arc<RunShared>,
    stats: BTreeMap<TaskId, Arc<TaskStats>>,
    /// Microseconds from the start of the run to its end.
    ended: AtomicU64,
}

const NOT_YET: u64 = u64::MAX;

impl Counters {
    pub(super) fn new(topology: Topology, run: Arc<RunShared>, stats: BTreeMap<TaskId, Arc<TaskStats>>) -> Self {
        Self { topology, run, stats, ended: AtomicU64::new(NOT_YET) }
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    fn mark_end(&self) {
        self.ended.store(self.run.clock.now().as_micros() as u64, Ordering::Relaxed);
    }

    fn duration(&self) -> Duration {
        match self.ended.load(Ordering::Relaxed) {
            NOT_YET => self.run.clock.now(),
            micros => Duration::from_micros(micros),
        }
    }

    /// Counts by task and stream, and latencies.
    #[cfg(feature = "testing")]
    pub(super) fn report(&self) -> galerna_protocol::WorkerReport {
        let all = self.stats.iter().map(|(task, stats)| (*task, stats.clone(), true));
        let counted = crate::stats::report(&self.topology, self.run.clock, all);
        let crate::stats::Counted { tasks, latencies, user_histograms } = counted;
        galerna_protocol::WorkerReport { tasks, latencies, user_histograms, ..Default::default() }
    }

    pub(super) fn summary(&self, status: RunStatus) -> RunSummary {
        let duration = self.duration();
        let complete = Histogram::default();
        let mut components = Vec::new();
        for component in self.topology.components() {
            components.push(self.component(component, &complete));
        }
        let emitted: u64 =
            components.iter().filter(|component| component.kind == "spout").map(|spout| spout.emitted).sum();
        let seconds = duration.as_secs_f64();
        RunSummary {
            topology: self.topology.name().to_owned(),
            status,
            duration,
            tuples_per_second: if seconds > 0.0 { emitted as f64 / seconds } else { 0.0 },
            complete_latency_us: latency(&complete),
            components,
            errors: self.run.errors(),
            failure: None,
        }
    }

    fn component(&self, component: &Component, complete_of_all: &Histogram) -> ComponentSummary {
        let (execute, complete, mut once) = (Histogram::default(), Histogram::default(), Once::default());
        let mut summary = ComponentSummary {
            id: component.id.to_string(),
            kind: component.kind_name(),
            tasks: component.task_count(),
            executors: component.executors,
            ..ComponentSummary::default()
        };
        for stats in component.tasks.clone().filter_map(|task| self.stats.get(&task)) {
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            let totals = stats.totals();
            summary.emitted += totals.emitted;
            summary.executed += totals.executed;
            summary.acked += totals.acked;
            summary.failed += totals.failed;
            summary.replayed += count(&stats.replayed);
            summary.gave_up += count(&stats.gave_up);
            summary.restarts += count(&stats.restarts);
            summary.errors += count(&stats.errors);
            if component.kind_name() == "spout" {
                summary.pending += count(&stats.pending);
            }
            self.add_retrying(&mut summary.retrying, stats);
            if let Some(latencies) = once.pick(stats) {
                execute.merge(&latencies.execute);
                complete.merge(&latencies.complete);
            }
            for (name, value) in stats.metrics.snapshot().counters {
                *summary.counters.entry(name.to_string()).or_default() += value;
            }
        }
        complete_of_all.merge(&complete);
        summary.execute_latency_us = latency(&execute);
        summary.complete_latency_us = latency(&complete);
        summary
    }
}

impl Counters {
    /// Adds the tuples that a task retries. Since when and why are those of the tuple that has failed for longest.
    fn add_retrying(&self, sum: &mut Option<RetryingSummary>, stats: &TaskStats) {
        let Some(retrying) = stats.retrying() else { return };
        let duration = self.run.clock.now().saturating_sub(retrying.since);
        let tuples = retrying.tuples + sum.as_ref().map_or(0, |sum| sum.tuples);
        if sum.as_ref().is_none_or(|sum| duration > sum.duration) {
            *sum = Some(RetryingSummary { tuples, duration, reason: retrying.failure.to_string() });
        } else if let Some(sum) = sum {
            sum.tuples = tuples;
        }
    }
}

/// Nanoseconds of a histogram as microseconds.
fn latency(histogram: &Histogram) -> Option<Latency> {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    (histogram.count() > 0).then(|| Latency {
        p50: micros(histogram.quantile(0.5)),
        p99: micros(histogram.quantile(0.99)),
        max: micros(histogram.max()),
    })
}

/// Drives a run from its first task to its outcome.
pub(super) struct Coordinator {
    pub(super) counters: Arc<Counters>,
    pub(super) events: mpsc::UnboundedReceiver<RunEvent>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) lanes: Lanes,
    pub(super) spouts: Vec<Inbox>,
    pub(super) tasks: usize,
    pub(super) drain_timeout: Duration,
    pub(super) outcome: watch::Sender<Option<RunSummary>>,
}

/// How a run came to its end.
enum End {
    AllEnded,
    Failed(RunFailure),
    Aborted,
    NotDrained,
}

impl Coordinator {
    pub(super) async fn run(mut self) {
        let watched = self.counters.topology.components().iter().flat_map(|component| {
            component.tasks.clone().map(|task| (component.id.clone(), task, self.counters.stats[&task].clone()))
        });
        let watched: Vec<_> = watched.collect();
        let watchdog = watchdog::watch(self.counters.run.clone(), move || watched.clone());
        let mut was_stopped = false;
        let end = tokio::select! {
            biased;
            end = self.wait_for_end(&mut was_stopped) => end,
            () = watchdog => return,
        };
        self.counters.mark_end();
        self.lanes.end().await;
        for hook in self.counters.topology.worker_hooks() {
            if let Err(Panic(message)) = guarded(|| hook.shutdown()) {
                self.counters.run.list_error("__worker_hook", 0, &message);
            }
        }
        let run = &self.counters.run;
        let failure = match end {
            End::Failed(failure) => Some(failure),
            End::AllEnded | End::NotDrained => run.failure(),
            End::Aborted => None,
        };
        let status = match &failure {
            Some(_) => RunStatus::Failed,
            None if was_stopped => RunStatus::Stopped,
            None => RunStatus::Finished,
        };
        let mut summary = self.counters.summary(status);
        summary.failure = failure;
        self.outcome.send_replace(Some(summary));
    }

    async fn wait_for_end(&mut self, was_stopped: &mut bool) -> End {
        let mut left = self.tasks;
        let mut deadline: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => match event {
                    RunEvent::Failed(failure) => return End::Failed(failure),
                    RunEvent::Ended(..) => {
                        left -= 1;
                        if left == 0 {
                            return End::AllEnded;
                        }
                    }
                    // Nothing parks or moves within one process.
                    RunEvent::Parked(..) | RunEvent::Resumed(_) => {}
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Stop => {
                        *was_stopped = true;
                        deadline.get_or_insert_with(|| Instant::now() + self.drain_timeout);
                        self.order(Control::Drain);
                    }
                    Order::Abort => {
                        *was_stopped = true;
                        return End::Aborted;
                    }
                    Order::SetActive(true) => self.order(Control::Activate),
                    Order::SetActive(false) => self.order(Control::Deactivate),
                },
                message = self.lanes.next_panic() => {
                    let message = format!("the engine itself panicked: {message}");
                    return End::Failed(RunFailure { code: "internal", message });
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    let message = format!("what was in flight did not come to its end within {:?}", self.drain_timeout);
                    self.counters.run.list_error("__topology", 0, &message);
                    return End::NotDrained;
                }
            }
        }
    }

    fn order(&self, control: Control) {
        for spout in &self.spouts {
            // A spout that has ended needs no orders.
            spout.send(Message::Control(control));
        }
    }
}
