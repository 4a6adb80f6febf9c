//! Failing tests of a review.
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use galerna_worker::{LocalOptions, LocalRun, RunStatus};
use tokio::time::{sleep, timeout};

use crate::support::{Log, Noting, Numbers, PENDING, Slow, TIMEOUT, sink};

const LONG: Duration = Duration::from_secs(3600);

/// Waits inside `next`, as `rx.recv().await` would.
struct Waiting {
    next: u64,
    count: u64,
    acked: Arc<Mutex<Vec<u64>>>,
}
impl Spout for Waiting {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        if self.next == self.count {
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

#[tokio::test(start_paused = true)]
async fn ack_while_next_waits_goes_to_its_own_id() -> TestResult {
    let acked = Arc::new(Mutex::new(Vec::new()));
    let mut b = TopologyBuilder::new("slots");
    let a = acked.clone();
    let _ = b.spout("s", move || Waiting { next: 0, count: 2, acked: a.clone() });
    struct Stuck;
    impl Bolt for Stuck {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.context()
                .sleep(if t.i64(0usize)? == 1 { Duration::from_secs(20) } else { Duration::from_millis(5) })
                .await;
            Ok(())
        }
    }
    let _ = b.bolt("b", || Stuck).shuffle("s");
    let _run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(*acked.lock().unwrap(), [0], "1 is still being executed");
    Ok(())
}

fn failing_sink(
    n: i64,
) -> impl Fn() -> crate::support::Each<Box<dyn FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Send>>
+ Send
+ Sync
+ 'static {
    move || crate::support::Each {
        call: Box::new(
            move |t: &Tuple<'_>, _: &mut Emitter<'_>| if t.i64(0usize)? == n { Err("no".into()) } else { Ok(()) },
        ) as Box<dyn FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Send>,
        output: Streams::none(),
    }
}

#[tokio::test(start_paused = true)]
async fn rows_anchored_to_held_tuples_stay_so_over_room() -> TestResult {
    #[derive(Default)]
    struct Hold(Vec<HeldTuple>);
    impl ManualBolt for Hold {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let held = out.keep(t);
            self.0.push(held);
            Ok(())
        }
        async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
            for held in self.0.drain(..) {
                out.emit_anchored([&held], held.values());
                out.room().await;
                out.ack(held);
            }
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    (0..3).for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    let mut b = TopologyBuilder::new("held-room");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.manual_bolt("h", Hold::default).shuffle("s");
    let _ = b.bolt("f", failing_sink(1)).shuffle("h");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(feeder.failed(), [1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_room_sends_nevertheless() -> TestResult {
    struct Impatient;
    impl Bolt for Impatient {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.emit(t.values());
            let _ = timeout(Duration::ZERO, out.room()).await;
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    (0..3).for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    let log = Log::default();
    let mut b = TopologyBuilder::new("room");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("i", || Impatient).shuffle("s");
    let l = log.clone();
    let _ = b.bolt("n", move || Noting::new(&l, ["n"])).shuffle("i");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!((feeder.acked().len(), log.len()), (3, 3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tuple_kept_twice_fails_if_either_fails() -> TestResult {
    struct Twice;
    impl ManualBolt for Twice {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let (a, b) = (out.keep(t), out.keep(t));
            out.fail(a);
            out.ack(b);
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.finish();
    let mut b = TopologyBuilder::new("twice");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.manual_bolt("t", || Twice).shuffle("s");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!((feeder.acked(), feeder.failed()), (vec![], vec![0]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_grouping_fails_the_tuple_in_hand() -> TestResult {
    struct G(TaskId);
    impl CustomGrouping for G {
        fn choose(&mut self, values: &[Value], chosen: &mut Vec<TaskId>) {
            assert!(values[0].as_i64() != Some(5), "five");
            chosen.push(self.0);
        }
    }
    let feeder = Feeder::new(["n"]);
    (0..10).for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    let log = Log::default();
    let mut b = TopologyBuilder::new("grouping");
    let _ = b.add_spout("s", feeder.factory());
    let l = log.clone();
    let _ = b.bolt("p", move || Noting::new(&l, ["n"])).shuffle("s");
    let _ = b
        .bolt("q", sink(|_, _| Ok(())))
        .custom("p", CustomGroupingFactory::new("g", |c: &GroupingContext| G(c.targets[0])));
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!((feeder.failed(), log.len()), (vec![5], 10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panic_in_a_spouts_hook_does_not_end_the_run() -> TestResult {
    struct H;
    impl TaskHook for H {
        fn ack(&self, _: TaskId, _: Option<Duration>) {
            panic!("hook")
        }
    }
    struct S(Numbers);
    impl Spout for S {
        type MessageId = i64;
        fn output(&self) -> Streams {
            self.0.output()
        }
        async fn open(&mut self, c: &TopologyContext) -> Result<()> {
            c.add_task_hook(Arc::new(H));
            Ok(())
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
            self.0.next(out).await
        }
    }
    let mut b = TopologyBuilder::new("hook");
    let _ = b.spout("s", || S(Numbers::new(3)));
    let _ = b.bolt("n", sink(|_, _| Ok(()))).shuffle("s");
    let mut run = LocalCluster::new().start(b.build()?).await?.finished();
    let outcome = timeout(LONG, async { (&mut Box::pin(run)).await }).await?;
    if let Err(error) = outcome {
        assert!(!error.to_string().contains("engine itself"), "{error}");
    }
    Ok(())
}

struct Directed(u64, Vec<u64>);
impl Spout for Directed {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::none().direct_stream("d", ["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        if self.0 > 0 {
            return Ok(Next::Exhausted);
        }
        self.0 += 1;
        out.emit_direct(7, 999, "d", values![1]);
        Ok(Next::Emitted)
    }
}

#[tokio::test(start_paused = true)]
async fn a_spout_tuple_for_an_unknown_task_is_not_acked() -> TestResult {
    let mut b = TopologyBuilder::new("direct");
    let _ = b.spout("s", || Directed(0, Vec::new()));
    let _ = b.bolt("n", sink(|_, _| Ok(()))).direct("s", "d");
    let run = LocalCluster::new().complete(b.build()?).await?;
    assert_eq!((run.spout("s").acked(), run.spout("s").failed()), (0, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_direct_stream_may_have_two_consumers() -> TestResult {
    struct D;
    impl Bolt for D {
        fn output(&self) -> Streams {
            Streams::none().direct_stream("d", ["n"])
        }
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            let to = if t.i64(0usize)? % 2 == 0 { "x" } else { "y" };
            let task = out.context().tasks_of(to).unwrap().start;
            out.emit_direct(task, "d", t.values());
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    (0..4).for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    let mut b = TopologyBuilder::new("direct2");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("d", || D).shuffle("s");
    let _ = b.bolt("x", sink(|_, _| Ok(()))).direct("d", "d");
    let _ = b.bolt("y", sink(|_, _| Ok(()))).direct("d", "d");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(feeder.failed(), Vec::<u64>::new());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bounded_pool_behind_a_handle_does_not_deadlock() -> TestResult {
    struct Pool {
        work: Option<tokio::sync::mpsc::Sender<HeldTuple>>,
    }
    impl ManualBolt for Pool {
        async fn prepare(&mut self, c: &TopologyContext) -> BoltResult {
            let (tx, mut rx) = tokio::sync::mpsc::channel::<HeldTuple>(16);
            let handle = c.output_handle();
            tokio::spawn(async move {
                while let Some(t) = rx.recv().await {
                    let _ = handle.ack(t).await;
                }
            });
            self.work = Some(tx);
            Ok(())
        }
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let held = out.keep(t);
            self.work.as_ref().unwrap().send(held).await.map_err(|_| "closed")?;
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("pool");
    b.config(PENDING, 1000);
    let _ = b.spout("s", || Numbers::new(1000));
    let _ = b.manual_bolt("p", || Pool { work: None }).shuffle("s");
    let run = LocalCluster::new().start(b.build()?).await?;
    let done = timeout(LONG, run.finished()).await;
    let done = done.expect("deadlock")?;
    assert_eq!(done.spout("s").failed(), 0);
    Ok(())
}

struct PassOn;
impl ManualBolt for PassOn {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let held = out.keep(t);
        out.emit_anchored([&held], t.values());
        out.ack(held);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_storm_behind_a_bolt_that_acks_by_hand() -> TestResult {
    let mut b = TopologyBuilder::new("storm");
    b.config(TIMEOUT, 5);
    let _ = b.spout("s", Numbers::endless);
    let _ = b.manual_bolt("p", || PassOn).shuffle("s");
    let _ = b.bolt("slow", || Slow(Duration::from_millis(50))).shuffle("p");
    let run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(120)).await;
    let s = &run.snapshot().components[0];
    assert!(s.failed * 100 < s.acked, "acked {} failed {}", s.acked, s.failed);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_storm_when_a_fast_bolt_becomes_slow() -> TestResult {
    struct Later(u64);
    impl Bolt for Later {
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.0 += 1;
            if self.0 > 300_000 {
                out.context().sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("storm2");
    b.config(TIMEOUT, 5);
    let _ = b.spout("s", || Numbers::endless().retries(1_000_000));
    let _ = b.bolt("slow", || Later(0)).shuffle("s");
    let run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(600)).await;
    let before = run.snapshot().components[0].clone();
    sleep(Duration::from_secs(600)).await;
    let after = run.snapshot().components[0].clone();
    let (acked, failed) = (after.acked - before.acked, after.failed - before.failed);
    assert!(failed * 100 < acked, "after 10 minutes, in 10 more: acked {acked} failed {failed}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn no_storm_before_a_bolt_of_a_second_a_tuple() -> TestResult {
    let mut b = TopologyBuilder::new("storm3");
    b.config(TIMEOUT, 5);
    let _ = b.spout("s", || Numbers::endless().retries(1_000_000));
    let _ = b.bolt("slow", || Slow(Duration::from_secs(1))).shuffle("s");
    let run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(600)).await;
    let before = run.snapshot().components[0].clone();
    sleep(Duration::from_secs(600)).await;
    let after = run.snapshot().components[0].clone();
    let (acked, failed) = (after.acked - before.acked, after.failed - before.failed);
    assert!(failed * 10 < acked, "acked {acked} failed {failed}");
    Ok(())
}

/// Three or more rows a call while the receiver makes room in the middle of the call.
#[test]
fn a_spout_goes_on_after_room_was_made_in_the_middle_of_a_call() -> TestResult {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    struct G(TaskId, u64);
    impl CustomGrouping for G {
        fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
            self.1 += 1;
            if self.1 == 2049 {
                // The other thread is simply fast here.
                while SEEN.load(Ordering::Relaxed) < 1024 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            chosen.push(self.0);
        }
    }
    struct Bursts(u32);
    impl Spout for Bursts {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            let rows = match self.0 {
                0 => 1024,
                1 => 1025,
                2 => 10,
                _ => return Ok(Next::Exhausted),
            };
            self.0 += 1;
            (0..rows).for_each(|n| out.emit_untracked(values![n]));
            Ok(Next::Emitted)
        }
    }
    let mut b = TopologyBuilder::new("livelock");
    let _ = b.spout("s", || Bursts(0));
    let _ = b
        .bolt(
            "n",
            sink(|_, _| {
                SEEN.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(20));
                Ok(())
            }),
        )
        .custom("s", CustomGroupingFactory::new("g", |c: &GroupingContext| G(c.targets[0], 0)));
    let mut run = LocalRun::start(b.build()?, LocalOptions::default())?;
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = rt.block_on(async { timeout(Duration::from_secs(5), run.finished()).await });
    assert!(summary.is_ok(), "the spout hangs; seen {}", SEEN.load(Ordering::Relaxed));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn time_outs_come_although_a_receiver_is_stuck() -> TestResult {
    struct Stuck;
    impl Bolt for Stuck {
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_secs(100_000)).await;
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("stuck");
    b.config(TIMEOUT, 5);
    b.config(PENDING, 5000);
    let _ = b.spout("s", || Numbers::endless().retries(1_000_000));
    let _ = b.bolt("x", || Stuck).shuffle("s");
    let run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(60)).await;
    let s = run.snapshot().components[0].clone();
    assert!(s.failed > 0, "{} emitted, none failed after 60 s with a time-out of 5 s", s.emitted);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tick_slower_than_its_interval_does_not_starve_tuples() -> TestResult {
    struct T(Log);
    impl Bolt for T {
        async fn execute(&mut self, t: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            self.0.note(0, t.values());
            Ok(())
        }
        async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_millis(1200)).await;
            Ok(())
        }
    }
    let log = Log::default();
    let l = log.clone();
    let feeder = Feeder::new(["n"]);
    let mut b = TopologyBuilder::new("tick");
    b.config("topology.tick.tuple.freq.secs", 1);
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("t", move || T(l.clone())).shuffle("s");
    let _run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_millis(1500)).await;
    feeder.feed(values![1]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(log.len(), 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn held_last_words_lost_by_a_panic_fail_the_run() -> TestResult {
    struct Last;
    impl Bolt for Last {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            out.emit(values![42]);
            Ok(())
        }
    }
    #[derive(Default)]
    struct Keeps(Vec<HeldTuple>);
    static PANICKED: AtomicBool = AtomicBool::new(false);
    impl ManualBolt for Keeps {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let h = out.keep(t);
            self.0.push(h);
            Ok(())
        }
        async fn flush(&mut self, _: &mut ManualEmitter<'_>) -> BoltResult {
            if !self.0.is_empty() && !PANICKED.swap(true, Ordering::Relaxed) {
                panic!("flush")
            }
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("words");
    let _ = b.spout("s", || Numbers::new(3));
    let _ = b.bolt("l", || Last).shuffle("s");
    let _ = b.manual_bolt("k", Keeps::default).shuffle("l");
    let outcome = LocalCluster::new().complete(b.build()?).await;
    assert!(PANICKED.load(Ordering::Relaxed));
    assert!(outcome.is_err(), "the last words are lost and the run says it is finished");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn last_words_that_pass_through_a_held_tuple_still_count() -> TestResult {
    struct Last;
    impl Bolt for Last {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            out.emit(values![42]);
            Ok(())
        }
    }
    #[derive(Default)]
    struct Sums(i64);
    impl Bolt for Sums {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, t: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            self.0 += t.i64(0usize)?;
            Ok(())
        }
        async fn flush(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            if self.0 > 0 {
                out.emit(values![self.0]);
                self.0 = 0;
            }
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("words2");
    let _ = b.spout("s", || Numbers::new(3));
    let _ = b.bolt("l", || Last).shuffle("s");
    let _ = b.bolt("sum", Sums::default).shuffle("l");
    let _ = b.bolt("f", failing_sink(42)).shuffle("sum");
    let outcome = LocalCluster::new().complete(b.build()?).await;
    assert!(outcome.is_err(), "what came of `finish` failed and the run says it is finished");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_deep_value_fails_alone() -> TestResult {
    let mut deep = Value::from(1);
    for _ in 0..70 {
        deep = Value::list([deep]);
    }
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.feed(values![deep]);
    feeder.feed(values![3]);
    feeder.finish();
    let mut b = TopologyBuilder::new("deep");
    b.config(TIMEOUT, 5);
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("x", sink(|_, _| Ok(()))).shuffle("s");
    let _ = LocalCluster::new().serialize_all().complete(b.build()?).await;
    assert_eq!((feeder.acked(), feeder.failed()), (vec![0, 2], vec![1]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn emit_row_keeps_to_the_limit() -> TestResult {
    struct Rows;
    impl Bolt for Rows {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            for n in 0..50 {
                out.emit_row(&(n,))?;
            }
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.finish();
    let mut b = TopologyBuilder::new("limit");
    b.config("topology.emit.limit", 10);
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("x", || Rows).shuffle("s");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(feeder.failed(), [0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_drop_at_the_end_does_not_fail_the_engine() -> TestResult {
    struct D;
    impl Bolt for D {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
    }
    impl Drop for D {
        fn drop(&mut self) {
            if LIVE.fetch_add(1, Ordering::Relaxed) > 0 {
                panic!("drop")
            }
        }
    }
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    let mut b = TopologyBuilder::new("drop");
    let _ = b.spout("s", || Numbers::new(3));
    struct Lingers;
    impl Bolt for Lingers {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn cleanup(&mut self, c: &TopologyContext) -> BoltResult {
            c.sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
    let _ = b.bolt("d", || D).parallelism(3).shuffle("s");
    let _ = b.bolt("l", || Lingers).shuffle("s");
    LocalCluster::new().complete(b.build()?).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_shutdown_of_a_worker_hook_leaves_the_status() -> TestResult {
    struct W;
    impl WorkerHook for W {
        fn shutdown(&self) {
            panic!("shutdown")
        }
    }
    let mut b = TopologyBuilder::new("shutdown");
    b.worker_hook(W);
    let _ = b.spout("s", || Numbers::new(3));
    let run = LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(run.summary().status, RunStatus::Finished);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hooks_do_not_pile_up_with_restarts() -> TestResult {
    struct H(Arc<AtomicU64>);
    impl TaskHook for H {
        fn execute(&self, _: &ExecuteInfo<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    struct P(Arc<AtomicU64>);
    impl Bolt for P {
        async fn prepare(&mut self, c: &TopologyContext) -> BoltResult {
            c.add_task_hook(Arc::new(H(self.0.clone())));
            Ok(())
        }
        async fn execute(&mut self, t: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            assert!(t.i64(0usize)? != 0);
            Ok(())
        }
    }
    let (count, feeder) = (Arc::new(AtomicU64::new(0)), Feeder::new(["n"]));
    [0, 0, 0, 1].into_iter().for_each(|n| feeder.feed(values![n]));
    feeder.finish();
    let mut b = TopologyBuilder::new("hooks");
    let _ = b.add_spout("s", feeder.factory());
    let c = count.clone();
    let _ = b.bolt("p", move || P(c.clone())).shuffle("s");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(count.load(Ordering::Relaxed), 1, "one tuple was executed to its end");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_row_of_a_room_part_without_a_target_fails_its_input_at_once() -> TestResult {
    struct D;
    impl Bolt for D {
        fn output(&self) -> Streams {
            Streams::none().direct_stream("d", ["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.emit_direct(999, "d", values![1]);
            out.room().await;
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.finish();
    let mut b = TopologyBuilder::new("room-target");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.bolt("d", || D).shuffle("s");
    let _ = b.bolt("x", sink(|_, _| Ok(()))).direct("d", "d");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(feeder.failed(), [0]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn failed_is_counted_once_for_a_kept_tuple_whose_call_panics() -> TestResult {
    struct K;
    impl ManualBolt for K {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let _h = out.keep(t);
            panic!("kept")
        }
    }
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.finish();
    let mut b = TopologyBuilder::new("count");
    let _ = b.add_spout("s", feeder.factory());
    let _ = b.manual_bolt("k", || K).shuffle("s");
    let run = LocalCluster::new().complete(b.build()?).await?;
    assert_eq!(run.component("k").failed, 1);
    Ok(())
}
#[allow(dead_code)]
fn unused() -> (BTreeSet<u8>,) {
    (BTreeSet::new(),)
}

#[tokio::test(start_paused = true)]
async fn without_ackers_a_refused_emit_is_not_acked() -> TestResult {
    struct S {
        calls: u32,
        acked: Arc<AtomicU64>,
    }
    impl Spout for S {
        type MessageId = u32;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u32>) -> Result<Next> {
            self.calls += 1;
            if self.calls > 1 {
                return Ok(Next::Exhausted);
            }
            out.emit(1, values![1]);
            out.emit(2, values![1, 2]);
            Ok(Next::Emitted)
        }
        async fn ack(&mut self, _: u32, _: &TopologyContext) -> Result<()> {
            self.acked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
    let acked = Arc::new(AtomicU64::new(0));
    let a = acked.clone();
    let mut b = TopologyBuilder::new("refused");
    b.config("topology.acker.executors", 0);
    let _ = b.spout("s", move || S { calls: 0, acked: a.clone() });
    let log = Log::default();
    let l = log.clone();
    let _ = b.bolt("n", move || Noting::new(&l, ["n"])).shuffle("s");
    LocalCluster::new().complete(b.build()?).await?;
    assert_eq!((log.len() as u64, acked.load(Ordering::Relaxed)), (0, 0));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn reset_does_not_shorten_the_complete_latency() -> TestResult {
    struct R;
    impl Bolt for R {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_secs(9)).await;
            out.reset_timeout(t);
            out.context().sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
    let mut b = TopologyBuilder::new("latency");
    let _ = b.spout("s", || Numbers::new(1));
    let _ = b.bolt("r", || R).shuffle("s");
    let run = LocalCluster::new().complete(b.build()?).await?;
    let max = run.summary().complete_latency_us.unwrap().max;
    assert!(max > 9.9e6, "{max} us for a tree that took 10 s");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_replayable_failure_beside_last_words_does_not_fail_the_run() -> TestResult {
    struct Last;
    impl Bolt for Last {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_millis(500)).await;
            Ok(())
        }
        async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
            out.emit(values![-1]);
            Ok(())
        }
    }
    let feeder = Feeder::new(["n"]);
    let mut b = TopologyBuilder::new("mixed");
    let _ = b.spout("one", || Numbers::new(1));
    let _ = b.bolt("last", || Last).shuffle("one");
    let _ = b.add_spout("two", feeder.factory());
    let log = Log::default();
    let l = log.clone();
    // Both wait in its inbox while it is busy with the first, and go on in one batch.
    struct Busy(Noting, bool);
    impl Bolt for Busy {
        fn output(&self) -> Streams {
            self.0.output()
        }
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            if t.i64(0usize)? == 1 {
                out.context().sleep(Duration::from_secs(3)).await;
            }
            self.0.execute(t, out).await
        }
    }
    let _ = b.bolt("mid", move || Busy(Noting::new(&l, ["n"]), false)).shuffle("last").shuffle("two");
    let _ = b.bolt("end", failing_sink(7)).shuffle("mid");
    feeder.feed(values![1]);
    let run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(1)).await;
    feeder.feed(values![7]);
    feeder.finish();
    let outcome = run.finished().await;
    assert_eq!(feeder.failed(), [1]);
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    Ok(())
}

#[test]
fn a_run_that_is_dropped_in_the_middle_is_quiet() -> TestResult {
    static LOUD: AtomicU64 = AtomicU64::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        LOUD.fetch_add(1, Ordering::Relaxed);
        before(info)
    }));
    for _ in 0..50 {
        let mut b = TopologyBuilder::new("dropped");
        b.config("topology.tick.tuple.freq.secs", 0.001);
        let _ = b.spout("s", Numbers::endless);
        let _ = b.bolt("n", sink(|_, _| Ok(()))).parallelism(2).shuffle("s");
        let run = LocalRun::start(b.build()?, LocalOptions::default())?;
        std::thread::sleep(Duration::from_millis(20));
        drop(run);
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(LOUD.load(Ordering::Relaxed), 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_very_long_time_out_is_refused_or_works() -> TestResult {
    let mut b = TopologyBuilder::new("long");
    b.config(TIMEOUT, i64::MAX);
    let _ = b.spout("s", || Numbers::new(1));
    let _ = b.bolt("n", sink(|_, _| Ok(()))).shuffle("s");
    let Ok(topology) = b.build() else { return Ok(()) };
    LocalCluster::new().complete(topology).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_slow_async_ack_while_blocked_does_not_make_time_outs_early() -> TestResult {
    struct S {
        n: u64,
        failed: Arc<Mutex<Vec<(u64, Duration)>>>,
    }
    impl Spout for S {
        type MessageId = u64;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
            if self.n >= 3000 {
                return Ok(Next::Idle);
            }
            for _ in 0..1500 {
                out.emit(self.n, values![self.n as i64]);
                self.n += 1;
            }
            Ok(Next::Emitted)
        }
        async fn ack(&mut self, id: u64, c: &TopologyContext) -> Result<()> {
            if id == 0 {
                c.sleep(Duration::from_secs(6)).await;
            }
            Ok(())
        }
        async fn fail(&mut self, id: u64, c: &TopologyContext) -> Result<()> {
            self.failed.lock().unwrap().push((id, c.elapsed()));
            Ok(())
        }
    }
    /// 5 ms a tuple for the first batch (which leaves the second waiting for room some seconds), then stuck.
    struct B(Arc<Mutex<Option<Duration>>>, u64);
    impl Bolt for B {
        async fn execute(&mut self, t: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.1 += 1;
            let n = t.i64(0usize)? as u64;
            if n >= 1400 {
                self.0.lock().unwrap().get_or_insert(out.context().elapsed());
                out.context().sleep(Duration::from_secs(1000)).await;
            }
            out.context().sleep(Duration::from_millis(if n < 1500 { 5 } else { 0 })).await;
            Ok(())
        }
    }
    let (failed, arrived) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
    let mut b = TopologyBuilder::new("early");
    b.config(TIMEOUT, 10);
    b.config(PENDING, 4000);
    let f = failed.clone();
    let _ = b.spout("s", move || S { n: 0, failed: f.clone() });
    let a = arrived.clone();
    let _ = b.bolt("b", move || B(a.clone(), 0)).shuffle("s");
    let _run = LocalCluster::new().start(b.build()?).await?;
    sleep(Duration::from_secs(60)).await;
    let arrived = arrived.lock().unwrap().expect("arrived");
    let first = failed.lock().unwrap().iter().find(|(id, _)| *id == 1400).map(|(_, at)| *at);
    println!("arrived {arrived:?} failed {first:?}");
    // Its batch left when the first was done, after 5.1 s.
    assert!(first.unwrap() >= Duration::from_secs(15), "arrived {arrived:?} failed {first:?}");
    Ok(())
}
