//! How much may be on its way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{sleep, timeout};

use crate::support::{Log, Noting, Numbers, PENDING, Slow, TIMEOUT, fed};

/// Emits `burst` tuples a call and notes how many are open at most, when it is called.
struct Watching {
    burst: i64,
    left: i64,
    open: i64,
    most_at_call: Arc<AtomicI64>,
    most: Arc<AtomicI64>,
}

impl Spout for Watching {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        self.most_at_call.fetch_max(self.open, Ordering::Relaxed);
        if self.left == 0 {
            return Ok(Next::Exhausted);
        }
        self.left -= 1;
        for n in 0..self.burst {
            out.emit((), values![n]);
        }
        self.open += self.burst;
        self.most.fetch_max(self.open, Ordering::Relaxed);
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, (): (), _: &TopologyContext) -> Result<()> {
        self.open -= 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn pending_never_exceeds_max() -> TestResult {
    for (burst, limit) in [(1, 1), (1, 7), (5, 7), (100, 10)] {
        let (most_at_call, most) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
        let mut builder = TopologyBuilder::new("pending");
        builder.config(PENDING, limit);
        let (at_call, at_all) = (most_at_call.clone(), most.clone());
        let make = move || Watching { burst, left: 50, open: 0, most_at_call: at_call.clone(), most: at_all.clone() };
        let _ = builder.spout("spout", make);
        let _ = builder.bolt("slow", || Slow(Duration::from_millis(1))).parallelism(2).shuffle("spout");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        assert_eq!(run.spout("spout").acked(), 50 * burst as u64);
        assert!(most_at_call.load(Ordering::Relaxed) < limit, "next was called at the limit of {limit}");
        assert!(most.load(Ordering::Relaxed) < limit + burst);
    }
    Ok(())
}

/// A bolt a thousand times slower than what feeds it: what is in flight stays bounded, nothing is
/// lost, and a branch that it does not feed goes on.
#[tokio::test(start_paused = true)]
async fn slow_bolt_keeps_memory_flat_and_holds_up_only_those_who_feed_it() -> TestResult {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("slow");
    builder.config("topology.acker.executors", 0);
    let _ = builder.spout("fast", || Numbers::new(200_000));
    let _ = builder.bolt("pass", || Slow(Duration::ZERO)).shuffle("fast");
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(1))).shuffle("pass");
    let _ = builder.spout("other", || Numbers::new(100_000));
    let noting = log.clone();
    let _ = builder.bolt("free", move || Noting::new(&noting, ["n"])).shuffle("other");
    let run = LocalCluster::new().start(builder.build()?).await?;
    run.wait_until(|summary| summary.components[2].executed >= 1000).await;
    assert_eq!(log.len(), 100_000, "the other branch is long through");
    for _ in 0..50 {
        sleep(Duration::from_millis(100)).await;
        let components = run.snapshot().components;
        let in_flight = components[0].emitted - components[2].executed;
        assert!(in_flight < 20_000, "{in_flight} tuples are in flight");
    }
    let run = run.finished().await?;
    assert_eq!(run.component("slow").executed, 200_000);
    Ok(())
}

/// One call emits a million tuples to a slow bolt, awaiting room: acks of earlier tuples arrive.
#[tokio::test(start_paused = true)]
async fn a_spout_that_waits_for_room_still_takes_acks() -> TestResult {
    struct Flood(bool);
    impl Spout for Flood {
        type MessageId = i64;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
            if self.0 {
                return Ok(Next::Exhausted);
            }
            self.0 = true;
            for n in 0..100_000 {
                out.emit(n, values![n]);
                if n % 100 == 99 {
                    out.room().await;
                }
            }
            Ok(Next::Emitted)
        }
    }
    let mut builder = TopologyBuilder::new("flood");
    builder.config(TIMEOUT, 3000);
    let _ = builder.spout("flood", || Flood(false));
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(1))).shuffle("flood");
    let run = LocalCluster::new().start(builder.build()?).await?;
    // The call itself lasts a hundred seconds of the clock.
    run.wait_until(|summary| summary.components[0].acked > 10_000).await;
    assert!(run.snapshot().components[1].executed < 100_000);
    let run = run.finished().await?;
    assert_eq!(run.spout("flood").acked(), 100_000);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_the_emit_limit_is_refused_and_one_that_awaits_room_is_not() -> TestResult {
    struct Many {
        waits: bool,
    }
    impl Bolt for Many {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            for n in 0..1000 {
                out.emit(values![n]);
                if self.waits && n % 50 == 0 {
                    out.room().await;
                }
            }
            Ok(())
        }
    }
    for waits in [false, true] {
        let feeder = Feeder::new(["n"]);
        let mut builder = TopologyBuilder::new("limit");
        builder.config("topology.emit.limit", 100);
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.bolt("many", move || Many { waits }).shuffle("feeder");
        let _ = builder.bolt("sink", || Slow(Duration::ZERO)).shuffle("many");
        let run = LocalCluster::new().start(builder.build()?).await?;
        feeder.feed(values![1]);
        feeder.finish();
        let run = run.finished().await?;
        if waits {
            assert_eq!((feeder.acked(), run.component("sink").executed), (vec![0], 1000));
        } else {
            assert_eq!((feeder.failed(), run.component("sink").executed), (vec![0], 0));
            let message = &run.summary().errors[0].message;
            assert!(message.contains("more than 100 tuples (topology.emit.limit)"), "{message}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn emit_row_keeps_to_the_emit_limit_too() -> TestResult {
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
    let feeder = fed([1]);
    let mut builder = TopologyBuilder::new("rows");
    builder.config("topology.emit.limit", 10);
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("rows", || Rows).shuffle("feeder");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(feeder.failed(), [0]);
    Ok(())
}

/// Emits large rows with different texts, each once there is room.
struct Large {
    left: usize,
}

impl Spout for Large {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        if self.left == 0 {
            return Ok(Next::Exhausted);
        }
        self.left -= 1;
        out.emit_untracked(values![format!("{}{}", self.left, "x".repeat(LARGE))]);
        // Several calls hand their rows over together, unless a call waits for room.
        out.room().await;
        Ok(Next::Emitted)
    }
}

/// The size of a large row.
const LARGE: usize = 100_000;
/// 1 MiB is used up by this many large rows.
const BUFFER: u64 = (1 << 20) / LARGE as u64 + 1;
/// The spout tasks and the bolt tasks of `most_under_way`; each task has a lane of its own.
const TASKS: [u64; 2] = [2, 10];

/// Sends large rows to slow bolts, and returns the most rows that were in flight.
async fn most_under_way(buffer: Option<i64>, is_shuffle: bool) -> Result<u64> {
    let [spouts, bolts] = TASKS;
    let mut builder = TopologyBuilder::new("large");
    if let Some(buffer) = buffer {
        builder.config("topology.worker.buffer.mb", buffer);
    }
    let _ = builder.spout("large", || Large { left: 200 }).parallelism(spouts as u32);
    let slow = builder.bolt("slow", || Slow(Duration::from_millis(10))).parallelism(bolts as u32);
    let _ = if is_shuffle { slow.shuffle("large") } else { slow.fields("large", ["n"]) };
    let run = LocalCluster::new().start(builder.build()?).await?;
    let mut most = 0;
    let all = run.wait_until(|summary| {
        let [large, slow] = &summary.components[..] else { unreachable!() };
        most = most.max(large.emitted - slow.executed);
        slow.executed == 200 * spouts
    });
    if timeout(Duration::from_secs(60), all).await.is_err() {
        return Err(format!("the run hangs: {:?}", run.snapshot().components).into());
    }
    assert_eq!(run.finished().await?.component("slow").executed, 200 * spouts);
    Ok(most)
}

#[tokio::test(start_paused = true)]
async fn large_rows_under_way_take_little_more_than_the_buffer_of_the_config() -> TestResult {
    let [spouts, bolts] = TASKS;
    // What the buffer holds, a row for each pair of lanes, and the row that waits with each sender.
    let most = BUFFER + spouts * bolts + spouts;
    for is_shuffle in [false, true] {
        let limited = most_under_way(Some(1), is_shuffle).await?;
        println!("{limited} rows in flight with 1 MiB");
        assert!(limited <= most, "{limited} rows are in flight, expected at most {most}");
    }
    let unlimited = most_under_way(None, false).await?;
    println!("{unlimited} rows in flight without config");
    assert!(unlimited > most, "the buffer limits nothing: {unlimited} rows");
    Ok(())
}
