//! Slow bolts: what waits for them must not time out, be replayed and make them slower still.

use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Numbers, Slow, TIMEOUT};

#[tokio::test(start_paused = true)]
async fn no_replay_storm_behind_a_slow_bolt() -> TestResult {
    let mut builder = TopologyBuilder::new("storm");
    builder.config(TIMEOUT, 5);
    let _ = builder.spout("numbers", Numbers::endless);
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(50))).shuffle("numbers");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(120)).await;
    let summary = run.snapshot();
    let spout = &summary.components[0];
    assert!(spout.acked > 2000, "{spout:?}");
    assert!(spout.replayed * 100 < spout.acked, "{spout:?}");
    Ok(())
}

/// The slow bolt is two hops away, and the one between them takes all that it is given.
#[tokio::test(start_paused = true)]
async fn no_replay_storm_behind_a_bolt_that_acks_by_hand() -> TestResult {
    struct PassOn;
    impl ManualBolt for PassOn {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let held = out.keep(tuple);
            out.emit_anchored([&held], tuple.values());
            out.ack(held);
            Ok(())
        }
    }
    let mut builder = TopologyBuilder::new("by-hand");
    builder.config(TIMEOUT, 5);
    let _ = builder.spout("numbers", Numbers::endless);
    let _ = builder.manual_bolt("pass", || PassOn).shuffle("numbers");
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(50))).shuffle("pass");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(120)).await;
    let spout = &run.snapshot().components[0];
    assert!(spout.failed * 100 < spout.acked, "{spout:?}");
    Ok(())
}

/// What its spout acked and what failed in ten minutes, ten minutes after the start.
async fn acked_and_failed_in_the_long_run(topology: Topology) -> TestResult<(u64, u64)> {
    let run = LocalCluster::new().start(topology).await?;
    sleep(Duration::from_secs(600)).await;
    let before = run.snapshot().components[0].clone();
    sleep(Duration::from_secs(600)).await;
    let after = run.snapshot().components[0].clone();
    Ok((after.acked - before.acked, after.failed - before.failed))
}

#[tokio::test(start_paused = true)]
async fn no_lasting_replay_storm_when_a_fast_bolt_becomes_slow() -> TestResult {
    struct SlowsDown(u64);
    impl Bolt for SlowsDown {
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.0 += 1;
            if self.0 > 300_000 {
                out.context().sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        }
    }
    let mut builder = TopologyBuilder::new("slows-down");
    builder.config(TIMEOUT, 5);
    let _ = builder.spout("numbers", || Numbers::endless().retries(1_000_000));
    let _ = builder.bolt("slows-down", || SlowsDown(0)).shuffle("numbers");
    let (acked, failed) = acked_and_failed_in_the_long_run(builder.build()?).await?;
    assert!(failed * 100 < acked, "acked {acked}, failed {failed}");
    Ok(())
}

/// Only five tuples can be through before the time-out.
#[tokio::test(start_paused = true)]
async fn no_lasting_replay_storm_behind_a_bolt_that_takes_a_second_a_tuple() -> TestResult {
    let mut builder = TopologyBuilder::new("second");
    builder.config(TIMEOUT, 5);
    let _ = builder.spout("numbers", || Numbers::endless().retries(1_000_000));
    let _ = builder.bolt("slow", || Slow(Duration::from_secs(1))).shuffle("numbers");
    let (acked, failed) = acked_and_failed_in_the_long_run(builder.build()?).await?;
    assert!(failed * 10 < acked, "acked {acked}, failed {failed}");
    Ok(())
}
