//! Bolts that hold tuples on purpose, to collect a batch or a window: the adaptive limit of open trees
//! does not slow the spout down because of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Numbers, PENDING};

/// Writes when it holds a thousand tuples, or when its tick finds that it holds any. A write takes 20 ms.
#[derive(Default)]
struct BatchingSink(Vec<HeldTuple>);

impl BatchingSink {
    async fn write(&mut self, out: &mut ManualEmitter<'_>) {
        if !self.0.is_empty() {
            out.context().sleep(Duration::from_millis(20)).await;
            self.0.drain(..).for_each(|held| out.ack(held));
        }
    }
}

impl ManualBolt for BatchingSink {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.push(out.keep(tuple));
        if self.0.len() >= 1_000 {
            self.write(out).await;
        }
        Ok(())
    }
    async fn tick(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.write(out).await;
        Ok(())
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.write(out).await;
        Ok(())
    }
}

/// Tuples that a batching sink acks in three seconds, after two, and how many failed.
async fn acked_in_three_seconds(pending: Option<i64>, sinks: u32) -> TestResult<(u64, u64)> {
    let mut builder = TopologyBuilder::new("batches");
    if let Some(pending) = pending {
        builder.config(PENDING, pending);
    }
    let _ = builder.spout("numbers", Numbers::endless);
    let sink = builder.manual_bolt("sink", BatchingSink::default).parallelism(sinks).shuffle("numbers");
    let _ = sink.config("topology.tick.tuple.freq.secs", 0.2);
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(2)).await;
    let before = run.snapshot().components[0].acked;
    sleep(Duration::from_secs(3)).await;
    let spout = &run.snapshot().components[0];
    Ok((spout.acked - before, spout.failed))
}

#[tokio::test(start_paused = true)]
async fn a_batching_sink_is_not_slowed_by_the_adaptive_limit() -> TestResult {
    for sinks in [1, 3] {
        let (fixed, _) = acked_in_three_seconds(Some(100_000), sinks).await?;
        let (adaptive, failed) = acked_in_three_seconds(None, sinks).await?;
        assert!(fixed > 140_000, "a thousand in 20 ms: {fixed}");
        assert!(adaptive * 10 >= fixed * 9, "{adaptive} instead of {fixed} with {sinks} sinks");
        assert_eq!(failed, 0);
    }
    Ok(())
}

/// Emits ten tuples every 10 ms, and notes the longest time between two calls of `next`.
struct Steady {
    next: u64,
    called: Duration,
    longest: Arc<AtomicU64>,
}

impl Spout for Steady {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        let now = out.context().elapsed();
        let gap = now.saturating_sub(self.called).as_millis() as u64;
        self.longest.fetch_max(gap, Ordering::Relaxed);
        self.called = now;
        for _ in 0..10 {
            self.next += 1;
            out.emit(self.next, values![self.next as i64]);
        }
        Ok(Next::Idle)
    }
    async fn ready(&mut self, context: &TopologyContext) {
        context.sleep(Duration::from_millis(10)).await;
    }
}

/// Holds everything until its tick, every ten seconds.
#[derive(Default)]
struct Windows(Vec<HeldTuple>);

impl ManualBolt for Windows {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.push(out.keep(tuple));
        Ok(())
    }
    async fn tick(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.drain(..).for_each(|held| out.ack(held));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn windows_of_ten_seconds_do_not_stall_the_spout() -> TestResult {
    let longest = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("windows");
    let noted = longest.clone();
    let make = move || Steady { next: 0, called: Duration::ZERO, longest: noted.clone() };
    let _ = builder.spout("steady", make);
    let windows = builder.manual_bolt("windows", Windows::default).parallelism(2).fields("steady", ["n"]);
    let _ = windows.config("topology.tick.tuple.freq.secs", 10);
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(95)).await;
    let spout = &run.snapshot().components[0];
    assert!(longest.load(Ordering::Relaxed) <= 20, "{longest:?} ms without a call of `next`");
    assert!(spout.acked >= 85_000 && spout.failed == 0, "{spout:?}");
    Ok(())
}
