//! What can only be shown on real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::TestResult;
use galerna_worker::{LocalOptions, LocalRun, RunStatus};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Numbers, sink};

#[allow(clippy::disallowed_methods, reason = "code that blocks is what is tested")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

/// Blocks its thread, as code does that was not written for async.
struct Blocking;

impl Bolt for Blocking {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        block(Duration::from_secs(2));
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

/// The calls emit 1024, 1025 and 10 rows; in the middle of the second, the bolt makes room.
#[tokio::test]
async fn a_spout_goes_on_after_room_was_made_in_the_middle_of_its_call() -> TestResult {
    struct Bursts(Vec<i64>);
    impl Spout for Bursts {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            let Some(rows) = self.0.pop() else { return Ok(Next::Exhausted) };
            (0..rows).for_each(|n| out.emit_untracked(values![n]));
            Ok(Next::Emitted)
        }
    }
    /// Holds up row 2049 until the bolt is through with the first call's: its thread is fast here.
    struct Dawdling {
        target: TaskId,
        rows: u64,
        seen: Arc<AtomicU64>,
    }
    impl CustomGrouping for Dawdling {
        fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
            self.rows += 1;
            if self.rows == 2049 {
                while self.seen.load(Ordering::Relaxed) < 1024 {
                    block(Duration::from_millis(1));
                }
                block(Duration::from_millis(100));
            }
            chosen.push(self.target);
        }
    }
    let seen = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("bursts");
    let _ = builder.spout("bursts", || Bursts(vec![10, 1025, 1024]));
    let shown = seen.clone();
    let dawdling =
        move |context: &GroupingContext| Dawdling { target: context.targets[0], rows: 0, seen: shown.clone() };
    let counted = seen.clone();
    let count = move |_: &Tuple<'_>, _: &mut Emitter<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        block(Duration::from_micros(20));
        Ok(())
    };
    let _ = builder.bolt("count", sink(count)).custom("bursts", CustomGroupingFactory::new("dawdling", dawdling));
    let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
    let ended = timeout(Duration::from_secs(5), run.finished()).await;
    let seen = seen.load(Ordering::Relaxed);
    assert!(ended.is_ok(), "the spout hangs, {seen} were seen");
    assert_eq!(seen, 2059);
    Ok(())
}

#[tokio::test]
async fn a_run_that_is_dropped_in_the_middle_is_quiet() -> TestResult {
    let ticking = || {
        let mut builder = TopologyBuilder::new("dropped");
        builder.config("topology.tick.tuple.freq.secs", 0.001);
        let _ = builder.spout("numbers", Numbers::endless);
        let _ = builder.bolt("quick", || Quick).parallelism(2).shuffle("numbers");
        LocalRun::start(builder.build()?, LocalOptions::default()).map_err(Error::from)
    };
    // The engine's own panic hook is set by the first call of user code, once: before that of the test.
    let mut first = ticking()?;
    while first.snapshot().components[1].executed == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    first.abort();
    first.finished().await;

    let panics = Arc::new(AtomicU64::new(0));
    let (counted, before) = (panics.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        // Other tests panic on purpose, on threads that have their names.
        if !std::thread::current().name().is_some_and(|name| name.contains("::")) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
    for _ in 0..50 {
        let run = ticking()?;
        sleep(Duration::from_millis(20)).await;
        drop(run);
    }
    // Nothing tells when the last of its threads is gone.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(panics.load(Ordering::Relaxed), 0);
    Ok(())
}
