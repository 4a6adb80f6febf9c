//! What bolts emit in `finish`, which nothing replays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Log, Noting, Numbers, Slow, refusing, sink};

/// Takes this long for each tuple, and emits 42 at the end.
struct LastWord(Duration);

impl Bolt for LastWord {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.context().sleep(self.0).await;
        Ok(())
    }
    async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        out.emit(values![42]);
        Ok(())
    }
}

/// Runs a topology whose last words are lost.
async fn assert_fails_in_finish(topology: Topology) {
    let error = LocalCluster::new().complete(topology).await.expect_err("the run fails");
    let RunFailed::Failed(summary) = error else { panic!("{error}") };
    assert_eq!(summary.failure.expect("a reason").code, "finish_failed");
}

#[tokio::test(start_paused = true)]
async fn finish_that_panics_makes_the_run_fail() -> TestResult {
    struct BadEnd;
    impl Bolt for BadEnd {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            Ok(())
        }
        async fn finish(&mut self, _: &mut Emitter<'_>) -> BoltResult {
            panic!("no last words")
        }
    }
    let mut builder = TopologyBuilder::new("panics");
    let _ = builder.spout("numbers", || Numbers::new(10));
    let _ = builder.bolt("bad", || BadEnd).shuffle("numbers");
    assert_fails_in_finish(builder.build()?).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn last_words_that_fail_two_bolts_on_make_the_run_fail() -> TestResult {
    let mut builder = TopologyBuilder::new("loses");
    let _ = builder.spout("numbers", || Numbers::new(10));
    let _ = builder.bolt("last-word", || LastWord(Duration::ZERO)).shuffle("numbers");
    let _ = builder.bolt("pass", || Slow(Duration::ZERO)).shuffle("last-word");
    let _ = builder.bolt("sink", sink(|_, _| Err("no".into()))).shuffle("pass");
    assert_fails_in_finish(builder.build()?).await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn last_words_held_by_a_bolt_that_panics_make_the_run_fail() -> TestResult {
    struct PanicsOnce {
        kept: Vec<HeldTuple>,
        has_panicked: Arc<AtomicBool>,
    }
    impl ManualBolt for PanicsOnce {
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            self.kept.push(out.keep(tuple));
            Ok(())
        }
        async fn flush(&mut self, _: &mut ManualEmitter<'_>) -> BoltResult {
            assert!(self.kept.is_empty() || self.has_panicked.swap(true, Ordering::Relaxed), "once");
            Ok(())
        }
    }
    let has_panicked = Arc::new(AtomicBool::new(false));
    let mut builder = TopologyBuilder::new("held");
    let _ = builder.spout("numbers", || Numbers::new(3));
    let _ = builder.bolt("last-word", || LastWord(Duration::ZERO)).shuffle("numbers");
    let told = has_panicked.clone();
    let make = move || PanicsOnce { kept: Vec::new(), has_panicked: told.clone() };
    let _ = builder.manual_bolt("holder", make).shuffle("last-word");
    assert_fails_in_finish(builder.build()?).await;
    assert!(has_panicked.load(Ordering::Relaxed));
    Ok(())
}

/// The sum is emitted without an anchor, in a later call than that which took the last word in.
#[tokio::test(start_paused = true)]
async fn what_flush_makes_of_last_words_and_fails_makes_the_run_fail() -> TestResult {
    #[derive(Default)]
    struct SumAtFlush(i64);
    impl Bolt for SumAtFlush {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            self.0 += tuple.i64("n")?;
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
    let mut builder = TopologyBuilder::new("sum");
    let _ = builder.spout("numbers", || Numbers::new(3));
    let _ = builder.bolt("last-word", || LastWord(Duration::ZERO)).shuffle("numbers");
    let _ = builder.bolt("sum", SumAtFlush::default).shuffle("last-word");
    let _ = builder.bolt("sink", sink(refusing(42))).shuffle("sum");
    assert_fails_in_finish(builder.build()?).await;
    Ok(())
}

/// A last word and a tuple that then fails wait in one inbox, and go on in one batch: only the
/// tuple's own spout hears of it.
#[tokio::test(start_paused = true)]
async fn a_tuple_that_fails_beside_last_words_does_not_make_the_run_fail() -> TestResult {
    struct BusyWithTheFirst(Noting);
    impl Bolt for BusyWithTheFirst {
        fn output(&self) -> Streams {
            self.0.output()
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            if tuple.i64("n")? == 1 {
                out.context().sleep(Duration::from_secs(3)).await;
            }
            self.0.execute(tuple, out).await
        }
    }
    let (feeder, log) = (Feeder::new(["n"]), Log::default());
    let mut builder = TopologyBuilder::new("mixed");
    let _ = builder.spout("one", || Numbers::new(1));
    let _ = builder.bolt("last-word", || LastWord(Duration::from_millis(500))).shuffle("one");
    let _ = builder.add_spout("two", feeder.factory());
    let noting = log.clone();
    let busy = move || BusyWithTheFirst(Noting::new(&noting, ["n"]));
    let _ = builder.bolt("busy", busy).shuffle("last-word").shuffle("two");
    let _ = builder.bolt("sink", sink(refusing(7))).shuffle("busy");
    feeder.feed(values![1]);
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(1)).await;
    feeder.feed(values![7]);
    feeder.finish();
    run.finished().await?;
    assert_eq!(feeder.failed(), [1]);
    assert_same_tuples(log.rows(), [values![1], values![42], values![7]]);
    Ok(())
}
