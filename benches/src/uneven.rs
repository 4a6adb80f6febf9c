//! Measures how well shuffle uses tasks of different speeds: three that sleep 1 ms a tuple and one that
//! sleeps 10 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use galerna_topology_api::{
    Bolt, BoltResult, Emitter, Histogram, InvalidTopology, Next, Spout, SpoutEmitter, Streams, Topology,
    TopologyBuilder, TopologyContext, Tuple, Value,
};
use galerna_worker::{LocalOptions, LocalRun, RunStatus};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::measure::Quantiles;
use crate::process::{cpu_seconds, peak_memory};

/// The time that each task sleeps per tuple. The timer of tokio rounds up to whole milliseconds.
const SLEEPS: [Duration; 4] =
    [Duration::from_millis(1), Duration::from_millis(1), Duration::from_millis(1), Duration::from_millis(10)];
const TASKS: usize = SLEEPS.len();
/// Tuples that the spout emits per call.
const TUPLES_PER_CALL: usize = 16;

/// The figures of one measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    name: &'static str,
    acked: bool,
    /// The throughput of all tasks together.
    tuples_per_second: f64,
    /// The throughput of tasks that never lack tuples: the sum of 1 / service time.
    possible_tuples_per_second: f64,
    /// `tuples_per_second` / `possible_tuples_per_second`.
    share_of_possible: f64,
    /// Tuples that each task executed in the measured time.
    split: Vec<u64>,
    /// The mean time from the call of `execute` to its end, of each task in the measured time.
    service_ms: Vec<f64>,
    /// Tuples that the spout emitted per second.
    emitted_per_second: f64,
    /// From the emit to the call of `execute`.
    latency_us: Option<Quantiles>,
    /// From the emit to the spout's ack.
    complete_latency_us: Option<Quantiles>,
    cpu_cores: f64,
    peak_rss_bytes: u64,
}

/// Measures for `duration`, after a warm-up of a fifth of `duration`.
pub(crate) fn measure(acked: bool, duration: Duration) -> Result<Figures> {
    let shared = Arc::new(Shared::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut run = LocalRun::start(topology(acked, &shared)?, LocalOptions::default())?;
    let (before, after) = runtime.block_on(async {
        sleep(duration / 5).await;
        shared.is_measuring.store(true, Ordering::Relaxed);
        let before = Moment::take(&shared);
        sleep(duration).await;
        let after = Moment::take(&shared);
        shared.has_ended.store(true, Ordering::Relaxed);
        let summary = run.finished().await;
        ensure!(summary.status == RunStatus::Finished, "the run ended as {:?}: {:?}", summary.status, summary.failure);
        Ok((before, after))
    })?;
    let (emitted, executed) = (shared.emitted.load(Ordering::Relaxed), Moment::take(&shared).tuples());
    ensure!(emitted == executed, "the spout emitted {emitted} tuples, the bolt executed {executed}");
    let seconds = (after.at - before.at).as_secs_f64();
    let split: Vec<u64> = (0..TASKS).map(|task| after.tasks[task].0 - before.tasks[task].0).collect();
    ensure!(split.iter().all(|tuples| *tuples > 0), "a task executed no tuple: {split:?}");
    let busy = (0..TASKS).map(|task| after.tasks[task].1 - before.tasks[task].1);
    let services: Vec<f64> = busy.zip(&split).map(|(nanos, tuples)| nanos as f64 / 1e9 / *tuples as f64).collect();
    let tuples_per_second = split.iter().sum::<u64>() as f64 / seconds;
    let possible_tuples_per_second = services.iter().map(|service| 1.0 / service).sum();
    Ok(Figures {
        name: "uneven",
        acked,
        tuples_per_second,
        possible_tuples_per_second,
        share_of_possible: tuples_per_second / possible_tuples_per_second,
        split,
        service_ms: services.iter().map(|service| service * 1e3).collect(),
        emitted_per_second: (after.emitted - before.emitted) as f64 / seconds,
        latency_us: Quantiles::of(&shared.latency),
        complete_latency_us: Quantiles::of(&shared.complete),
        cpu_cores: (after.cpu - before.cpu) / seconds,
        peak_rss_bytes: peak_memory("self"),
    })
}

pub(crate) fn print(figures: &Figures) {
    println!("uneven{}", if figures.acked { " (acked)" } else { "" });
    println!("  all tasks          {:.0} tuples/s", figures.tuples_per_second);
    println!("  possible           {:.0} tuples/s", figures.possible_tuples_per_second);
    println!("  share of possible  {:.3}", figures.share_of_possible);
    for (task, (tuples, service)) in figures.split.iter().zip(&figures.service_ms).enumerate() {
        println!("  task {task}             {tuples} tuples of {service:.3} ms");
    }
    crate::print_latency("latency", figures.latency_us);
    crate::print_latency("complete latency", figures.complete_latency_us);
    println!("  cores              {:.2}", figures.cpu_cores);
    println!("  peak memory        {:.1} MB", figures.peak_rss_bytes as f64 / 1e6);
}

fn topology(acked: bool, shared: &Arc<Shared>) -> Result<Topology, InvalidTopology> {
    let mut builder = TopologyBuilder::new("uneven");
    builder.config("topology.acker.executors", i64::from(acked));
    let source = shared.clone();
    let _ = builder.spout("spout", move || Source { acked, shared: source.clone() });
    let sleeping = shared.clone();
    let make = move || Sleeping { shared: sleeping.clone() };
    let _ = builder.bolt("sleeping", make).parallelism(TASKS as u32).shuffle("spout");
    builder.build()
}

/// The work of one task so far.
#[derive(Debug, Default)]
struct Served {
    tuples: AtomicU64,
    /// The time in calls of `execute` that have ended.
    nanos: AtomicU64,
}

/// State that the components and the measurement share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    has_ended: AtomicBool,
    /// Whether the warm-up is over, so that latencies are recorded.
    is_measuring: AtomicBool,
    emitted: AtomicU64,
    tasks: [Served; TASKS],
    latency: Histogram,
    complete: Histogram,
}

impl Shared {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            has_ended: AtomicBool::new(false),
            is_measuring: AtomicBool::new(false),
            emitted: AtomicU64::new(0),
            tasks: Default::default(),
            latency: Histogram::default(),
            complete: Histogram::default(),
        }
    }

    fn now(&self) -> i64 {
        self.began.elapsed().as_nanos() as i64
    }

    fn record(&self, histogram: &Histogram, stamp: i64) {
        if self.is_measuring.load(Ordering::Relaxed) {
            histogram.record((self.now() - stamp).max(0) as u64);
        }
    }
}

struct Moment {
    at: Instant,
    emitted: u64,
    /// Tuples and nanoseconds of each task.
    tasks: [(u64, u64); TASKS],
    cpu: f64,
}

impl Moment {
    fn take(shared: &Shared) -> Self {
        let served = |task: &Served| (task.tuples.load(Ordering::Relaxed), task.nanos.load(Ordering::Relaxed));
        Self {
            at: Instant::now(),
            emitted: shared.emitted.load(Ordering::Relaxed),
            tasks: shared.tasks.each_ref().map(served),
            cpu: cpu_seconds("self"),
        }
    }

    fn tuples(&self) -> u64 {
        self.tasks.iter().map(|(tuples, _)| tuples).sum()
    }
}

/// Emits as many tuples as there is room for, each with its time of emission.
struct Source {
    acked: bool,
    shared: Arc<Shared>,
}

impl Spout for Source {
    type MessageId = i64;

    fn output(&self) -> Streams {
        Streams::default_fields(["emitted"])
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> galerna_topology_api::Result<Next> {
        if self.shared.has_ended.load(Ordering::Relaxed) {
            return Ok(Next::Exhausted);
        }
        for _ in 0..TUPLES_PER_CALL {
            let stamp = self.shared.now();
            if self.acked {
                out.emit(stamp, [Value::Int(stamp)]);
            } else {
                out.emit_untracked([Value::Int(stamp)]);
            }
        }
        self.shared.emitted.fetch_add(TUPLES_PER_CALL as u64, Ordering::Relaxed);
        Ok(Next::Emitted)
    }

    async fn ack(&mut self, stamp: i64, _: &TopologyContext) -> galerna_topology_api::Result<()> {
        self.shared.record(&self.shared.complete, stamp);
        Ok(())
    }
}

/// Sleeps for the time in `SLEEPS`, and notes the real duration.
struct Sleeping {
    shared: Arc<Shared>,
}

impl Bolt for Sleeping {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let called = Instant::now();
        self.shared.record(&self.shared.latency, tuple.i64(0)?);
        let task = out.context().task_index() as usize;
        out.context().sleep(SLEEPS[task]).await;
        let served = &self.shared.tasks[task];
        served.nanos.fetch_add(called.elapsed().as_nanos() as u64, Ordering::Relaxed);
        served.tuples.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
