//! Counts by stream are exact: they are what the components have seen, whatever happens to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_protocol::{TaskReport, WorkerReport};
use galerna_topology_api::*;
use galerna_worker::testing::*;
use proptest::prelude::*;

use crate::support::PENDING;

/// Emitted, executed, acked, failed.
type Counted = [u64; 4];
/// By task, who emits (nobody named for the task itself), and stream.
type Streams4 = BTreeMap<(TaskId, String, String), Counted>;

const EMITTED: usize = 0;
const EXECUTED: usize = 1;
const ACKED: usize = 2;
const FAILED: usize = 3;

/// What the components have seen themselves.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<Streams4>>);

impl Tally {
    fn count(&self, task: TaskId, from: &str, stream: &str, what: usize) {
        let mut seen = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.entry((task, from.to_owned(), stream.to_owned())).or_default()[what] += 1;
    }

    fn count_input(&self, task: TaskId, tuple: &Tuple<'_>, what: usize) {
        self.count(task, tuple.source_component(), tuple.source_stream(), what);
    }
}

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug)]
struct Trial {
    rows: i64,
    /// Bytes of each row.
    bytes: usize,
    tasks: u32,
    joins: u32,
    workers: usize,
    serializes_all: bool,
    is_tracking: bool,
    pending: i64,
    fails: i64,
    panics: i64,
    seed: u64,
}

const OUT: [&str; 3] = ["even", "odd", "loose"];

/// Emits numbers on three streams, those of the last without an id.
struct Source {
    trial: Trial,
    next: Arc<AtomicI64>,
    text: Value,
    tally: Tally,
}

impl Spout for Source {
    type MessageId = &'static str;
    fn output(&self) -> Streams {
        OUT.into_iter().fold(Streams::none(), |streams, stream| streams.stream(stream, ["n", "text"]))
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, &'static str>) -> Result<Next> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if n >= self.trial.rows {
            return Ok(Next::Exhausted);
        }
        let task = out.context().task_id();
        let mut emitted = Vec::new();
        for (place, stream) in OUT.into_iter().enumerate().take(1 + n as usize % 3) {
            let row = values![n, self.text.clone()];
            match place {
                2 => out.emit_untracked_to(stream, row),
                _ => out.emit_to(stream, stream, row),
            }
            emitted.push(stream);
        }
        if n % self.trial.fails == 2 {
            return Err("not this time".into());
        }
        // Where nothing is tracked, an instance that panics has perhaps not heard of all its acks.
        assert!(n % self.trial.panics != 1 || !self.trial.is_tracking, "the spout panics");
        emitted.into_iter().for_each(|stream| self.tally.count(task, "", stream, EMITTED));
        if n % 13 == 5 {
            out.room().await;
        }
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, stream: &'static str, context: &TopologyContext) -> Result<()> {
        self.tally.count(context.task_id(), "", stream, ACKED);
        Ok(())
    }
    async fn fail(&mut self, stream: &'static str, _: &Failure, context: &TopologyContext) -> Result<()> {
        self.tally.count(context.task_id(), "", stream, FAILED);
        Ok(())
    }
}

/// Passes numbers on, on one stream or on two; fails and panics now and then.
struct Split(Trial, Tally);

impl Bolt for Split {
    fn output(&self) -> Streams {
        Streams::none().stream("a", ["n", "text"]).stream("b", ["n", "text"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let Self(trial, tally) = self;
        let (task, n) = (out.context().task_id(), tuple.i64("n")?);
        tally.count_input(task, tuple, EXECUTED);
        if n % 17 == 4 {
            out.context().sleep(Duration::from_millis(1)).await;
        }
        out.emit_to("a", tuple.values());
        if n % trial.panics == 3 {
            tally.count_input(task, tuple, FAILED);
            panic!("the bolt panics");
        }
        if n % trial.fails == 1 {
            tally.count_input(task, tuple, FAILED);
            return Err("refused".into());
        }
        tally.count(task, "", "a", EMITTED);
        if n % 2 == 0 {
            out.emit_to("b", tuple.values());
            tally.count(task, "", "b", EMITTED);
        }
        tally.count_input(task, tuple, ACKED);
        Ok(())
    }
}

/// A kept tuple that fails unless it is acked.
struct Kept {
    held: Option<HeldTuple>,
    task: TaskId,
    tally: Tally,
}

impl Kept {
    fn ack(mut self, out: &mut ManualEmitter<'_>) {
        if let Some(held) = self.held.take() {
            self.tally.count_input(self.task, &held.tuple(), ACKED);
            out.ack(held);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.tally.count_input(self.task, &held.tuple(), FAILED);
        }
    }
}

/// Keeps some of what it gets, and decides about it when there is much, or at a flush.
struct Join {
    trial: Trial,
    tally: Tally,
    kept: Vec<Kept>,
}

impl Join {
    fn decide(&mut self, out: &mut ManualEmitter<'_>) {
        let task = out.context().task_id();
        out.emit_anchored(self.kept.iter().filter_map(|kept| kept.held.as_ref()), values![self.kept.len() as i64]);
        self.tally.count(task, "", "default", EMITTED);
        for (place, kept) in self.kept.drain(..).enumerate() {
            match place % 4 {
                3 => drop(kept),
                _ => kept.ack(out),
            }
        }
    }
}

impl ManualBolt for Join {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let (task, n) = (out.context().task_id(), tuple.i64("n")?);
        self.tally.count_input(task, tuple, EXECUTED);
        if n % self.trial.panics == 5 {
            self.tally.count_input(task, tuple, FAILED);
            panic!("the join panics");
        }
        if n % 5 == 0 {
            self.tally.count_input(task, tuple, ACKED);
            return Ok(());
        }
        self.kept.push(Kept { held: Some(out.keep(tuple)), task, tally: self.tally.clone() });
        if self.kept.len() == 6 {
            self.decide(out);
        }
        Ok(())
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        if !self.kept.is_empty() {
            self.decide(out);
        }
        Ok(())
    }
}

struct Sink(Tally);

impl Bolt for Sink {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let task = out.context().task_id();
        self.0.count_input(task, tuple, EXECUTED);
        self.0.count_input(task, tuple, ACKED);
        Ok(())
    }
}

fn topology(trial: Trial, tally: &Tally) -> Topology {
    let mut builder = TopologyBuilder::new("streams");
    builder.config(PENDING, trial.pending);
    builder.config("topology.acker.executors", i64::from(trial.is_tracking));
    let (next, seen) = (Arc::new(AtomicI64::new(0)), tally.clone());
    let text = Value::from("x".repeat(trial.bytes));
    let source = move || Source { trial, next: next.clone(), text: text.clone(), tally: seen.clone() };
    let _ = builder.spout("source", source).parallelism(2);
    let seen = tally.clone();
    let _ = builder
        .bolt("split", move || Split(trial, seen.clone()))
        .parallelism(trial.tasks.div_ceil(2))
        .tasks(trial.tasks)
        .input("source", "even", Grouping::Fields(["n"].into()))
        .input("source", "odd", Grouping::Shuffle)
        .input("source", "loose", Grouping::LocalOrShuffle);
    let seen = tally.clone();
    let _ = builder
        .manual_bolt("join", move || Join { trial, tally: seen.clone(), kept: Vec::new() })
        .parallelism(trial.joins)
        .input("split", "a", Grouping::Fields(["n"].into()))
        .input("source", "odd", Grouping::Fields(["n"].into()));
    let seen = tally.clone();
    let _ = builder.bolt("sink", move || Sink(seen.clone())).parallelism(2).input("split", "b", Grouping::All).input(
        "join",
        "default",
        Grouping::Shuffle,
    );
    builder.build().unwrap()
}

/// The counts of all streams on which anything was counted.
fn counted(report: &WorkerReport) -> Streams4 {
    let mut counted = Streams4::new();
    for task in &report.tasks {
        for stream in &task.streams {
            let counts = [stream.emitted, stream.executed, stream.acked, stream.failed];
            if counts != [0; 4] {
                let known = counted.insert((task.task, stream.from.clone(), stream.stream.clone()), counts);
                assert_eq!(known, None, "a stream stands twice");
            }
        }
    }
    counted
}

fn assert_sums(task: &TaskReport) {
    let mut sums = [0; 4];
    for stream in &task.streams {
        let counts = [stream.emitted, stream.executed, stream.acked, stream.failed];
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    assert_eq!(sums, [task.emitted, task.executed, task.acked, task.failed]);
}

async fn run(trial: Trial) {
    let tally = Tally::default();
    let mut cluster = LocalCluster::new().workers(trial.workers).seed(trial.seed);
    if trial.serializes_all {
        cluster = cluster.serialize_all();
    }
    let topology = topology(trial, &tally);
    let tasks_of: BTreeMap<_, _> = topology.components().iter().map(|c| (c.id.to_string(), c.tasks.clone())).collect();
    let run = cluster.complete(topology).await.unwrap();
    let seen = tally.0.lock().unwrap().clone();
    assert_eq!(counted(run.report()), seen);
    for task in &run.report().tasks {
        assert_sums(task);
        assert_eq!((task.pending, task.queued), (0, 0), "{task:?}");
    }
    for component in &run.summary().components {
        let of = |what: usize| -> u64 {
            let tasks = seen.iter().filter(|((task, ..), _)| tasks_of[&component.id].contains(task));
            tasks.map(|(_, counts)| counts[what]).sum()
        };
        let found = [component.emitted, component.executed, component.acked, component.failed];
        assert_eq!(found, [of(EMITTED), of(EXECUTED), of(ACKED), of(FAILED)], "{}", component.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn counts_by_stream_are_what_the_components_have_seen(
        (rows, is_heavy) in prop_oneof![(1i64..600, Just(false)), (1i64..200, Just(true))],
        (tasks, joins, workers) in (1u32..4, 1u32..3, 1usize..4),
        (serializes_all, is_tracking) in (any::<bool>(), prop::bool::weighted(0.8)),
        pending in 20i64..400,
        (fails, panics) in (4i64..40, 7i64..120),
        seed in any::<u64>(),
    ) {
        // Eight heavy rows are all that may be under way between two tasks.
        let bytes = if is_heavy { 64 * 1024 } else { 10 };
        let trial = Trial {
            rows, bytes, tasks, joins, workers, serializes_all, is_tracking, pending, fails, panics, seed,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(trial));
    }
}

mod gauges {
    //! What stands waiting now, for how long tasks have waited, and how long tuples took.

    use tokio::time::sleep;

    use super::*;
    use crate::support::{Each, Numbers, Slow};

    /// Rows that may be under way between two tasks before any have been.
    const FIRST: u64 = 1024;

    fn task(report: &WorkerReport, task: TaskId) -> &TaskReport {
        report.tasks.iter().find(|found| found.task == task).unwrap()
    }

    fn blocked(report: &WorkerReport, id: TaskId) -> Duration {
        Duration::from_nanos(task(report, id).blocked_ns)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_and_who_waits_is_seen_while_they_do() -> TestResult {
        for cluster in [LocalCluster::new(), LocalCluster::new().serialize_all(), LocalCluster::new().workers(3)] {
            let mut builder = TopologyBuilder::new("blocked");
            builder.config(PENDING, 100_000).config("topology.message.timeout.secs", 1_000_000);
            let _ = builder.spout("numbers", Numbers::endless);
            let _ = builder.bolt("pass", || Slow(Duration::ZERO)).shuffle("numbers");
            let _ = builder.bolt("slow", || Slow(Duration::from_secs(1))).shuffle("pass");
            let run = cluster.start(builder.build()?).await?;
            sleep(Duration::from_secs(100)).await;
            let before = run.report();
            let (spout, pass, slow) = (task(&before, 1), task(&before, 2), task(&before, 3));
            assert_eq!(spout.pending, spout.emitted - spout.acked - spout.failed);
            // One is being executed.
            assert!((98..=100).contains(&slow.executed), "{slow:?}");
            assert!(slow.queued > FIRST / 2 && slow.queued + slow.executed <= pass.emitted, "{slow:?} {pass:?}");
            assert_eq!(pass.queued_capacity_of_one_sender(), FIRST);
            assert_eq!(slow.queued_capacity_of_one_sender(), FIRST);
            for waiting in [1, 2] {
                let waited = blocked(&before, waiting);
                assert!(waited > Duration::from_secs(98) && waited <= Duration::from_secs(100), "{waited:?}");
            }
            assert_eq!(blocked(&before, 3), Duration::ZERO);
            sleep(Duration::from_secs(50)).await;
            let after = run.report();
            for waiting in [1, 2] {
                let waited = blocked(&after, waiting) - blocked(&before, waiting);
                assert!(waited.abs_diff(Duration::from_secs(50)) < Duration::from_millis(10), "{waited:?}");
            }
        }
        Ok(())
    }

    trait Capacity {
        fn queued_capacity_of_one_sender(&self) -> u64;
    }

    impl Capacity for TaskReport {
        /// It grows with what is fast, in steps of two.
        fn queued_capacity_of_one_sender(&self) -> u64 {
            assert!(
                (self.queue_capacity / FIRST).is_power_of_two() && self.queue_capacity.is_multiple_of(FIRST),
                "{self:?}"
            );
            self.queue_capacity >> (self.queue_capacity / FIRST).ilog2()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_while_it_awaits_room_and_not_while_it_sleeps() -> TestResult {
        struct Many;
        impl Bolt for Many {
            fn output(&self) -> Streams {
                Streams::default_fields(["n"])
            }
            async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
                out.context().sleep(Duration::from_secs(7)).await;
                (0..4 * FIRST).for_each(|_| out.emit(tuple.values()));
                out.room().await;
                out.context().sleep(Duration::from_secs(11)).await;
                Ok(())
            }
        }
        let mut builder = TopologyBuilder::new("room");
        builder.config("topology.message.timeout.secs", 1_000_000);
        let _ = builder.spout("numbers", || Numbers::new(1));
        let _ = builder.bolt("many", || Many).shuffle("numbers");
        let _ = builder.bolt("slow", || Slow(Duration::from_millis(10))).shuffle("many");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        // Each batch takes more credit than is left. The fourth leaves after the first tuple of the third.
        let expected = Duration::from_millis(10) * (2 * FIRST as u32 + 1);
        let waited = blocked(run.report(), 2);
        assert!(waited.abs_diff(expected) < Duration::from_millis(50), "{waited:?}");
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn each_kept_tuple_counts_from_its_call_to_its_ack() -> TestResult {
        /// Keeps three, each after a while of its own, and acks them with the fourth. The fifth fails.
        #[derive(Default)]
        struct Keeper(Vec<HeldTuple>);
        impl ManualBolt for Keeper {
            async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
                let n = tuple.i64("n")?;
                out.context().sleep(Duration::from_secs(1 << n)).await;
                match n {
                    3 => self.0.drain(..).for_each(|held| out.ack(held)),
                    4 => return Err("refused".into()),
                    _ => self.0.push(out.keep(tuple)),
                }
                Ok(())
            }
        }
        let feeder = crate::support::fed(0..5);
        let mut builder = TopologyBuilder::new("kept");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.manual_bolt("keeper", Keeper::default).shuffle("feeder");
        let run = LocalCluster::new().start(builder.build()?).await?;
        while task(&run.report(), 2).pending < 3 {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(task(&run.report(), 2).queued, 2, "one is being executed");
        let run = run.finished().await?;
        let keeper = run.report().latencies.iter().find(|latency| latency.component == "keeper").unwrap();
        let process = keeper.process.clone().unwrap();
        let seconds: Vec<u64> = process.values.iter().map(|nanos| (*nanos as f64 / 1e9).round() as u64).collect();
        // 4 s for itself and 8 s for the one that acked it; before that 2 s, and 1 s. The one that acked
        // was acked automatically.
        assert_eq!((seconds, process.counts), (vec![8, 12, 14, 15], vec![1; 4]));
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn an_automatic_ack_takes_as_long_as_the_call_and_a_failure_counts_nowhere() -> TestResult {
        let refuse_odd = |tuple: &Tuple<'_>, _: &mut Emitter<'_>| match tuple.i64("n")? % 2 {
            0 => Ok(()),
            _ => Err("odd".into()),
        };
        let feeder = Feeder::new(["n"]);
        let mut builder = TopologyBuilder::new("automatic");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.bolt("slow", || Slow(Duration::from_millis(20))).shuffle("feeder");
        let _ = builder.bolt("refuses", move || Each { call: refuse_odd, output: Streams::none() }).shuffle("feeder");
        let run = LocalCluster::new().start(builder.build()?).await?;
        for n in 0..20 {
            feeder.feed(values![n]);
            feeder.settled(n as usize + 1).await;
        }
        feeder.finish();
        let run = run.finished().await?;
        let of = |id: &str| run.report().latencies.iter().find(|latency| latency.component == id).unwrap().clone();
        let (slow, refuses) = (of("slow"), of("refuses"));
        assert_eq!(slow.process, slow.execute);
        assert_eq!(slow.process.unwrap().counts, [20]);
        let samples =
            |histogram: Option<galerna_protocol::HistogramReport>| histogram.unwrap().counts.iter().sum::<u64>();
        assert_eq!((samples(refuses.execute), samples(refuses.process)), (20, 10));
        Ok(())
    }
}
