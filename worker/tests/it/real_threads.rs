//! How tuples flow on real threads: shares of a shuffle, ends of runs, calls that block.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::TestResult;
use galerna_worker::{ComponentSummary, LocalOptions, LocalRun, RunStatus};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Each, Numbers, OneCall, PENDING, sink};

/// Emits rows in calls of one size until a test ends its input.
struct Lines {
    per_call: usize,
    text: &'static str,
    has_ended: Arc<AtomicBool>,
    emitted: Arc<AtomicU64>,
}

impl Spout for Lines {
    type MessageId = ();
    fn output(&self) -> Streams {
        Streams::default_fields(["text"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
        if self.has_ended.load(Ordering::Relaxed) {
            return Ok(Next::Exhausted);
        }
        (0..self.per_call).for_each(|_| out.emit_untracked(values![self.text]));
        self.emitted.fetch_add(self.per_call as u64, Ordering::Relaxed);
        Ok(Next::Emitted)
    }
}

/// Blocks its thread without `blocking: true`.
#[allow(clippy::disallowed_methods, reason = "code that blocks is what is tested")]
fn block(time: Duration) {
    std::thread::sleep(time);
}

/// Emits 100,000 rows in one call to two tasks that never pause; how many each gets.
async fn split_of_a_large_call() -> Result<[u64; 2]> {
    const ROWS: u64 = 100_000;
    let split: Arc<[AtomicU64; 2]> = Arc::default();
    let mut builder = TopologyBuilder::new("large-call");
    builder.config("topology.emit.limit", 1_000_000);
    let _ = builder.spout("numbers", || OneCall(ROWS as i64));
    let counted = split.clone();
    let count = move |_: &Tuple<'_>, out: &mut Emitter<'_>| {
        counted[out.context().task_index() as usize].fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let _ = builder.bolt("fast", sink(count)).parallelism(2).shuffle("numbers");
    let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
    let ended = timeout(Duration::from_secs(30), run.finished()).await;
    let split = [0, 1].map(|task: usize| split[task].load(Ordering::Relaxed));
    println!("split: {} {}", split[0], split[1]);
    let summary = ended.map_err(|_| format!("the run hangs: {split:?}"))?;
    assert_eq!(summary.status, RunStatus::Finished);
    assert_eq!(split.iter().sum::<u64>(), ROWS);
    Ok(split)
}

/// Three threads are busy here, so on two cores one task or the other often waits for a core.
#[tokio::test]
async fn a_large_call_over_two_fast_tasks_is_split_on_real_threads() -> TestResult {
    for _ in 0..20 {
        let split = split_of_a_large_call().await?;
        assert!((40_000..=60_000).contains(&split[0]), "{split:?}");
    }
    Ok(())
}

/// Splits lines into words and counts the words, untracked.
async fn count_words_until_told_to_end() -> TestResult {
    let (has_ended, emitted, counted) = (Arc::<AtomicBool>::default(), Arc::default(), Arc::<AtomicU64>::default());
    let mut builder = TopologyBuilder::new("lines");
    builder.config("topology.acker.executors", 0);
    let (ended, lines) = (has_ended.clone(), Arc::<AtomicU64>::clone(&emitted));
    let source = move || Lines {
        per_call: 16,
        text: "one two three four five six seven eight nine ten",
        has_ended: ended.clone(),
        emitted: lines.clone(),
    };
    let _ = builder.spout("lines", source);
    let split = |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
        tuple.str("text")?.split(' ').for_each(|word| out.emit(values![word]));
        Ok(())
    };
    let split = move || Each { call: split, output: Streams::default_fields(["word"]) };
    let _ = builder.bolt("split", split).local_or_shuffle("lines");
    let words = counted.clone();
    let count = move |_: &Tuple<'_>, _: &mut Emitter<'_>| {
        words.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let _ = builder.bolt("count", sink(count)).fields("split", ["word"]);
    let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
    sleep(Duration::from_millis(50)).await;
    has_ended.store(true, Ordering::Relaxed);
    let ended = timeout(Duration::from_secs(10), run.finished()).await;
    let [emitted, counted] = [&emitted, &counted].map(|count| count.load(Ordering::Relaxed));
    let summary = ended.map_err(|_| format!("the run hangs: {emitted} lines, {counted} words"))?;
    assert_eq!(summary.status, RunStatus::Finished);
    assert!(emitted > 0);
    assert_eq!(counted, 10 * emitted);
    Ok(())
}

#[tokio::test]
async fn an_untracked_run_always_ends() -> TestResult {
    for _ in 0..20 {
        count_words_until_told_to_end().await?;
    }
    Ok(())
}

const TICK: Duration = Duration::from_millis(100);

/// Notes how late each of its ticks is.
struct Ticking {
    began: Instant,
    late: Arc<Mutex<Vec<Duration>>>,
}

impl Bolt for Ticking {
    async fn prepare(&mut self, _: &TopologyContext) -> Result<()> {
        self.began = Instant::now();
        Ok(())
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
    async fn tick(&mut self, _: &mut Emitter<'_>) -> BoltResult {
        let mut late = self.late.lock().unwrap();
        // The interval starts after `prepare`. A tick that was left out makes all after it late.
        let due = TICK * (late.len() as u32 + 1);
        late.push(self.began.elapsed().saturating_sub(due));
        Ok(())
    }
}

fn component(run: &LocalRun, id: &str) -> ComponentSummary {
    run.snapshot().components.into_iter().find(|component| component.id == id).unwrap()
}

#[tokio::test]
async fn blocking_calls_of_many_tasks_hold_nothing_else_up() -> TestResult {
    const TIME: Duration = Duration::from_secs(2);
    let late = Arc::<Mutex<Vec<Duration>>>::default();
    let mut builder = TopologyBuilder::new("blocking");
    let _ = builder.spout("feeding", Numbers::endless);
    let blocking = |_: &Tuple<'_>, _: &mut Emitter<'_>| {
        block(Duration::from_millis(20));
        Ok(())
    };
    let _ = builder.bolt("blocking", sink(blocking)).parallelism(8).shuffle("feeding");
    let _ = builder.spout("numbers", Numbers::endless).config(PENDING, 10);
    let quick = || Each { call: |_: &Tuple<'_>, _: &mut Emitter<'_>| Ok(()), output: Streams::default_fields(["n"]) };
    let _ = builder.bolt("quick", quick).shuffle("numbers");
    let noted = late.clone();
    let ticking = move || Ticking { began: Instant::now(), late: noted.clone() };
    let _ = builder.bolt("ticking", ticking).config("topology.tick.tuple.freq.secs", 0.1).shuffle("quick");
    let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
    while component(&run, "blocking").executed < 40 {
        sleep(Duration::from_millis(5)).await;
    }
    let (before, began) = (component(&run, "blocking").executed, Instant::now());
    sleep(TIME).await;
    let rate = (component(&run, "blocking").executed - before) as f64 / began.elapsed().as_secs_f64();
    let complete = component(&run, "numbers").complete_latency_us.unwrap();
    run.stop();
    let summary = timeout(Duration::from_secs(30), run.finished()).await?;
    assert_eq!(summary.status, RunStatus::Stopped);
    let [feeding, blocking, numbers, quick, ticking] = summary.components.as_slice() else { unreachable!() };
    assert_eq!((feeding.failed, numbers.failed), (0, 0));
    assert_eq!((feeding.acked, blocking.executed), (feeding.emitted, feeding.emitted));
    assert_eq!((numbers.acked, quick.executed, ticking.executed), (numbers.emitted, numbers.emitted, 0));
    let late = late.lock().unwrap();
    assert!(late.len() >= 20, "{late:?}");
    let latest = late.iter().max().unwrap();
    println!("{rate:.0} tuples/s, complete latency {complete:?}, {} ticks, latest by {latest:?}", late.len());
    // A busy machine gets more time.
    let (least_rate, longer) = if std::env::var("CI").is_ok_and(|ci| ci == "true") { (200.0, 5) } else { (360.0, 1) };
    assert!(rate >= least_rate, "{rate} tuples/s");
    assert!(complete.p99 <= 10_000.0 * f64::from(longer), "{complete:?}");
    assert!(*latest <= Duration::from_millis(10) * longer, "{late:?}");
    Ok(())
}

/// The threads on which the tasks of a bolt were prepared.
type Threads = Arc<Mutex<Vec<ThreadId>>>;

/// Notes the thread of each task.
struct OnThread(Threads);

impl Bolt for OnThread {
    async fn prepare(&mut self, _: &TopologyContext) -> Result<()> {
        self.0.lock().unwrap().push(std::thread::current().id());
        Ok(())
    }
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[tokio::test]
async fn executors_share_the_lanes_of_the_config_and_blocking_ones_keep_their_own() -> TestResult {
    let (sharing, blocking) = (Threads::default(), Threads::default());
    let mut builder = TopologyBuilder::new("lanes");
    builder.config("topology.worker.lanes", 3);
    let _ = builder.spout("numbers", || OneCall(100));
    let noted = sharing.clone();
    let _ = builder.bolt("sharing", move || OnThread(noted.clone())).parallelism(9).tasks(18).shuffle("numbers");
    let noted = blocking.clone();
    let _ = builder.bolt("blocking", move || OnThread(noted.clone())).parallelism(2).blocking().shuffle("numbers");
    let mut run = LocalRun::start(builder.build()?, LocalOptions::default())?;
    let summary = timeout(Duration::from_secs(30), run.finished()).await?;
    assert_eq!(summary.status, RunStatus::Finished);
    let [sharing, blocking] = [sharing, blocking].map(|threads| threads.lock().unwrap().clone());
    assert_eq!((sharing.len(), blocking.len()), (18, 2));
    let [shared, own]: [HashSet<_>; 2] = [sharing, blocking].map(|threads| threads.into_iter().collect());
    assert_eq!((shared.len(), own.len()), (3, 2));
    assert!(shared.is_disjoint(&own));
    Ok(())
}
