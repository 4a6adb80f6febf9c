//! What a call hands over when it awaits room, before it returns.

use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{Instant, timeout};

use crate::support::{Log, Noting, fed, refusing, sink};

#[tokio::test(start_paused = true)]
async fn rows_handed_over_by_room_stay_anchored_to_their_held_tuples() -> TestResult {
    #[derive(Default)]
    struct EmitsAtFlush(Vec<HeldTuple>);
    impl ManualBolt for EmitsAtFlush {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            self.0.push(out.keep(tuple));
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
    let feeder = fed(0..3);
    let mut builder = TopologyBuilder::new("held");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("holder", EmitsAtFlush::default).shuffle("feeder");
    let _ = builder.bolt("sink", sink(refusing(1))).shuffle("holder");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(feeder.failed(), [1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn room_that_is_dropped_before_it_is_made_sends_all_the_same() -> TestResult {
    struct Impatient;
    impl Bolt for Impatient {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.emit(tuple.values());
            let _ = timeout(Duration::ZERO, out.room()).await;
            Ok(())
        }
    }
    let (feeder, log) = (fed(0..3), Log::default());
    let mut builder = TopologyBuilder::new("impatient");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("impatient", || Impatient).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("impatient");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((feeder.acked().len(), log.len()), (3, 3));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_row_handed_over_to_an_unknown_task_fails_its_input() -> TestResult {
    struct ToNobody;
    impl Bolt for ToNobody {
        fn output(&self) -> Streams {
            Streams::none().direct_stream("named", ["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            out.emit_direct(999, "named", tuple.values());
            out.room().await;
            Ok(())
        }
    }
    let feeder = fed([1]);
    let mut builder = TopologyBuilder::new("nobody");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("to-nobody", || ToNobody).shuffle("feeder");
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).direct("to-nobody", "named");
    let began = Instant::now();
    LocalCluster::new().complete(builder.build()?).await?;
    assert!(began.elapsed() < Duration::from_secs(5), "failed at once, not by time-out");
    assert_eq!(feeder.failed(), [0]);
    Ok(())
}

/// In one batch: a tuple that is passed on, and one whose call emits and then waits for room. What the
/// second call hands over belongs to its own tuple.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_room_behind_others_of_its_batch_goes_on_and_keeps_its_anchors() -> TestResult {
    struct Splits;
    impl Bolt for Splits {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            let n = tuple.i64("n")?;
            out.emit(values![n]);
            if n % 2 == 1 {
                out.room().await;
                out.emit(values![n + 100]);
            }
            Ok(())
        }
    }
    for cluster in [LocalCluster::new(), LocalCluster::new().serialize_all()] {
        let feeder = fed(0..10);
        let mut builder = TopologyBuilder::new("behind");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.bolt("splits", || Splits).shuffle("feeder");
        let _ = builder.bolt("refuses", sink(refusing(5))).shuffle("splits");
        let topology = builder.build()?;
        let run = timeout(Duration::from_secs(3_600), cluster.complete(topology)).await.expect("no call hangs")?;
        assert_eq!(run.component("splits").emitted, 15);
        assert_eq!((feeder.failed(), feeder.acked().len()), (vec![5], 9), "the row that is refused fails its tuple");
    }
    Ok(())
}
