use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{Instant, sleep};

use crate::support::{Each, Log, Noting, Numbers, Slow, TIMEOUT, sink};

/// A diamond: one tuple makes ten, which take two ways to one bolt.
#[tokio::test(start_paused = true)]
async fn acked_only_after_whole_tree() -> TestResult {
    let feeder = Feeder::new(["n"]);
    let gate = Arc::new(AtomicBool::new(false));
    let last = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("tree");
    let _ = builder.add_spout("feeder", feeder.factory());
    let fan_out = || Each {
        call: |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
            (0..10).for_each(|_| out.emit(tuple.values()));
            Ok(())
        },
        output: Streams::default_fields(["n"]),
    };
    let _ = builder.bolt("fan-out", fan_out).shuffle("feeder");
    let _ = builder.bolt("left", || Slow(Duration::from_millis(1))).parallelism(2).shuffle("fan-out");
    let _ = builder.bolt("right", || Slow(Duration::from_millis(7))).parallelism(2).shuffle("fan-out");
    let (open, count) = (gate.clone(), last.clone());
    struct Gated(Arc<AtomicBool>, Arc<AtomicU64>);
    impl Bolt for Gated {
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            // The last of the tree's twenty leaves waits for the test.
            if self.1.load(Ordering::Relaxed) == 19 {
                while !self.0.load(Ordering::Relaxed) {
                    out.context().sleep(Duration::from_millis(10)).await;
                }
            }
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let _ = builder.bolt("join", move || Gated(open.clone(), count.clone())).shuffle("left").shuffle("right");
    let run = LocalCluster::new().workers(2).start(builder.build()?).await?;
    feeder.feed(values![1]);
    while last.load(Ordering::Relaxed) < 19 {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(feeder.acked(), [0u64; 0], "a leaf is still open");
    gate.store(true, Ordering::Relaxed);
    feeder.settled(1).await;
    assert_eq!(feeder.acked(), [0]);
    feeder.finish();
    run.finished().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn timeout_never_early_at_most_ten_percent_late() -> TestResult {
    let feeder = Feeder::new(["n"]);
    let mut builder = TopologyBuilder::new("timeout");
    builder.config(TIMEOUT, 10);
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("stuck", || Slow(Duration::from_secs(1000))).shuffle("feeder");
    let run = LocalCluster::new().start(builder.build()?).await?;
    for n in 0..5 {
        let began = Instant::now();
        feeder.feed(values![n]);
        feeder.settled(n as usize + 1).await;
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(10), "early: {took:?}");
        assert!(took <= Duration::from_secs(11), "late: {took:?}");
    }
    assert_eq!(feeder.failed(), [0, 1, 2, 3, 4]);
    drop(run);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn reset_timeout_gives_a_tree_its_whole_time_again() -> TestResult {
    struct Patient;
    impl Bolt for Patient {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            for _ in 0..5 {
                out.context().sleep(Duration::from_secs(7)).await;
                out.reset_timeout(tuple);
            }
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    let mut builder = TopologyBuilder::new("patience");
    builder.config(TIMEOUT, 10);
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("patient", || Patient).shuffle("feeder");
    let run = LocalCluster::new().start(builder.build()?).await?;
    feeder.feed(values![1]);
    feeder.finish();
    feeder.settled(1).await;
    assert_eq!((feeder.acked(), feeder.failed()), (vec![0], vec![]));
    run.finished().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn error_fails_the_tuple_at_once_withdraws_its_emits_and_the_task_goes_on() -> TestResult {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("errors");
    let _ = builder.spout("numbers", || Numbers::new(1000));
    let failures = Arc::new(AtomicU64::new(0));
    let count = failures.clone();
    let call = move |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
        out.emit(tuple.values());
        if tuple.i64("n")? % 100 == 7 && count.fetch_add(1, Ordering::Relaxed) < 10 {
            return Err("not this time".into());
        }
        Ok(())
    };
    let _ = builder
        .bolt("picky", move || Each { call: call.clone(), output: Streams::default_fields(["n"]) })
        .shuffle("numbers");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("picky");
    let began = Instant::now();
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert!(began.elapsed() < Duration::from_secs(5), "failed by the bolt, not by time-out");
    assert_eq!(run.spout("numbers").failed(), 10);
    assert_eq!((run.spout("numbers").acked(), run.component("numbers").replayed), (1000, 10));
    assert_eq!((run.component("picky").failed, run.component("picky").restarts), (10, 0));
    assert_same_tuples(log.rows(), (0..1000).map(|n| values![n]));
    let errors = &run.summary().errors;
    assert_eq!((errors.len(), errors[0].count, errors[0].message.as_str()), (1, 10, "not this time"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn zero_ackers_ack_at_once() -> TestResult {
    let feeder = Feeder::new(["n"]);
    let mut builder = TopologyBuilder::new("untracked");
    builder.config("topology.acker.executors", 0);
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("stuck", || Slow(Duration::from_secs(60))).shuffle("feeder");
    let run = LocalCluster::new().start(builder.build()?).await?;
    let began = Instant::now();
    feeder.feed(values![1]);
    feeder.settled(1).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    feeder.finish();
    let run = run.finished().await?;
    assert_eq!(run.component("stuck").executed, 1, "the run ends only when the tuple is through");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_id_is_acked_or_failed_once_however_many_leaves_fail() -> TestResult {
    let feeder = Feeder::new(["n"]);
    let mut builder = TopologyBuilder::new("once");
    let _ = builder.add_spout("feeder", feeder.factory());
    for id in ["a", "b", "c"] {
        let _ = builder.bolt(id, sink(|_, _| Err("always".into()))).all("feeder");
    }
    let run = LocalCluster::new().serialize_all().start(builder.build()?).await?;
    (0..100).for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    run.finished().await?;
    let mut failed = feeder.failed();
    failed.sort_unstable();
    assert_eq!(failed, (0..100).collect::<Vec<_>>());
    assert!(feeder.acked().is_empty());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tuple_that_no_bolt_receives_is_acked() -> TestResult {
    let mut builder = TopologyBuilder::new("nobody");
    let _ = builder.spout("numbers", || Numbers::new(100));
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.spout("numbers").acked(), 100);
    Ok(())
}

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
