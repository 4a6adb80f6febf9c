//! When the engine calls the methods of spouts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Slow, sink};

/// Emits a tuple, and the next one when its `ready` returns after a second.
struct Paced {
    left: u64,
    calls: Arc<AtomicU64>,
    /// Whether `ready` waits by `context.sleep`.
    by_context: bool,
}

impl Spout for Paced {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.left == 0 {
            return Ok(Next::Exhausted);
        }
        self.left -= 1;
        out.emit(self.left, values![self.left as i64]);
        Ok(Next::Idle)
    }
    async fn ready(&mut self, context: &TopologyContext) {
        if self.by_context {
            context.sleep(Duration::from_secs(1)).await;
        } else {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

/// The time of a hundred tuples, and the number of calls of `next`.
async fn pace(acked: bool, by_context: bool, bolt: Duration) -> TestResult<(f64, u64)> {
    let calls = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("paced");
    builder.config("topology.acker.executors", i64::from(acked));
    let counted = calls.clone();
    let make = move || Paced { left: 100, calls: counted.clone(), by_context };
    let _ = builder.spout("paced", make);
    let _ = builder.bolt("slow", move || Slow(bolt)).parallelism(8).shuffle("paced");
    let began = Instant::now();
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.component("slow").executed, 100);
    Ok((began.elapsed().as_secs_f64(), calls.load(Ordering::Relaxed)))
}

#[tokio::test(start_paused = true)]
async fn a_spout_that_paces_itself_by_ready_keeps_its_pace_with_and_without_acks() -> TestResult {
    for acked in [false, true] {
        for by_context in [false, true] {
            let (took, calls) = pace(acked, by_context, Duration::ZERO).await?;
            assert!((100.0..=101.5).contains(&took), "{took} s, acked: {acked}");
            assert_eq!(calls, 101, "acked: {acked}");
        }
    }
    Ok(())
}

/// Acks come in the middle of each wait.
#[tokio::test(start_paused = true)]
async fn a_wait_by_the_context_continues_after_an_ack() -> TestResult {
    for millis in [300, 500, 2_700] {
        let (took, calls) = pace(true, true, Duration::from_millis(millis)).await?;
        assert!((100.0..=104.0).contains(&took), "{took} s with acks after {millis} ms");
        assert_eq!(calls, 101);
    }
    Ok(())
}

/// Has no tuple until one fails.
#[tokio::test(start_paused = true)]
async fn a_failed_tuple_ends_the_wait_of_an_idle_spout() -> TestResult {
    struct Retries {
        is_sent: bool,
        has_failed: bool,
    }
    impl Spout for Retries {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            if self.has_failed {
                return Ok(Next::Exhausted);
            }
            if !std::mem::replace(&mut self.is_sent, true) {
                out.emit((), values![1]);
            }
            Ok(Next::Idle)
        }
        async fn ready(&mut self, _: &TopologyContext) {
            std::future::pending().await
        }
        async fn fail(&mut self, (): (), _: &Failure, _: &TopologyContext) -> Result<()> {
            self.has_failed = true;
            Ok(())
        }
    }
    let mut builder = TopologyBuilder::new("retries");
    let _ = builder.spout("retries", || Retries { is_sent: false, has_failed: false });
    let _ = builder.bolt("refuses", sink(|_, _| Err("refused".into()))).shuffle("retries");
    let topology = builder.build()?;
    timeout(Duration::from_secs(3600), LocalCluster::new().complete(topology)).await.expect("ends")?;
    Ok(())
}

/// Waits for data in `next`, from a channel. `SAFE` says whether it declares that it may be dropped.
struct Receives<const SAFE: bool> {
    rows: Arc<Mutex<mpsc::Receiver<i64>>>,
}

impl<const SAFE: bool> Spout for Receives<SAFE> {
    type MessageId = i64;
    const NEXT_IS_CANCEL_SAFE: bool = SAFE;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        let Some(n) = self.rows.lock().await.recv().await else { return Ok(Next::Exhausted) };
        out.emit(n, values![n]);
        Ok(Next::Emitted)
    }
}

fn receiving<const SAFE: bool>() -> TestResult<(mpsc::Sender<i64>, Topology)> {
    let (sender, rows) = mpsc::channel(10);
    let rows = Arc::new(Mutex::new(rows));
    let mut builder = TopologyBuilder::new("receives");
    let _ = builder.spout("receives", move || Receives::<SAFE> { rows: rows.clone() });
    let _ = builder.bolt("slow", || Slow(Duration::ZERO)).shuffle("receives");
    Ok((sender, builder.build()?))
}

#[tokio::test(start_paused = true)]
async fn a_next_that_may_be_dropped_holds_up_neither_pause_nor_drain_and_loses_nothing() -> TestResult {
    let (sender, topology) = receiving::<true>()?;
    let run = LocalCluster::new().start(topology).await?;
    sender.send(1).await?;
    run.wait_until(|summary| summary.components[0].acked == 1).await;
    run.set_active(false);
    sleep(Duration::from_secs(1)).await;
    sender.send(2).await?;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(run.snapshot().components[0].emitted, 1, "it is paused");
    run.set_active(true);
    run.wait_until(|summary| summary.components[0].acked == 2).await;
    let began = Instant::now();
    let run = run.stop().await?;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!((run.spout("receives").acked(), run.summary().errors.len()), (2, 0));
    Ok(())
}

/// A call that has emitted is not dropped, even if `NEXT_IS_CANCEL_SAFE` is true.
#[tokio::test(start_paused = true)]
async fn a_next_that_has_emitted_is_not_dropped() -> TestResult {
    struct EmitsFirst(i64);
    impl Spout for EmitsFirst {
        type MessageId = i64;
        const NEXT_IS_CANCEL_SAFE: bool = true;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
            out.emit(self.0, values![self.0]);
            sleep(Duration::from_secs(3)).await;
            self.0 += 1;
            Ok(Next::Emitted)
        }
    }
    let mut builder = TopologyBuilder::new("emits-first");
    let _ = builder.spout("emits", || EmitsFirst(0));
    let _ = builder.bolt("slow", || Slow(Duration::ZERO)).shuffle("emits");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(4)).await;
    let run = run.stop().await?;
    assert_eq!(run.emitted("emits"), [values![0], values![1]]);
    assert_eq!(run.spout("emits").acked(), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_next_that_must_not_be_dropped_is_named_when_it_holds_up_an_order() -> TestResult {
    let (_sender, topology) = receiving::<false>()?;
    let run = LocalCluster::new().start(topology).await?;
    sleep(Duration::from_secs(1)).await;
    run.set_active(false);
    sleep(Duration::from_secs(4)).await;
    let lists_it = |summary: &galerna_worker::RunSummary| {
        let mut errors = summary.errors.iter();
        errors.any(|error| error.component == "receives" && error.message.contains("NEXT_IS_CANCEL_SAFE"))
    };
    assert!(!lists_it(&run.snapshot()), "too early");
    sleep(Duration::from_secs(3)).await;
    assert!(lists_it(&run.snapshot()), "{:?}", run.snapshot().errors);
    Ok(())
}
