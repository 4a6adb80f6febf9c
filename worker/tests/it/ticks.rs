//! Ticks, and what else a bolt does meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::Log;

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
