//! When trees time out, and how their time is counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{Instant, sleep};

use crate::support::{Log, Numbers, PENDING, Slow, TIMEOUT, sink};

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
async fn reset_timeout_does_not_shorten_the_complete_latency() -> TestResult {
    struct ResetsLate;
    impl Bolt for ResetsLate {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.context().sleep(Duration::from_secs(9)).await;
            out.reset_timeout(tuple);
            out.context().sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
    let mut builder = TopologyBuilder::new("latency");
    let _ = builder.spout("numbers", || Numbers::new(1));
    let _ = builder.bolt("resets-late", || ResetsLate).shuffle("numbers");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    let longest = run.summary().complete_latency_us.expect("acks").max;
    assert!(longest > 9.9e6, "{longest} us for a tree that took 10 s");
    Ok(())
}

/// More than its inbox takes are on their way to the bolt, so the spout waits for room.
#[tokio::test(start_paused = true)]
async fn timeouts_come_although_the_receiver_is_stuck() -> TestResult {
    let mut builder = TopologyBuilder::new("stuck");
    builder.config(TIMEOUT, 5);
    builder.config(PENDING, 5000);
    let _ = builder.spout("numbers", || Numbers::endless().retries(1_000_000));
    let _ = builder.bolt("stuck", || Slow(Duration::from_secs(100_000))).shuffle("numbers");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(60)).await;
    let spout = &run.snapshot().components[0];
    assert!(spout.failed > 0, "none failed after 60 s with a time-out of 5 s: {spout:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_longest_timeout_works_and_a_longer_one_is_refused() -> TestResult {
    let with_timeout = |seconds: i64| {
        let mut builder = TopologyBuilder::new("long");
        builder.config(TIMEOUT, seconds);
        let _ = builder.spout("numbers", || Numbers::new(1));
        let _ = builder.bolt("sink", sink(|_, _| Ok(()))).shuffle("numbers");
        builder.build()
    };
    let run = LocalCluster::new().complete(with_timeout(1_000_000_000)?).await?;
    assert_eq!(run.spout("numbers").acked(), 1);
    for seconds in [1_000_000_001, i64::MAX] {
        let error = with_timeout(seconds).expect_err("too long").to_string();
        assert!(error.contains(TIMEOUT) && error.contains("at most 1000000000"), "{error}");
    }
    Ok(())
}

/// Emits two batches of 1500, takes 6 s for its first ack, and notes when what failed.
struct SlowToAck {
    next: u64,
    failed: Arc<Mutex<BTreeMap<u64, Duration>>>,
}

impl Spout for SlowToAck {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        if self.next == 3000 {
            return Ok(Next::Idle);
        }
        for id in self.next..self.next + 1500 {
            out.emit(id, values![id as i64]);
        }
        self.next += 1500;
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
        if id == 0 {
            context.sleep(Duration::from_secs(6)).await;
        }
        Ok(())
    }
    async fn fail(&mut self, id: u64, _: &Failure, context: &TopologyContext) -> Result<()> {
        self.failed.lock().unwrap().insert(id, context.elapsed());
        Ok(())
    }
}

/// The first batch leaves the second waiting for room for some seconds; then the bolt is stuck.
#[tokio::test(start_paused = true)]
async fn a_slow_ack_while_the_spout_waits_for_room_does_not_make_timeouts_early() -> TestResult {
    struct GetsStuck(Log);
    impl Bolt for GetsStuck {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.0.note(out.context().task_id(), tuple.values());
            let is_stuck = tuple.i64("n")? == 2400;
            out.context().sleep(if is_stuck { Duration::from_secs(1000) } else { Duration::from_millis(5) }).await;
            Ok(())
        }
    }
    let (failed, log) = (Arc::new(Mutex::new(BTreeMap::new())), Log::default());
    let mut builder = TopologyBuilder::new("early");
    builder.config(TIMEOUT, 10);
    builder.config(PENDING, 4000);
    let told = failed.clone();
    let _ = builder.spout("slow-to-ack", move || SlowToAck { next: 0, failed: told.clone() });
    let noting = log.clone();
    let _ = builder.bolt("gets-stuck", move || GetsStuck(noting.clone())).shuffle("slow-to-ack");
    let _run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(log.len(), 2401, "the tuple that it is stuck in came last");
    let failed_at = *failed.lock().unwrap().get(&2400).expect("timed out");
    // The batch left when less than the first credit was under way: after 477 tuples, or 2.385 s.
    assert!(failed_at >= Duration::from_millis(12_385), "after {failed_at:?}");
    assert!(failed_at <= Duration::from_millis(13_400), "after {failed_at:?}");
    Ok(())
}
