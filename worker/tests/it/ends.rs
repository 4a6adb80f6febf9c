//! How a run comes to its end, by itself or because it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::RunStatus;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Each, Log, Noting, Numbers, Slow, numbers};

/// Counts what it gets and says it once, at the end.
struct CountAtEnd(i64, Arc<AtomicU64>);

impl Bolt for CountAtEnd {
    fn output(&self) -> Streams {
        Streams::default_fields(["count"])
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        self.0 += 1;
        Ok(())
    }
    async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(values![self.0]);
        Ok(())
    }
    async fn cleanup(&mut self, _: &TopologyContext) -> BoltResult {
        self.1.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A bolt that refuses every seventh call, counts at the end, and a sink for the counts.
fn with_replays(cleaned: &Arc<AtomicU64>, log: &Log) -> Result<Topology, InvalidTopology> {
    let mut builder = TopologyBuilder::new("replays");
    let _ = builder.spout("numbers", || Numbers::new(500)).parallelism(2);
    let calls = Arc::new(AtomicU64::new(0));
    let call = move |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
        if calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(7) {
            return Err("again".into());
        }
        out.emit(tuple.values());
        Ok(())
    };
    let picky = move || Each { call: call.clone(), output: Streams::default_fields(["n"]) };
    let _ = builder.bolt("picky", picky).parallelism(2).shuffle("numbers");
    let cleaned = cleaned.clone();
    let _ = builder.bolt("count", move || CountAtEnd(0, cleaned.clone())).parallelism(3).fields("picky", ["n"]);
    let log = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&log, ["count"])).global("count");
    builder.build()
}

#[tokio::test(start_paused = true)]
async fn end_follows_replays() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(3)] {
        let (cleaned, log) = (Arc::new(AtomicU64::new(0)), Log::default());
        let run = cluster.complete(with_replays(&cleaned, &log)?).await?;
        assert_eq!(run.summary().status, RunStatus::Finished);
        assert_eq!(run.spout("numbers").acked(), 1000);
        assert!(run.spout("numbers").failed() > 100);
        let counts = numbers(&log.rows());
        assert_eq!((counts.len(), counts.iter().sum::<i64>()), (3, 1000), "each task says its count once");
        assert_eq!(cleaned.load(Ordering::Relaxed), 3, "every task was cleaned up");
    }
    Ok(())
}

struct Holder(Vec<HeldTuple>);

impl ManualBolt for Holder {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.push(out.keep(tuple));
        Ok(())
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.drain(..).for_each(|tuple| out.ack(tuple));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn bolt_that_holds_tuples_until_flush_lets_the_run_end() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(2)] {
        let mut builder = TopologyBuilder::new("holder");
        // More than an adaptive window allows at first: held tuples do not count there.
        let _ = builder.spout("numbers", || Numbers::new(5000));
        let _ = builder.bolt("pass", || Slow(Duration::ZERO)).parallelism(2).shuffle("numbers");
        let _ = builder.manual_bolt("holder", || Holder(Vec::new())).parallelism(2).shuffle("pass");
        let began = tokio::time::Instant::now();
        let run = cluster.complete(builder.build()?).await?;
        assert!(began.elapsed() < Duration::from_secs(5), "without waiting for time-outs");
        assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (5000, 0));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn stop_drains_flushes_and_cleans_up_without_last_words() -> TestResult {
    let cleaned = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("stopped");
    let _ = builder.spout("numbers", Numbers::endless);
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(3))).parallelism(2).shuffle("numbers");
    let counted = cleaned.clone();
    let _ = builder.bolt("count", move || CountAtEnd(0, counted.clone())).parallelism(2).shuffle("slow");
    let _ = builder.manual_bolt("holder", || Holder(Vec::new())).shuffle("slow");
    let run = LocalCluster::new().start(builder.build()?).await?;
    run.wait_until(|summary| summary.components[1].executed > 100).await;
    let run = run.stop().await?;
    assert_eq!(run.summary().status, RunStatus::Stopped);
    let spout = run.component("numbers");
    assert_eq!((spout.acked, spout.failed), (spout.emitted, 0), "everything in flight came to its end");
    assert_eq!(run.component("count").emitted, 0);
    assert_eq!(cleaned.load(Ordering::Relaxed), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_cannot_drain_ends_hard_after_its_time() -> TestResult {
    let mut builder = TopologyBuilder::new("stuck");
    builder.config("topology.message.timeout.secs", 3);
    builder.config("topology.enable.message.timeouts", false);
    let _ = builder.spout("numbers", Numbers::endless);
    let _ = builder.bolt("stuck", || Slow(Duration::from_secs(100_000))).shuffle("numbers");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(1)).await;
    let began = tokio::time::Instant::now();
    let run = run.stop().await?;
    assert!(began.elapsed() < Duration::from_secs(31));
    assert!(run.summary().errors.iter().any(|error| error.message.contains("did not come to its end")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_inactive_topology_emits_nothing_until_it_is_active_again() -> TestResult {
    let mut builder = TopologyBuilder::new("inactive");
    let _ = builder.spout("numbers", Numbers::endless);
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(1))).shuffle("numbers");
    let run = LocalCluster::new().start(builder.build()?).await?;
    run.wait_until(|summary| summary.components[1].executed > 10).await;
    run.set_active(false);
    sleep(Duration::from_secs(5)).await;
    let emitted = run.snapshot().components[0].emitted;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(run.snapshot().components[0].emitted, emitted);
    run.set_active(true);
    run.wait_until(|summary| summary.components[0].emitted > emitted).await;
    run.stop().await?;
    Ok(())
}

/// The first to end are dropped while another bolt still runs.
#[tokio::test(start_paused = true)]
async fn a_bolt_that_panics_when_dropped_is_listed_and_the_run_finishes() -> TestResult {
    struct BadDrop(Arc<AtomicU64>);
    impl Bolt for BadDrop {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
    }
    impl Drop for BadDrop {
        fn drop(&mut self) {
            // The first instance only shows its streams to the validation.
            assert_eq!(self.0.fetch_add(1, Ordering::Relaxed), 0, "drop");
        }
    }
    struct Lingers;
    impl Bolt for Lingers {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn cleanup(&mut self, context: &TopologyContext) -> BoltResult {
            context.sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
    let drops = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("drops");
    let _ = builder.spout("numbers", || Numbers::new(3));
    let _ = builder.bolt("bad-drop", move || BadDrop(drops.clone())).parallelism(3).shuffle("numbers");
    let _ = builder.bolt("lingers", || Lingers).shuffle("numbers");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((run.summary().status, run.component("bad-drop").errors), (RunStatus::Finished, 3));
    assert!(run.summary().errors.iter().all(|error| error.message.starts_with("drop: panicked")));
    Ok(())
}
