//! What can only be shown on real threads.

use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::TestResult;
use galerna_worker::{LocalOptions, LocalRun, RunStatus};
use tokio::time::{Instant, sleep};

use crate::support::Numbers;

/// Blocks its thread, as code does that was not written for async.
struct Blocking;

impl Bolt for Blocking {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        #[allow(clippy::disallowed_methods, reason = "this is the misdeed that is tested")]
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }
}

struct Quick;

impl Bolt for Quick {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[tokio::test]
async fn more_blocking_bolts_than_cores_do_not_delay_acks_timeouts_or_heartbeats() -> TestResult {
    let cores = std::thread::available_parallelism()?.get() as u32;
    for declared in [true, false] {
        let mut builder = TopologyBuilder::new("blocking");
        builder.config("topology.message.timeout.secs", 1);
        let _ = builder.spout("feeding", || Numbers::new(100).retries(0)).config("topology.max.spout.pending", 2);
        let blocking = builder.bolt("blocking", || Blocking).parallelism(2 * cores).shuffle("feeding");
        let _ = if declared { blocking.blocking() } else { blocking };
        let _ = builder.spout("numbers", Numbers::endless).config("topology.max.spout.pending", 10);
        let _ = builder.bolt("quick", || Quick).shuffle("numbers");
        let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
        let began = Instant::now();
        let of = |run: &LocalRun, id: &str| {
            run.snapshot().components.into_iter().find(|component| component.id == id).expect("exists")
        };
        // The time-outs of what blocks come in time, long before the calls return.
        while of(&run, "feeding").failed < 2 {
            assert!(began.elapsed() < Duration::from_millis(1_900), "the time-out waits for the blocking call");
            sleep(Duration::from_millis(5)).await;
        }
        // And acks of others flow meanwhile.
        let quick = of(&run, "numbers");
        assert!(quick.acked > 100, "{quick:?}");
        assert!(quick.complete_latency_us.expect("acks").p50 < 100_000.0, "{quick:?}");
        run.abort();
        let summary = run.finished().await;
        assert_eq!(summary.status, RunStatus::Stopped);
    }
    Ok(())
}

#[tokio::test]
async fn a_run_of_its_own_threads_counts_exactly_and_ends_by_itself() -> TestResult {
    for workers in [1, 2] {
        let options = LocalOptions { workers: Some(workers), ..LocalOptions::default() };
        let topology = {
            let mut builder = TopologyBuilder::new("threads");
            let _ = builder.spout("numbers", || Numbers::new(100_000)).parallelism(2);
            let _ = builder.bolt("quick", || Quick).parallelism(3).shuffle("numbers");
            builder.build()?
        };
        let summary = LocalRun::start(topology, options)?.finished().await;
        assert_eq!(summary.status, RunStatus::Finished);
        assert_eq!((summary.components[0].acked, summary.components[0].failed), (200_000, 0));
        assert_eq!(summary.components[1].executed, 200_000);
    }
    Ok(())
}
