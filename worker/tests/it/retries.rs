//! Retries of reliable spouts: what is tried again, given up, held, and written as a dead letter.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::human::HumanDuration;
use galerna_topology_api::*;
use galerna_worker::RunSummary;
use galerna_worker::testing::*;
use serde_json::Value as Json;
use tokio::time::{Instant, advance};

use crate::support::{Log, Noting, PENDING, Slow, TIMEOUT, numbers, sink};

/// Emits the numbers below `count` with a retry buffer, as many a call as there is room for, and notes the failures.
struct Source {
    next: i64,
    count: i64,
    policy: RetryPolicy,
    retries: RetryBuffer<i64>,
    failures: Failures,
}

type Failures = Arc<Mutex<Vec<(i64, Failure)>>>;

impl Source {
    fn new(count: i64, policy: impl Into<RetryPolicy>, input: Boundedness) -> Self {
        let policy = policy.into();
        let retries = RetryBuffer::new(policy.clone(), input);
        Self { next: 0, count, policy, retries, failures: Failures::default() }
    }

    fn noting(mut self, failures: &Failures) -> Self {
        self.failures = failures.clone();
        self
    }
}

impl Spout for Source {
    type MessageId = i64;

    fn output(&self) -> Streams {
        self.policy.output(Streams::default_fields(["n"]))
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        self.retries.check_dead_letters(context)
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        let most = out.room_left().min(64);
        let mut emitted = self.retries.emit_due(out, most);
        while emitted < most && self.next < self.count && !self.retries.is_full() {
            self.retries.sent(self.next, values![self.next].to_vec());
            out.emit(self.next, values![self.next]);
            self.next += 1;
            emitted += 1;
        }
        Ok(match emitted {
            0 if self.next == self.count && !self.retries.is_waiting() => Next::Exhausted,
            0 => Next::Idle,
            _ => Next::Emitted,
        })
    }

    async fn ack(&mut self, id: i64, context: &TopologyContext) -> Result<()> {
        self.retries.ack(&id, context);
        Ok(())
    }

    async fn fail(&mut self, id: i64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.failures.lock().unwrap().push((id, failure.clone()));
        self.retries.fail(&id, failure, context);
        Ok(())
    }
}

/// For a [`sink`] that is down until `until`, on the engine's clock, and then notes what it gets.
fn down_until(
    until: Duration,
    log: &Log,
) -> impl FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Clone + Send + Sync + 'static {
    let log = log.clone();
    move |tuple, out| {
        if out.context().elapsed() < until {
            return Err("the store is down".into());
        }
        log.note(0, tuple.values());
        Ok(())
    }
}

fn failed(error: RunFailed) -> Box<RunSummary> {
    match error {
        RunFailed::Failed(summary) => summary,
        error => panic!("{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn sink_that_is_down_for_two_minutes_loses_nothing_at_defaults() -> TestResult {
    for input in [Boundedness::Unbounded, Boundedness::Bounded] {
        let log = Log::default();
        let mut builder = TopologyBuilder::new("outage");
        let _ = builder.spout("source", move || Source::new(50_000, Retries::default(), input));
        let _ = builder.bolt("store", sink(down_until(Duration::from_secs(120), &log))).shuffle("source");
        let began = Instant::now();
        let run = LocalCluster::new().complete(builder.build()?).await?;
        assert_eq!((run.spout("source").acked(), run.component("source").gave_up), (50_000, 0), "{input:?}");
        // The longest wait between two tries is a minute.
        assert!(began.elapsed() < Duration::from_secs(120 + 61), "{:?}", began.elapsed());
        let mut seen = numbers(&log.rows());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 50_000);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tuple_that_always_fails_is_given_up_after_five_minutes_if_the_input_is_bounded() -> TestResult {
    let mut builder = TopologyBuilder::new("bad-line");
    let _ = builder.spout("source", || Source::new(1, Retries::default(), Boundedness::Bounded));
    let _ = builder.bolt("parse", sink(|_, _| Err("no number".into()))).shuffle("source");
    let began = Instant::now();
    let summary = failed(LocalCluster::new().complete(builder.build()?).await.expect_err("the run fails"));
    assert_eq!((summary.failure.as_ref().unwrap().code, summary.components[0].gave_up), ("gave_up", 1));
    let secs = began.elapsed().as_secs();
    assert!((300..361).contains(&secs), "{secs} s");
    let shown: Vec<_> = summary.errors.iter().map(|error| (&*error.component, error.is_consequence)).collect();
    assert_eq!(shown, [("parse", false), ("source", true)], "the cause first");
    assert!(summary.errors[1].message.ends_with("tries: `parse`: no number; values: [0]"), "{:?}", summary.errors);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn time_outs_and_lost_workers_are_no_tries() -> TestResult {
    let mut test = SpoutHarness::new(|| Source::new(1, Retries::at_most(0), Boundedness::Bounded)).await?;
    test.next().await?;
    for number in 0..20 {
        test.fail_with(number, if number % 2 == 0 { Failure::TimedOut } else { Failure::Lost }).await;
        advance(Duration::from_millis(100)).await;
        assert_eq!(test.next().await?.outcome(), (Next::Emitted, 1));
        assert_eq!(test.retrying().map(|of| of.tuples), Some(1));
    }
    assert!(test.given_up().is_empty());
    test.fail(20).await;
    assert_eq!(test.given_up(), [values![0].to_vec()]);
    assert_eq!(test.retrying(), None);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn slow_bolt_that_lets_every_tuple_time_out_at_first_loses_none() -> TestResult {
    let mut builder = TopologyBuilder::new("frozen");
    builder.config(TIMEOUT, 5);
    let _ = builder.spout("source", || Source::new(100, Retries::at_most(0), Boundedness::Bounded));
    let call = |_: &Tuple<'_>, _: &mut Emitter<'_>| Ok(());
    let _ = builder.bolt("frozen", move || Frozen { until: Duration::from_secs(60), call }).shuffle("source");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((run.spout("source").acked(), run.component("source").gave_up), (100, 0));
    Ok(())
}

/// Its first call takes until a time.
struct Frozen<F> {
    until: Duration,
    call: F,
}

impl<F: FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Send + 'static> Bolt for Frozen<F> {
    fn output(&self) -> Streams {
        Streams::none()
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let context = out.context();
        context.sleep(self.until.saturating_sub(context.elapsed())).await;
        (self.call)(tuple, out)
    }
}

#[tokio::test(start_paused = true)]
async fn spout_learns_who_failed_its_tuple_and_why_across_workers() -> TestResult {
    let failures = Failures::default();
    let noting = failures.clone();
    let mut builder = TopologyBuilder::new("why");
    let make = move || Source::new(3, Retries::at_most(0), Boundedness::Bounded).noting(&noting);
    let _ = builder.spout("source", make);
    let check = |tuple: &Tuple<'_>, _: &mut Emitter<'_>| match tuple.i64("n")? {
        0 => Err("zero is bad".into()),
        1 => panic!("one is worse"),
        _ => Ok(()),
    };
    let _ = builder.bolt("check", sink(check)).shuffle("source");
    let error = LocalCluster::new().workers(3).serialize_all().complete(builder.build()?).await.expect_err("fails");
    assert_eq!(failed(error).components[0].gave_up, 2);
    let mut failures = failures.lock().unwrap().clone();
    failures.sort_by_key(|(id, _)| *id);
    let shown: Vec<_> = failures.iter().map(|(id, failure)| (*id, failure.component(), failure.reason())).collect();
    assert_eq!(shown[0], (0, Some("check"), "zero is bad"));
    assert_eq!((shown[1].0, shown[1].1), (1, Some("check")));
    assert!(shown[1].2.ends_with("one is worse"), "{}", shown[1].2);
    Ok(())
}

fn dead_letters(limit: u32, to: DeadLetters) -> Result<RetryPolicy, PolicyError> {
    let retries = Retries { backoff: HumanDuration(Duration::from_millis(1)), ..Retries::at_most(limit) };
    RetryPolicy::new(retries, None, Some(to))
}

fn letters(path: &Path) -> TestResult<Vec<Json>> {
    Ok(fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn poison(every: i64) -> impl FnMut(&Tuple<'_>, &mut Emitter<'_>) -> BoltResult + Clone + Send + Sync + 'static {
    move |tuple, _| {
        let n = tuple.i64("n")?;
        if n % every == 0 { Err(format!("{n} is poisoned").into()) } else { Ok(()) }
    }
}

#[tokio::test(start_paused = true)]
async fn poisoned_tuples_and_no_others_become_dead_letters_in_a_file() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("dead.jsonl");
    let policy = dead_letters(2, DeadLetters::Path(path.clone()))?;
    let mut builder = TopologyBuilder::new("poison");
    let _ = builder.spout("source", move || Source::new(20_000, policy.clone(), Boundedness::Bounded));
    let _ = builder.bolt("check", sink(poison(100))).parallelism(2).shuffle("source");
    let summary = failed(LocalCluster::new().complete(builder.build()?).await.expect_err("tuples were given up"));
    let spout = &summary.components[0];
    assert_eq!((spout.acked, spout.gave_up, spout.replayed), (19_800, 200, 400));
    let letters = letters(&path)?;
    let mut dead: Vec<_> = letters.iter().map(|letter| letter["values"]["n"].as_i64().unwrap()).collect();
    dead.sort_unstable();
    assert_eq!(dead, (0..20_000).step_by(100).collect::<Vec<_>>());
    let n = &letters[7]["values"]["n"];
    let said = (&letters[7]["reason"], &letters[7]["component"], &letters[7]["tries"], &letters[7]["spout"]);
    assert_eq!(said, (&Json::from(format!("{n} is poisoned")), &"check".into(), &3.into(), &"source".into()));
    // One kind of error, with a count and a sample, in front of what follows from it.
    let errors: Vec<_> = summary.errors.iter().map(|error| (&*error.component, error.count)).collect();
    assert_eq!(errors, [("check", 600), ("source", 200)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letter_that_cannot_be_written_keeps_its_tuple() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("dead.jsonl");
    let policy = dead_letters(0, DeadLetters::Path(path.clone()))?;
    let mut test = SpoutHarness::new(move || Source::new(1, policy.clone(), Boundedness::Bounded)).await?;
    test.next().await?;
    // The file is replaced by a folder, so that it cannot be written.
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    test.fail(0).await;
    assert!(test.given_up().is_empty());
    assert!(test.reported()[0].starts_with("cannot write dead letters to "), "{:?}", test.reported());
    advance(Duration::from_secs(1)).await;
    assert_eq!(test.next().await?.outcome(), (Next::Emitted, 1));
    fs::remove_dir(&path)?;
    test.fail(1).await;
    assert_eq!((test.given_up().len(), letters(&path)?.len()), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letter_behind_a_torn_line_stands_in_a_line_of_its_own() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("dead.jsonl");
    fs::write(&path, r#"{"values":{"n":"to"#)?;
    let policy = dead_letters(0, DeadLetters::Path(path.clone()))?;
    let mut test = SpoutHarness::new(move || Source::new(2, policy.clone(), Boundedness::Bounded)).await?;
    test.next().await?;
    test.fail(0).await;
    test.fail(1).await;
    let text = fs::read_to_string(&path)?;
    let numbers: Vec<_> =
        text.lines().skip(1).map(|line| line.parse::<Json>().unwrap()["values"]["n"].clone()).collect();
    assert_eq!(numbers, [0, 1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn message_of_a_megabyte_with_terminal_sequences_is_cut_and_escaped() -> TestResult {
    let mut builder = TopologyBuilder::new("huge");
    let _ = builder.spout("source", || Source::new(3, Retries::at_most(0), Boundedness::Bounded));
    let huge = |_: &Tuple<'_>, _: &mut Emitter<'_>| Err(format!("\u{1b}[2J{}", "x".repeat(1 << 20)).into());
    let _ = builder.bolt("check", sink(huge)).shuffle("source");
    let summary = failed(LocalCluster::new().complete(builder.build()?).await.expect_err("tuples were given up"));
    assert_eq!(summary.errors.len(), 2);
    for message in summary.errors.iter().map(|error| &error.message).chain([&summary.failure.as_ref().unwrap().message])
    {
        assert!(message.len() < 1_100 && !message.contains('\u{1b}'), "{message}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letter_file_that_cannot_be_made_ends_the_run_at_its_start() -> TestResult {
    let policy = dead_letters(0, DeadLetters::Path("/no/such/folder/dead.jsonl".into()))?;
    let Err(error) = SpoutHarness::new(move || Source::new(1, policy.clone(), Boundedness::Bounded)).await else {
        panic!("the file cannot be made");
    };
    assert!(error.is_fatal());
    assert!(error.to_string().starts_with("cannot write dead letters to /no/such/folder/dead.jsonl: "), "{error}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn dead_letters_go_to_a_stream_with_reason_component_and_tries_and_are_acked() -> TestResult {
    let policy = dead_letters(1, DeadLetters::Stream("dead".into()))?;
    let log = Log::default();
    let noting = log.clone();
    let mut builder = TopologyBuilder::new("stream");
    let _ = builder.spout("source", move || Source::new(1_000, policy.clone(), Boundedness::Bounded));
    let _ = builder.bolt("check", sink(poison(250))).shuffle("source");
    // The bolt behind the stream fails at first: dead letters are emitted until they are acked.
    let mut refused = 0;
    let store = move |tuple: &Tuple<'_>, _: &mut Emitter<'_>| {
        refused += 1;
        if refused < 10 {
            return Err("not yet".into());
        }
        noting.note(0, tuple.values());
        Ok(())
    };
    let _ = builder.bolt("dead", sink(store)).input("source", "dead", Grouping::Shuffle);
    let summary = failed(LocalCluster::new().complete(builder.build()?).await.expect_err("tuples were given up"));
    let spout = &summary.components[0];
    assert_eq!((spout.acked, spout.gave_up, spout.pending), (1_000, 4, 0));
    let mut rows = log.rows();
    rows.sort_by_key(|row| row[0].as_i64());
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[1], values![250, "250 is poisoned", "check", 2]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn run_that_gave_up_tuples_is_failed_also_when_it_is_stopped() -> TestResult {
    let mut builder = TopologyBuilder::new("stopped");
    let _ = builder.spout("source", || Source::new(i64::MAX, Retries::at_most(0), Boundedness::Unbounded));
    let _ = builder.bolt("slow", || Slow(Duration::from_millis(1))).shuffle("source");
    let _ = builder.bolt("check", sink(poison(1_000))).shuffle("slow");
    let cluster = LocalCluster::new().start(builder.build()?).await?;
    cluster.wait_until(|summary| summary.components[0].gave_up > 0).await;
    let summary = failed(cluster.stop().await.expect_err("tuples were given up"));
    assert_eq!(summary.failure.as_ref().unwrap().code, "gave_up");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn tuples_that_are_retried_show_how_many_since_when_and_why() -> TestResult {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("retrying");
    let _ = builder.spout("source", || Source::new(12, Retries::default(), Boundedness::Unbounded));
    let _ = builder.bolt("store", sink(down_until(Duration::from_secs(60), &log))).shuffle("source");
    let cluster = LocalCluster::new().start(builder.build()?).await?;
    let long = Duration::from_secs(30);
    cluster.wait_until(|of| of.components[0].retrying.as_ref().is_some_and(|of| of.duration >= long)).await;
    let retrying = cluster.snapshot().components[0].retrying.clone().expect("they fail");
    assert_eq!((retrying.tuples, &*retrying.reason), (12, "`store`: the store is down"));
    let reported = cluster.report().tasks.iter().find_map(|task| task.retrying.clone()).expect("they fail");
    assert!(reported.tuples == 12 && reported.for_ms >= 30_000, "{reported:?}");
    let run = cluster.finished().await?;
    assert_eq!((run.component("source").retrying.clone(), log.len()), (None, 12));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn spout_that_asks_for_its_room_never_exceeds_the_limit_of_open_tuples() -> TestResult {
    for limit in [1, 3, 100] {
        let mut builder = TopologyBuilder::new("room");
        builder.config(PENDING, limit);
        let _ = builder.spout("source", || Source::new(500, Retries::default(), Boundedness::Bounded));
        let _ = builder.bolt("sink", || Slow(Duration::from_millis(1))).shuffle("source");
        let cluster = LocalCluster::new().start(builder.build()?).await?;
        let most = Arc::new(AtomicU64::new(0));
        let noting = most.clone();
        cluster
            .wait_until(move |summary| {
                noting.fetch_max(summary.components[0].pending, Ordering::Relaxed);
                summary.components[0].acked == 500
            })
            .await;
        let run = cluster.finished().await?;
        assert!(most.load(Ordering::Relaxed) <= limit as u64, "{most:?} open with a limit of {limit}");
        assert!(run.summary().errors.is_empty(), "{:?}", run.summary().errors);
    }
    Ok(())
}

/// Emits ten tuples in each call, whatever room there is.
struct Greedy(i64);

impl Spout for Greedy {
    type MessageId = i64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        if self.0 == 100 {
            return Ok(Next::Exhausted);
        }
        for _ in 0..10 {
            out.emit(self.0, values![self.0]);
            self.0 += 1;
        }
        Ok(Next::Emitted)
    }
}

#[tokio::test(start_paused = true)]
async fn spout_that_exceeds_a_set_limit_in_one_call_is_listed_once_by_name() -> TestResult {
    let log = Log::default();
    for limit in [None, Some(4)] {
        let mut builder = TopologyBuilder::new("greedy");
        limit.into_iter().for_each(|limit| {
            builder.config(PENDING, limit);
        });
        let _ = builder.spout("greedy", || Greedy(0));
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("greedy");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        let errors: Vec<_> = run.summary().errors.iter().map(|error| (&*error.component, &*error.message)).collect();
        let message = "a call of `next` emitted 10 tuples, but topology.max.spout.pending (4) left room for 4: emit no \
                       more than `room_left()` in one call";
        let expected: &[_] = if limit.is_some() { &[("greedy", message)] } else { &[] };
        assert_eq!(errors, expected);
        assert_eq!(run.component("greedy").errors, u64::from(limit.is_some()));
    }
    Ok(())
}

/// Keeps tuples and panics in each tick in which it keeps the number 7.
#[derive(Default)]
struct Batching(Vec<HeldTuple>);

impl ManualBolt for Batching {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.push(out.keep(tuple));
        Ok(())
    }

    async fn tick(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        assert!(self.0.iter().all(|tuple| tuple.values()[0].as_i64() != Some(7)), "cannot write a seven");
        self.0.drain(..).for_each(|tuple| out.ack(tuple));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn tuple_that_makes_a_tick_panic_is_given_up_at_the_limit() -> TestResult {
    let mut builder = TopologyBuilder::new("batching");
    let _ = builder.spout("source", || Source::new(8, Retries::at_most(2), Boundedness::Bounded));
    let mut batching = builder.manual_bolt("batching", Batching::default);
    batching = batching.config("topology.tick.tuple.freq.secs", 1);
    let _ = batching.shuffle("source");
    let summary = failed(LocalCluster::new().complete(builder.build()?).await.expect_err("tuples were given up"));
    let spout = &summary.components[0];
    assert_eq!(spout.acked + spout.gave_up, 8);
    assert!(spout.gave_up >= 1, "{spout:?}");
    assert!(
        summary.errors.iter().any(|of| of.message.contains("cannot write a seven; values: [7]")),
        "{:?}",
        summary.errors
    );
    Ok(())
}

#[test]
fn stream_of_dead_letters_that_no_bolt_receives_is_an_error() -> TestResult {
    let policy = dead_letters(1, DeadLetters::Stream("dead".into()))?;
    let mut builder = TopologyBuilder::new("unheard");
    let _ = builder.spout("source", move || Source::new(1, policy.clone(), Boundedness::Bounded));
    let _ = builder.bolt("check", sink(poison(1))).shuffle("source");
    let error = builder.build().expect_err("the letters would be lost").to_string();
    assert!(error.contains("no bolt receives stream `dead` of `source`"), "{error}");
    Ok(())
}
