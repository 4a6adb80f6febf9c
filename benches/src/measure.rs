//! Runs a measured topology and takes its figures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use galerna_topology_api::Histogram;
use galerna_worker::{LocalOptions, LocalRun, RunStatus, RunSummary};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::Shape;
use crate::ceiling::ceiling;
use crate::process::{cpu_seconds, peak_memory};
use crate::shapes::{self, Shared};

/// The figures of one measurement.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) acked: bool,
    /// At the last bolt.
    pub(crate) tuples_per_second: f64,
    /// By the spout.
    pub(crate) emitted_per_second: f64,
    /// From the emit to the last bolt, of one tuple in 64.
    pub(crate) latency_us: Option<Quantiles>,
    /// From the emit to the spout's ack, of one tuple in 64.
    pub(crate) complete_latency_us: Option<Quantiles>,
    pub(crate) cpu_cores: f64,
    pub(crate) peak_rss_bytes: u64,
    /// From the start of the process to the first tuple at the last bolt; of many-tasks, from the start of
    /// the run until all tasks are open.
    pub(crate) start_ms: f64,
    /// Of a bare channel, with the same tuples.
    pub(crate) ceiling_tuples_per_second: f64,
}

/// A distribution in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Quantiles {
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        (histogram.count() > 0).then(|| Self {
            p50: micros(histogram.quantile(0.5)),
            p99: micros(histogram.quantile(0.99)),
            p999: micros(histogram.quantile(0.999)),
            max: micros(histogram.max()),
        })
    }
}

/// Measures one shape for `duration`, after a fifth of it to warm up.
pub(crate) fn measure(shape: Shape, acked: bool, duration: Duration, began: Instant) -> Result<Measured> {
    let shared = Arc::new(Shared::new(began));
    let topology = shapes::build(shape, acked, &shared)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut run = LocalRun::start(topology, LocalOptions::default())?;
    let rates = runtime.block_on(async {
        sleep(duration / 5).await;
        shared.is_measuring.store(true, Ordering::Relaxed);
        let before = Moment::of(&shared);
        sleep(duration).await;
        let rates = before.rates_until(&Moment::of(&shared));
        shared.has_ended.store(true, Ordering::Relaxed);
        let summary = run.finished().await;
        ensure_ended_as(RunStatus::Finished, &summary)?;
        Ok::<_, anyhow::Error>(rates)
    })?;
    ensure_same_sums(shared.emitted_sum.load(Ordering::Relaxed), shared.sunk_sum.load(Ordering::Relaxed))?;
    let first = shared.first.load(Ordering::Relaxed).checked_sub(1).context("no tuple arrived")?;
    measured(shape, acked, &rates, &shared, first as f64 / 1e6)
}

/// Puts the figures of a run that has ended together, and measures the ceiling.
pub(crate) fn measured(shape: Shape, acked: bool, rates: &Rates, shared: &Shared, start_ms: f64) -> Result<Measured> {
    Ok(Measured {
        name: shape.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default(),
        acked,
        tuples_per_second: rates.sunk,
        emitted_per_second: rates.emitted,
        latency_us: Quantiles::of(&shared.latency),
        complete_latency_us: Quantiles::of(&shared.complete),
        cpu_cores: rates.cores,
        peak_rss_bytes: peak_memory("self"),
        start_ms,
        // Last, because the ceiling takes memory too.
        ceiling_tuples_per_second: ceiling(Duration::from_secs(1))?,
    })
}

pub(crate) fn ensure_ended_as(expected: RunStatus, summary: &RunSummary) -> Result<()> {
    let RunSummary { status, failure, .. } = summary;
    ensure!(*status == expected, "the run ended as {status:?}, not {expected:?}: {failure:?}");
    Ok(())
}

pub(crate) fn ensure_same_sums(emitted: i64, sunk: i64) -> Result<()> {
    ensure!(emitted == sunk, "the sum of what was emitted is {emitted}, of what arrived {sunk}");
    Ok(())
}

/// The counts of a run at one time.
pub(crate) struct Moment {
    at: Instant,
    emitted: u64,
    sunk: u64,
    cpu: f64,
}

/// What a run does in each second.
pub(crate) struct Rates {
    emitted: f64,
    pub(crate) sunk: f64,
    /// Seconds of processor time.
    pub(crate) cores: f64,
}

impl Moment {
    /// The present, with these counts.
    pub(crate) fn new(emitted: u64, sunk: u64) -> Self {
        Self { at: Instant::now(), emitted, sunk, cpu: cpu_seconds("self") }
    }

    fn of(shared: &Shared) -> Self {
        Self::new(shared.emitted.load(Ordering::Relaxed), shared.sunk.load(Ordering::Relaxed))
    }

    pub(crate) fn rates_until(&self, later: &Self) -> Rates {
        let seconds = (later.at - self.at).as_secs_f64();
        Rates {
            emitted: (later.emitted - self.emitted) as f64 / seconds,
            sunk: (later.sunk - self.sunk) as f64 / seconds,
            cores: (later.cpu - self.cpu) / seconds,
        }
    }
}
