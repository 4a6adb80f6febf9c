//! When a spout hears of ack or fail, and for which id.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{Instant, sleep};

use crate::support::{Each, Log, Noting, Numbers, Slow, sink};

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

/// Emits 0 and 1, each after a wait within `next`, as one for a socket would be.
struct Waiting {
    next: u64,
    acked: Arc<Mutex<Vec<u64>>>,
}

impl Spout for Waiting {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        if self.next == 2 {
            return Ok(Next::Exhausted);
        }
        out.context().sleep(Duration::from_millis(10)).await;
        out.emit(self.next, values![self.next as i64]);
        self.next += 1;
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, id: u64, _: &TopologyContext) -> Result<()> {
        self.acked.lock().unwrap().push(id);
        Ok(())
    }
}

/// The tree of 0 completes during the call that emits 1, which must not take its place too soon.
#[tokio::test(start_paused = true)]
async fn an_ack_that_comes_while_next_waits_goes_to_its_own_id() -> TestResult {
    struct SlowFromOne;
    impl Bolt for SlowFromOne {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            let wait = if tuple.i64("n")? == 1 { Duration::from_secs(20) } else { Duration::from_millis(5) };
            out.context().sleep(wait).await;
            Ok(())
        }
    }
    let acked = Arc::new(Mutex::new(Vec::new()));
    let mut builder = TopologyBuilder::new("waiting");
    let heard = acked.clone();
    let _ = builder.spout("waiting", move || Waiting { next: 0, acked: heard.clone() });
    let _ = builder.bolt("slow", || SlowFromOne).shuffle("waiting");
    let _run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*acked.lock().unwrap(), [0], "1 is still being executed");
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

/// A call whose second row has a value too many: neither row leaves, and neither id is acked.
#[tokio::test(start_paused = true)]
async fn zero_ackers_do_not_ack_what_a_refused_call_emits() -> TestResult {
    struct OneTooMany {
        has_emitted: bool,
        acked: Arc<AtomicU64>,
    }
    impl Spout for OneTooMany {
        type MessageId = u32;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u32>) -> Result<Next> {
            if self.has_emitted {
                return Ok(Next::Exhausted);
            }
            self.has_emitted = true;
            out.emit(1, values![1]);
            out.emit(2, values![1, 2]);
            Ok(Next::Emitted)
        }
        async fn ack(&mut self, _: u32, _: &TopologyContext) -> Result<()> {
            self.acked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let (acked, log) = (Arc::new(AtomicU64::new(0)), Log::default());
    let mut builder = TopologyBuilder::new("refused");
    builder.config("topology.acker.executors", 0);
    let counted = acked.clone();
    let _ = builder.spout("spout", move || OneTooMany { has_emitted: false, acked: counted.clone() });
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("spout");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((log.len(), acked.load(Ordering::Relaxed)), (0, 0));
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
