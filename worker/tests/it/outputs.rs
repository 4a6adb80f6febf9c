//! Output of spawned work: no accepted command is lost, and no command is accepted too late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Log, Noting, Numbers, fed, numbers};

/// The outcomes of spawned work, for the test.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Result<(), OutputClosed>>>>);

impl Seen {
    fn note(&self, outcome: Result<(), OutputClosed>) {
        self.0.lock().unwrap().push(outcome);
    }
    fn all(&self) -> Vec<Result<(), OutputClosed>> {
        self.0.lock().unwrap().clone()
    }
}

/// For each tuple, spawns a task that waits and then emits `rows` rows through the output handle.
struct Spawns {
    rows: i64,
    wait: Duration,
    has_guard: bool,
    tasks: JoinSet<()>,
    seen: Seen,
}

impl Spawns {
    fn new(rows: i64, wait: u64, has_guard: bool, seen: &Seen) -> Self {
        Self { rows, wait: Duration::from_millis(wait), has_guard, tasks: JoinSet::new(), seen: seen.clone() }
    }
}

impl Bolt for Spawns {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, _: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let handle = out.context().output_handle();
        let guard = if self.has_guard { Some(handle.guard()?) } else { None };
        let (rows, wait, seen) = (self.rows, self.wait, self.seen.clone());
        self.tasks.spawn(async move {
            sleep(wait).await;
            for n in 0..rows {
                seen.note(handle.emit_unanchored(vec![n.into()]).await);
            }
            drop(guard);
        });
        if self.wait.is_zero() {
            // All commands are accepted before the input ends.
            while self.seen.all().len() < self.rows as usize {
                sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }
}

async fn spawned(make: impl Fn() -> Spawns + Send + Sync + 'static, acked: bool) -> TestResult<(Completed, usize)> {
    let (log, feeder) = (Log::default(), fed([1]));
    let mut builder = TopologyBuilder::new("spawned");
    builder.config("topology.acker.executors", i64::from(acked));
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("spawns", make).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("spawns");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    Ok((run, log.len()))
}

#[tokio::test(start_paused = true)]
async fn everything_that_was_accepted_before_the_end_of_the_input_arrives() -> TestResult {
    for acked in [false, true] {
        let seen = Seen::default();
        let shown = seen.clone();
        let (_, arrived) = spawned(move || Spawns::new(200, 0, false, &shown), acked).await?;
        assert_eq!((seen.all().len(), arrived), (200, 200), "acked: {acked}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn after_the_end_of_the_input_spawned_work_is_refused() -> TestResult {
    let seen = Seen::default();
    let shown = seen.clone();
    let began = Instant::now();
    let (_, arrived) = spawned(move || Spawns::new(5, 100, false, &shown), true).await?;
    assert!(began.elapsed() < Duration::from_millis(100), "nothing is waited for: {:?}", began.elapsed());
    assert_eq!(arrived, 0);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_spawned_work_that_holds_a_guard() -> TestResult {
    for acked in [false, true] {
        let seen = Seen::default();
        let shown = seen.clone();
        let (run, arrived) = spawned(move || Spawns::new(500, 5_000, true, &shown), acked).await?;
        assert_eq!(arrived, 500);
        assert!(seen.all().iter().all(Result::is_ok));
        assert_eq!(run.summary().errors, []);
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn spawned_work_that_takes_too_long_is_cut_off_and_listed() -> TestResult {
    let seen = Seen::default();
    let shown = seen.clone();
    let began = Instant::now();
    let (run, arrived) = spawned(move || Spawns::new(1, 1_000_000, true, &shown), true).await?;
    let took = began.elapsed();
    assert!((30.0..31.0).contains(&took.as_secs_f64()), "as long as the message time-out: {took:?}");
    assert_eq!(arrived, 0);
    let message = &run.summary().errors[0].message;
    assert!(message.contains("cut off after 30s: it still had held tuples (0) or output guards (1)"), "{message}");
    Ok(())
}

/// Joins pairs in spawned work: the bolt owns the tuples, the work has their ids.
struct JoinsElsewhere {
    waiting: BTreeMap<i64, HeldTuple>,
    pairs: Vec<[HeldTuple; 2]>,
    tasks: JoinSet<()>,
}

impl ManualBolt for JoinsElsewhere {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let n = tuple.i64("n")?;
        let held = out.keep(tuple);
        let Some(other) = self.waiting.remove(&(n / 2)) else {
            self.waiting.insert(n / 2, held);
            return Ok(());
        };
        let (handle, ids) = (out.context().output_handle(), [held.id(), other.id()]);
        self.pairs.push([held, other]);
        self.tasks.spawn(async move {
            sleep(Duration::from_millis(10)).await;
            let [one, other] = ids;
            let rows =
                OutputCommand::new().emit([one.clone(), other.clone()], values![n]).emit([one.clone()], values![-n]);
            let decisions = OutputCommand::new().ack(one).ack(other);
            let _ = handle.submit_many([rows, decisions]).await;
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_emits_rows_of_several_held_tuples_and_decides_later_by_their_ids() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(3), LocalCluster::new().serialize_all()] {
        let log = Log::default();
        let mut builder = TopologyBuilder::new("joins");
        let _ = builder.spout("numbers", || Numbers::new(400));
        let make = || JoinsElsewhere { waiting: BTreeMap::new(), pairs: Vec::new(), tasks: JoinSet::new() };
        let _ = builder.manual_bolt("joins", make).global("numbers");
        let noting = log.clone();
        // A row that the sink refuses once shows that both of its trees depend on the row.
        let refuse = Arc::new(Mutex::new(Some(399)));
        let sink = move || Refusing { log: noting.clone(), refuse: refuse.clone() };
        let _ = builder.bolt("sink", sink).shuffle("joins");
        let run = cluster.complete(builder.build()?).await?;
        assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (400, 2));
        let mut seen = numbers(&log.rows());
        seen.sort_unstable();
        seen.dedup();
        let expected: Vec<i64> = (0..400).filter(|n| n % 2 == 1).flat_map(|n| [n, -n]).collect();
        assert_eq!(seen.len(), expected.len());
    }
    Ok(())
}

/// Refuses one number once.
struct Refusing {
    log: Log,
    refuse: Arc<Mutex<Option<i64>>>,
}

impl Bolt for Refusing {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        if self.refuse.lock().unwrap().take_if(|n| Ok(*n) == tuple.i64("n")).is_some() {
            return Err("refused once".into());
        }
        self.log.note(out.context().task_id(), tuple.values());
        Ok(())
    }
}

/// Acks its tuple, and then emits a row anchored to it.
#[tokio::test(start_paused = true)]
async fn a_row_anchored_to_a_decided_tuple_is_refused_and_listed() -> TestResult {
    struct TooLate(JoinSet<()>);
    impl ManualBolt for TooLate {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let (held, handle) = (out.keep(tuple), out.context().output_handle());
            self.0.spawn(async move {
                let id = held.id();
                let commands = [OutputCommand::new().ack(held), OutputCommand::new().emit([id], values![1])];
                let _ = handle.submit_many(commands).await;
            });
            Ok(())
        }
    }
    let (log, feeder) = (Log::default(), fed([1]));
    let mut builder = TopologyBuilder::new("too-late");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("late", || TooLate(JoinSet::new())).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("late");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((feeder.acked(), log.len()), (vec![0], 0));
    let message = &run.summary().errors[0].message;
    assert!(message.contains("anchored to a tuple which was acked or failed before"), "{message}");
    Ok(())
}

/// Asks for the receiving tasks of its rows, as a process that speaks Storm's multilang protocol does.
struct Asks {
    tasks: JoinSet<()>,
    answers: Arc<Mutex<Vec<Vec<Vec<TaskId>>>>>,
}

impl ManualBolt for Asks {
    fn output(&self) -> Streams {
        Streams::none().stream("shuffled", ["n"]).stream("keyed", ["n"]).stream("nowhere", ["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let (n, held, handle) = (tuple.i64("n")?, out.keep(tuple), out.context().output_handle());
        let answers = self.answers.clone();
        self.tasks.spawn(async move {
            let command = OutputCommand::new()
                .emit_to("shuffled", [held.id()], values![n])
                .emit_to("keyed", [held.id()], values![n])
                .emit_to("nowhere", [held.id()], values![n]);
            let answer = handle.submit_for_tasks(command).await.unwrap();
            answers.lock().unwrap().push(answer);
            let _ = handle.ack(held).await;
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_learns_which_tasks_its_rows_went_to() -> TestResult {
    let (log, answers) = (Log::default(), Arc::<Mutex<Vec<Vec<Vec<TaskId>>>>>::default());
    let mut builder = TopologyBuilder::new("asks");
    let _ = builder.spout("numbers", || Numbers::new(200));
    let shown = Arc::clone(&answers);
    let make = move || Asks { tasks: JoinSet::new(), answers: shown.clone() };
    let _ = builder.manual_bolt("asks", make).global("numbers");
    let noting = log.clone();
    let make = move || Slowly(noting.clone());
    let _ = builder.bolt("sink", make).parallelism(3).input("asks", "shuffled", Grouping::Shuffle).input(
        "asks",
        "keyed",
        Grouping::Fields(["n"].into()),
    );
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.spout("numbers").acked(), 200);
    // For each task, the number of rows by the answers, and the number of rows that arrived.
    let (mut said, mut got) = (BTreeMap::new(), BTreeMap::new());
    for answer in answers.lock().unwrap().iter() {
        assert_eq!(answer.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0], "{answer:?}");
        answer.iter().flatten().for_each(|task| *said.entry(*task).or_insert(0) += 1);
    }
    log.by_task().iter().for_each(|(task, _)| *got.entry(*task).or_insert(0) += 1);
    assert_eq!((said.values().sum::<i32>(), said), (400, got));
    Ok(())
}

struct Slowly(Log);

impl Bolt for Slowly {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        sleep(Duration::from_millis(7)).await;
        self.0.note(out.context().task_id(), tuple.values());
        Ok(())
    }
}

/// Tuples kept by a lost instance fail; its spawned work does not affect the new instance.
#[tokio::test(start_paused = true)]
async fn output_of_a_lost_instance_is_dropped() -> TestResult {
    struct Panics {
        tasks: Arc<Mutex<JoinSet<()>>>,
    }
    impl ManualBolt for Panics {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
            let (n, held, handle) = (tuple.i64("n")?, out.keep(tuple), out.context().output_handle());
            self.tasks.lock().unwrap().spawn(async move {
                sleep(Duration::from_millis(50)).await;
                let _ = handle.emit_and_ack(held, [vec![n.into()]]).await;
            });
            assert_ne!(n, 2, "the instance is lost");
            Ok(())
        }
    }
    let (log, feeder) = (Log::default(), fed([1, 2, 3]));
    let tasks: Arc<Mutex<JoinSet<()>>> = Arc::default();
    let mut builder = TopologyBuilder::new("panics");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.manual_bolt("panics", move || Panics { tasks: tasks.clone() }).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("panics");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    let mut failed = feeder.failed();
    failed.sort_unstable();
    assert_eq!((feeder.acked(), failed), (vec![2], vec![0, 1]));
    assert_eq!(numbers(&log.rows()), [3]);
    assert_eq!(run.summary().errors.len(), 1, "{:?}", run.summary().errors);
    Ok(())
}

/// Runs at most ten requests at a time; a call waits for the end of one. Each request emits 20 rows, each in a command.
#[derive(Default)]
struct Requests(JoinSet<()>);

impl ManualBolt for Requests {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        while self.0.len() >= 10 {
            let _ = self.0.join_next().await;
        }
        let (handle, held) = (out.context().output_handle(), out.keep(tuple));
        self.0.spawn(async move {
            for n in 0..20 {
                let row = OutputCommand::new().emit([held.id()], values![n]);
                let _ = handle.submit(row).await;
            }
            let _ = handle.submit(OutputCommand::new().ack(held)).await;
        });
        Ok(())
    }
}

/// There are more commands than the task takes in while one call is running.
#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_spawned_work_never_hang_and_its_output_leaves_between_two_calls() -> TestResult {
    const TUPLES: i64 = 5_000;
    let log = Log::default();
    let mut builder = TopologyBuilder::new("requests");
    let _ = builder.spout("numbers", || Numbers::new(TUPLES));
    let _ = builder.manual_bolt("requests", Requests::default).shuffle("numbers");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("requests");
    let run = timeout(Duration::from_secs(600), LocalCluster::new().complete(builder.build()?)).await??;
    assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (TUPLES as u64, 0));
    assert_eq!(log.len(), 20 * TUPLES as usize);
    Ok(())
}
