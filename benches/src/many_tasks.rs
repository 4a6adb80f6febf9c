//! A spout and a bolt of many tasks: the cost of a tuple, the times to start and stop the tasks, and the
//! memory of idle tasks.
//!
//! The sources emit for a time, or a number of tuples, and then stay idle until the harness stops the run.

mod progress;
mod topology;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum, value_parser};
use galerna_worker::{LocalOptions, LocalRun, RunStatus};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Shape;
use crate::heap::live_bytes;
use crate::measure::{Measured, Rates, ensure_ended_as, measured};
use crate::process::resident_memory;
use progress::Progress;

/// Time between the end of the load and the measurement of idle memory.
const SETTLE: Duration = Duration::from_secs(1);

/// The size and the load of many-tasks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of many-tasks")]
pub(crate) struct Options {
    /// Source tasks
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    from: u32,
    /// Target tasks
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    to: u32,
    /// How tuples are divided among the targets
    #[arg(long, default_value = "fields")]
    grouping: Dealing,
    /// Executors of each component [default: one per task]
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    executors: Option<u32>,
    /// Emit so many tuples in all, instead of measuring for a duration
    #[arg(long, value_name = "COUNT", conflicts_with = "duration", value_parser = value_parser!(u64).range(1..))]
    tuples: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dealing {
    Fields,
    Shuffle,
}

/// The figures of one measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    measured: Measured,
    /// Processor time of the process, user and system, per tuple that arrived.
    cpu_ns_per_tuple: f64,
    /// Always absent: the bench reads no hardware counters, and many virtual machines have none. Count from
    /// outside, for example with callgrind.
    instructions_per_tuple: Option<f64>,
    /// Resident memory 1 s after the load, with all tasks running. The allocator returns memory by rules
    /// of the C library: a call to return more would need unsafe code.
    idle_rss_bytes: u64,
    /// Bytes in use at the same time; absent without the feature `live-heap`.
    live_bytes: Option<u64>,
    /// From the order to stop, after the load, until the run has ended.
    stop_ms: f64,
    /// Of both components.
    tasks: u32,
}

/// Measures for `duration` after a warm-up of a fifth of `duration`, or from the first tuple to the last if
/// the options give a number of tuples.
pub(crate) fn measure(options: &Options, acked: bool, duration: Duration, began: Instant) -> Result<Figures> {
    let progress = Arc::new(Progress::new(options, acked, began));
    let topology = topology::build(options, acked, &progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let started = progress.shared.now();
    let mut run = LocalRun::start(topology, LocalOptions::default())?;
    let outcome = runtime.block_on(async {
        let (rates, idle) = tokio::select! {
            biased;
            summary = run.finished() => bail!("the run ended early as {:?}: {:?}", summary.status, summary.failure),
            outcome = load(&progress, duration, options.tuples.is_some()) => outcome?,
        };
        let stopped = Instant::now();
        run.stop();
        let summary = run.finished().await;
        let stop_ms = stopped.elapsed().as_secs_f64() * 1e3;
        ensure_ended_as(RunStatus::Stopped, &summary)?;
        Ok((rates, idle, stop_ms))
    });
    let (rates, idle, stop_ms) = outcome?;
    progress.ensure_complete()?;
    let start_ms = (progress.all_open_at.load(Ordering::Relaxed) - started) as f64 / 1e6;
    Ok(Figures {
        measured: measured(Shape::ManyTasks, acked, &rates, &progress.shared, start_ms)?,
        cpu_ns_per_tuple: rates.cores / rates.sunk * 1e9,
        instructions_per_tuple: None,
        idle_rss_bytes: idle.resident,
        live_bytes: idle.live,
        stop_ms,
        tasks: options.from + options.to,
    })
}

/// The memory of a run without load, in bytes.
struct Idle {
    resident: u64,
    live: Option<u64>,
}

/// Measures the whole load, and the memory after the load.
async fn load(progress: &Progress, duration: Duration, is_counted: bool) -> Result<(Rates, Idle)> {
    progress.all_open().await;
    let rates = if is_counted { until_processed(progress).await? } else { during(progress, duration).await? };
    ensure!(rates.sunk > 0.0, "no tuple arrived in the measured time");
    sleep(SETTLE).await;
    Ok((rates, Idle { resident: resident_memory("self"), live: live_bytes() }))
}

async fn during(progress: &Progress, duration: Duration) -> Result<Rates> {
    sleep(duration / 5).await;
    progress.shared.is_measuring.store(true, Ordering::Relaxed);
    let before = progress.moment();
    sleep(duration).await;
    let rates = before.rates_until(&progress.moment());
    progress.shared.has_ended.store(true, Ordering::Relaxed);
    progress.processed().await?;
    Ok(rates)
}

async fn until_processed(progress: &Progress) -> Result<Rates> {
    progress.shared.is_measuring.store(true, Ordering::Relaxed);
    let before = progress.moment();
    progress.processed().await?;
    Ok(before.rates_until(&progress.moment()))
}

pub(crate) fn print(figures: &Figures) {
    let mega = |bytes: u64| bytes as f64 / 1e6;
    crate::print_load(&figures.measured);
    println!("  tasks              {}", figures.tasks);
    println!("  processor time     {:.0} ns a tuple", figures.cpu_ns_per_tuple);
    println!("  idle memory        {:.1} MB", mega(figures.idle_rss_bytes));
    if let Some(live) = figures.live_bytes {
        println!("  live bytes         {:.1} MB", mega(live));
    }
    println!("  start of all tasks {:.1} ms", figures.measured.start_ms);
    println!("  stop               {:.1} ms", figures.stop_ms);
}
