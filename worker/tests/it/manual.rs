//! Bolts that keep tuples and decide about them by hand, and the test kit's stand-ins.

use std::collections::BTreeMap;
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{Log, Noting, Numbers, PENDING, Slow, fed, numbers};

/// Joins two streams by their number, anchoring to both.
#[derive(Default)]
struct Join(BTreeMap<i64, HeldTuple>);

impl ManualBolt for Join {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let n = tuple.i64("n")?;
        let held = out.keep(tuple);
        match self.0.remove(&n) {
            None => {
                self.0.insert(n, held);
            }
            Some(other) => {
                out.emit_anchored([&held, &other], values![n]);
                out.ack(held);
                out.ack(other);
            }
        }
        Ok(())
    }
}

/// One spout into two branches that are joined: both tuples of a pair are of one tree. And two
/// spouts joined: a tuple belongs to two trees.
#[tokio::test(start_paused = true)]
async fn a_joined_tuple_belongs_to_the_trees_of_both_its_anchors() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(3), LocalCluster::new().serialize_all()] {
        let log = Log::default();
        let mut builder = TopologyBuilder::new("join");
        let _ = builder.spout("one", || Numbers::new(500));
        let _ = builder.spout("two", || Numbers::new(500));
        let _ = builder.bolt("left", || Slow(Duration::ZERO)).shuffle("one");
        let _ = builder.bolt("right", || Slow(Duration::from_micros(10))).shuffle("one");
        let _ = builder.manual_bolt("same", Join::default).parallelism(2).fields("left", ["n"]).fields("right", ["n"]);
        let _ = builder.manual_bolt("both", Join::default).parallelism(2).fields("same", ["n"]).fields("two", ["n"]);
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("both");
        let run = cluster.complete(builder.build()?).await?;
        assert_eq!((run.spout("one").acked(), run.spout("two").acked()), (500, 500));
        assert_eq!((run.spout("one").failed(), run.spout("two").failed()), (0, 0));
        let mut seen = numbers(&log.rows());
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_held_tuple_that_is_dropped_fails_at_once() -> TestResult {
    struct Careless;
    impl ManualBolt for Careless {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            drop(out.keep(tuple));
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    let mut builder = TopologyBuilder::new("careless");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("careless", || Careless).shuffle("feeder");
    let run = LocalCluster::new().start(builder.build()?).await?;
    feeder.feed(values![1]);
    let began = tokio::time::Instant::now();
    feeder.settled(1).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(feeder.failed(), [0]);
    feeder.finish();
    run.finished().await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tuple_kept_twice_fails_if_either_fails() -> TestResult {
    struct Undecided;
    impl ManualBolt for Undecided {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let (one, other) = (out.keep(tuple), out.keep(tuple));
            out.fail(one);
            out.ack(other);
            Ok(())
        }
    }
    let feeder = fed([1]);
    let mut builder = TopologyBuilder::new("undecided");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("undecided", || Undecided).shuffle("feeder");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((feeder.acked(), feeder.failed()), (vec![], vec![0]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_kept_tuple_whose_call_panics_counts_as_one_failure() -> TestResult {
    struct Panicking;
    impl ManualBolt for Panicking {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let _held = out.keep(tuple);
            panic!("kept")
        }
    }
    let feeder = fed([1]);
    let mut builder = TopologyBuilder::new("panicking");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("panicking", || Panicking).shuffle("feeder");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.component("panicking").failed, 1);
    Ok(())
}

/// Looks numbers up in spawned tasks, many at a time.
struct Lookup {
    handle: Option<OutputHandle>,
    tasks: JoinSet<()>,
}

impl ManualBolt for Lookup {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        self.handle = Some(context.output_handle());
        Ok(())
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let n = tuple.i64("n")?;
        let held = out.keep(tuple);
        let handle = self.handle.clone().ok_or("not prepared")?;
        let wait = out.context().sleep(Duration::from_millis(100));
        self.tasks.spawn(async move {
            wait.await;
            let _ = match n % 10 {
                // Dropped without a decision, from another task: fails at once.
                3 => {
                    drop(held);
                    Ok(())
                }
                4 => handle.fail(held, "not found").await,
                _ => handle.emit_and_ack(held, [vec![Value::from(n * 2)]]).await,
            };
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_work_emits_and_acks_through_its_handle() -> TestResult {
    let feeder = Feeder::new(["n"]);
    let log = Log::default();
    let mut builder = TopologyBuilder::new("lookup");
    builder.config("topology.max.spout.pending", 100);
    let _ = builder.add_spout("feeder", feeder.factory());
    let make = || Lookup { handle: None, tasks: JoinSet::new() };
    let _ = builder.manual_bolt("lookup", make).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("lookup");
    let run = LocalCluster::new().start(builder.build()?).await?;
    (0..1000).for_each(|n| feeder.feed(values![n]));
    let began = tokio::time::Instant::now();
    feeder.finish();
    let run = run.finished().await?;
    assert!(began.elapsed() < Duration::from_secs(3), "a hundred at a time: {:?}", began.elapsed());
    assert_eq!((feeder.acked().len(), feeder.failed().len()), (800, 200));
    assert_eq!(run.component("sink").executed, 800);
    assert!(numbers(&log.rows()).iter().all(|n| n % 2 == 0));
    assert!(run.summary().errors.iter().any(|error| error.message == "not found" && error.count == 100));
    Ok(())
}

/// Hands tuples to a task of its own, and waits while the queue to it is full.
struct Pool {
    queue: Option<mpsc::Sender<HeldTuple>>,
    tasks: JoinSet<()>,
}

impl ManualBolt for Pool {
    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        let (sender, mut receiver) = mpsc::channel(16);
        let handle = context.output_handle();
        self.tasks.spawn(async move {
            while let Some(held) = receiver.recv().await {
                let _ = handle.ack(held).await;
            }
        });
        self.queue = Some(sender);
        Ok(())
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let queue = self.queue.as_ref().ok_or("not prepared")?;
        queue.send(out.keep(tuple)).await.map_err(|_| "closed")?;
        Ok(())
    }
}

/// The bolt waits for its task, and the task for room in the bolt's commands.
#[tokio::test(start_paused = true)]
async fn spawned_work_that_the_bolt_waits_for_goes_on() -> TestResult {
    let mut builder = TopologyBuilder::new("pool");
    builder.config(PENDING, 1000);
    let _ = builder.spout("numbers", || Numbers::new(1000));
    let _ = builder.manual_bolt("pool", || Pool { queue: None, tasks: JoinSet::new() }).shuffle("numbers");
    let topology = builder.build()?;
    let run = timeout(Duration::from_secs(3600), LocalCluster::new().complete(topology)).await.expect("no deadlock")?;
    assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (1000, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_harness_shows_what_one_bolt_does() -> TestResult {
    let mut harness = BoltHarness::manual(["n"], Join::default).await?;
    let first = harness.execute(values![1]).await;
    assert!(first.is_kept && first.emitted.is_empty());
    let second = harness.execute(values![1]).await;
    assert_eq!(second.emitted, [("default".to_owned(), values![1].to_vec())]);
    let mut settled = second.settled;
    settled.sort_unstable();
    assert_eq!(settled, [(0, true), (1, true)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_mock_spout_stands_in_by_component_id() -> TestResult {
    let topology = || {
        let mut builder = TopologyBuilder::new("mocked");
        let _ = builder.spout("numbers", Numbers::endless);
        let _ = builder.bolt("pass", || Slow(Duration::ZERO)).shuffle("numbers");
        builder.build()
    };
    let run = LocalCluster::new().mock_spout("numbers", [values![7], values![8]]).complete(topology()?).await?;
    assert_same_tuples(run.emitted("pass"), [values![7], values![8]]);
    assert_eq!(run.spout("numbers").acked(), 2);
    let error =
        LocalCluster::new().mock_spout("nobody", [values![1]]).complete(topology()?).await.expect_err("refused");
    assert_eq!(error.to_string(), "topology `mocked` has no spout `nobody` to replace");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_spout_whose_ready_loses_nothing_when_dropped_passes_the_check() -> TestResult {
    check_ready_is_cancel_safe(|| Numbers::new(100)).await?;
    Ok(())
}
