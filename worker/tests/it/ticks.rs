//! Ticks, and what else a bolt does meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Log, Slow, fed};

#[tokio::test(start_paused = true)]
async fn ticks_come_at_their_interval() -> TestResult {
    struct Ticking(Arc<AtomicU64>);
    impl Bolt for Ticking {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn tick(&mut self, _: &mut Emitter<'_>) -> BoltResult {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    let ticks = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("ticks");
    let _ = builder.add_spout("feeder", feeder.factory());
    let counted = ticks.clone();
    let _ = builder
        .bolt("ticking", move || Ticking(counted.clone()))
        .config("topology.tick.tuple.freq.secs", 2)
        .shuffle("feeder");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(21)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 10);
    feeder.finish();
    run.finished().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticks_slower_than_their_interval_do_not_starve_tuples() -> TestResult {
    struct SlowTicks(Log);
    impl Bolt for SlowTicks {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.0.note(out.context().task_id(), tuple.values());
            Ok(())
        }
        async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_millis(1200)).await;
            Ok(())
        }
    }
    let (feeder, log) = (Feeder::new(["n"]), Log::default());
    let mut builder = TopologyBuilder::new("slow-ticks");
    builder.config("topology.tick.tuple.freq.secs", 1);
    let _ = builder.add_spout("feeder", feeder.factory());
    let noting = log.clone();
    let _ = builder.bolt("slow-ticks", move || SlowTicks(noting.clone())).shuffle("feeder");
    let _run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_millis(1500)).await;
    feeder.feed(values![1]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(log.len(), 1);
    Ok(())
}

/// Notes when it gets ticks, and after how many tuples.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<(Duration, u64)>>>);

impl Noted {
    fn seconds(&self) -> Vec<f64> {
        self.0.lock().unwrap().iter().map(|(at, _)| at.as_secs_f64()).collect()
    }
}

/// Takes its time for each tuple, emits `rows` for each, and emits `rows_of_tick` in a tick.
#[derive(Clone, Default)]
struct Busy {
    call: Duration,
    rows: usize,
    rows_of_tick: usize,
    seen: u64,
    noted: Noted,
}

impl Bolt for Busy {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        self.seen += 1;
        out.context().sleep(self.call).await;
        (0..self.rows).for_each(|_| out.emit(tuple.values()));
        Ok(())
    }
    async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        self.noted.0.lock().unwrap().push((out.context().elapsed(), self.seen));
        (0..self.rows_of_tick).for_each(|n| out.emit(values![n as i64]));
        Ok(())
    }
}

/// A feeder of `tuples`, a bolt with a tick each second, and a bolt that takes `after` for each tuple.
fn busy(tuples: i64, bolt: Busy, after: Duration) -> Result<Topology, InvalidTopology> {
    let mut builder = TopologyBuilder::new("busy");
    builder.config("topology.message.timeout.secs", 100_000);
    let _ = builder.add_spout("feeder", fed(0..tuples).factory());
    let _ = builder.bolt("busy", move || bolt.clone()).config("topology.tick.tuple.freq.secs", 1).shuffle("feeder");
    let _ = builder.bolt("after", move || Slow(after)).shuffle("busy");
    builder.build()
}

#[tokio::test(start_paused = true)]
async fn ticks_come_between_the_tuples_of_a_batch() -> TestResult {
    let bolt = Busy { call: Duration::from_millis(300), ..Busy::default() };
    let noted = bolt.noted.clone();
    LocalCluster::new().complete(busy(400, bolt, Duration::ZERO)?).await?;
    let seconds = noted.seconds();
    assert!((100..=120).contains(&seconds.len()), "120 s: {seconds:?}");
    for (number, at) in (1..).map(f64::from).zip(&seconds) {
        // A tick is due at each full second, and comes after the running call.
        assert!((number - 0.001..number + 0.301).contains(at), "{number}: {seconds:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_longer_than_the_interval_get_one_tick_between_two() -> TestResult {
    let bolt = Busy { call: Duration::from_millis(3500), ..Busy::default() };
    let noted = bolt.noted.clone();
    LocalCluster::new().complete(busy(10, bolt, Duration::ZERO)?).await?;
    let after = noted.0.lock().unwrap().iter().map(|(_, seen)| *seen).collect::<Vec<_>>();
    assert_eq!(after.iter().filter(|seen| **seen > 0).count(), 10, "{after:?}");
    assert!(after.windows(2).all(|two| two[0] <= two[1]) && after.contains(&9), "{after:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn bolt_that_waits_for_room_gets_ticks() -> TestResult {
    let bolt = Busy { rows: 3000, ..Busy::default() };
    let noted = bolt.noted.clone();
    let _run = LocalCluster::new().start(busy(400, bolt, Duration::from_secs(1000))?).await?;
    sleep(Duration::from_millis(60_500)).await;
    let (at, seen) = noted.0.lock().unwrap().last().copied().unwrap();
    assert_eq!((noted.seconds().len(), at.as_secs()), (60, 60));
    assert!(seen < 10, "{seen} tuples: the bolt did not wait for room");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn ticks_that_emit_wait_for_room_like_any_call() -> TestResult {
    let bolt = Busy { rows: 3000, rows_of_tick: 1000, ..Busy::default() };
    let noted = bolt.noted.clone();
    let run = LocalCluster::new().start(busy(400, bolt, Duration::from_secs(1000))?).await?;
    sleep(Duration::from_millis(600_500)).await;
    // One row leaves each 1,000 s: each tick would add 1,000 rows to those that wait.
    assert_eq!(noted.seconds().len(), 1, "{:?}", noted.seconds());
    drop(run);
    Ok(())
}

/// Blocks its thread without `blocking: true`.
#[allow(clippy::disallowed_methods, reason = "code that blocks is what is tested")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

#[tokio::test]
async fn first_call_of_a_batch_that_blocks_lets_ticks_through() -> TestResult {
    struct Blocking(Noted, u64);
    impl Bolt for Blocking {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            self.1 += 1;
            block(Duration::from_millis(20));
            Ok(())
        }
        async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            self.0.0.lock().unwrap().push((out.context().elapsed(), self.1));
            Ok(())
        }
    }
    let noted = Noted::default();
    let noting = noted.clone();
    let mut builder = TopologyBuilder::new("blocking");
    // All tuples are one batch.
    builder.config("topology.max.spout.pending", 1000);
    let _ = builder.add_spout("feeder", fed(0..64).factory());
    let bolt = builder.bolt("blocking", move || Blocking(noting.clone(), 0));
    let _ = bolt.config("topology.tick.tuple.freq.secs", 0.05).shuffle("feeder");
    LocalCluster::new().complete(builder.build()?).await?;
    let first = noted.0.lock().unwrap().iter().map(|(_, seen)| *seen).find(|seen| *seen > 0);
    assert!(first.is_some_and(|seen| seen < 32), "{first:?}");
    Ok(())
}
