//! Bolts that take many tuples in one call and decide about each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;

use crate::support::{Log, Noting, Numbers, fed, numbers, refusing, sink};

/// The numbers of each batch that was executed, across instances.
type Batches = Arc<Mutex<Vec<Vec<i64>>>>;

/// A batch bolt made of a function, which notes the batches that it is given. What the function keeps
/// is acked in `flush`.
struct Batched<F> {
    call: F,
    batches: Batches,
    held: Vec<HeldTuple>,
}

impl<F> BatchBolt for Batched<F>
where
    F: FnMut(&TupleBatch<'_>, &mut BatchEmitter<'_>, &mut Vec<HeldTuple>) -> BoltResult + Send + 'static,
{
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
        self.batches.lock().unwrap().push(numbers_of(batch));
        (self.call)(batch, out, &mut self.held)
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.held.drain(..).for_each(|held| out.ack(held));
        Ok(())
    }
}

fn batched<F>(batches: &Batches, call: F) -> impl Fn() -> Batched<F> + Send + Sync + 'static
where
    F: FnMut(&TupleBatch<'_>, &mut BatchEmitter<'_>, &mut Vec<HeldTuple>) -> BoltResult + Clone + Send + Sync + 'static,
{
    let batches = batches.clone();
    move || Batched { call: call.clone(), batches: batches.clone(), held: Vec::new() }
}

fn numbers_of(batch: &TupleBatch<'_>) -> Vec<i64> {
    assert_eq!((batch.fields().len(), batch.source_stream(), batch.is_empty()), (1, DEFAULT_STREAM, false));
    batch.iter().map(|tuple| tuple.i64("n").unwrap()).collect()
}

fn sorted<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items
}

/// The ids of the feeder are its numbers, if these start at 0.
fn ids(numbers: impl IntoIterator<Item = i64>) -> Vec<u64> {
    sorted(numbers.into_iter().map(|n| n as u64))
}

#[tokio::test(start_paused = true)]
async fn each_tuple_of_a_batch_is_acked_failed_or_kept_by_itself() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(3), LocalCluster::new().serialize_all()] {
        let (feeder, log, batches) = (fed(0..300), Log::default(), Batches::default());
        let mut builder = TopologyBuilder::new("thirds");
        let _ = builder.add_spout("feeder", feeder.factory());
        let thirds = |batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, held: &mut Vec<HeldTuple>| {
            for (number, tuple) in batch.iter().enumerate() {
                out.of(number).emit(tuple.values());
                match tuple.i64("n")? % 3 {
                    0 => out.ack(number),
                    1 => {
                        out.fail(number, "the first reason stands");
                        out.fail(number, "and no other is listed");
                        out.ack(number);
                    }
                    _ => held.push(out.keep(number)),
                }
            }
            Ok(())
        };
        let _ = builder.batch_bolt("thirds", batched(&batches, thirds)).shuffle("feeder");
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("thirds");
        let run = cluster.complete(builder.build()?).await?;

        assert_eq!(sorted(feeder.failed()), ids((0..300).filter(|n| n % 3 == 1)));
        assert_eq!(sorted(feeder.acked()), ids((0..300).filter(|n| n % 3 != 1)));
        assert_eq!(sorted(numbers(&log.rows())), sorted((0..300).filter(|n| n % 3 != 1)), "emits of acked tuples");
        assert!(batches.lock().unwrap().iter().any(|batch| batch.len() > 1), "several at a time");
        let counts = run.component("thirds");
        assert_eq!((counts.executed, counts.acked, counts.failed, counts.emitted), (300, 200, 100, 200));
        let errors = &run.summary().errors;
        assert_eq!((counts.errors, errors.len()), (100, 1), "each failure is listed once: {errors:?}");
    }
    Ok(())
}

/// Each number is refused once, and emitted again by the spout: every one gets through exactly once.
#[tokio::test(start_paused = true)]
async fn what_a_failed_tuple_emitted_is_withdrawn_until_its_replay_succeeds() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(3), LocalCluster::new().serialize_all()] {
        let (log, refused) = (Log::default(), Arc::new(Mutex::new(BTreeSet::new())));
        let mut builder = TopologyBuilder::new("replays");
        let _ = builder.spout("numbers", || Numbers::new(500));
        let refuses = move |batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, _: &mut Vec<HeldTuple>| {
            for (number, n) in numbers_of(batch).into_iter().enumerate() {
                if n % 2 == 1 && refused.lock().unwrap().insert(n) {
                    out.fail(number, "not yet");
                }
                out.of(number).emit(values![n]);
            }
            Ok(())
        };
        let make = batched(&Batches::default(), refuses);
        let _ = builder.batch_bolt("refuses", make).parallelism(2).shuffle("numbers");
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).parallelism(2).fields("refuses", ["n"]);
        let run = cluster.complete(builder.build()?).await?;
        assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (500, 250));
        assert_eq!(run.component("refuses").executed, 750);
        assert_eq!(sorted(numbers(&log.rows())), (0..500).collect::<Vec<_>>());
    }
    Ok(())
}

/// Runs three batches of ten: the first is kept, `troubled` runs with the second, the third is passed on.
async fn run_in_trouble(
    troubled: fn(&TupleBatch<'_>, &mut BatchEmitter<'_>, &mut Vec<HeldTuple>) -> BoltResult,
) -> Result<(Feeder, Log, Completed)> {
    let (feeder, log, batches) = (Feeder::new(["n"]), Log::default(), Batches::default());
    let mut builder = TopologyBuilder::new("trouble");
    let _ = builder.add_spout("feeder", feeder.factory());
    let call = move |batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, held: &mut Vec<HeldTuple>| {
        match batch.get(0).i64("n")? / 10 {
            0 => held.extend((0..batch.len()).map(|number| out.keep(number))),
            1 => return troubled(batch, out, held),
            _ => batch.iter().enumerate().for_each(|(number, tuple)| out.of(number).emit(tuple.values())),
        }
        Ok(())
    };
    let _ = builder.batch_bolt("trouble", batched(&batches, call)).shuffle("feeder");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("trouble");
    let run = LocalCluster::new().start(builder.build()?).await?;
    for from in [0, 10, 20] {
        (from..from + 10).for_each(|n| feeder.feed(values![n]));
        let all = from as u64 + 10;
        run.wait_until(|summary| summary.components.iter().any(|c| c.id == "trouble" && c.executed == all)).await;
    }
    feeder.finish();
    let run = run.finished().await?;
    assert!(batches.lock().unwrap().contains(&(10..20).collect()), "the second ten come in one batch");
    Ok((feeder, log, run))
}

#[tokio::test(start_paused = true)]
async fn an_error_fails_the_whole_batch_and_what_the_call_acked() -> TestResult {
    let (feeder, log, run) = run_in_trouble(|batch, out, held| {
        held.drain(..5).for_each(|held| out.ack_held(held));
        for number in 0..batch.len() {
            out.of(number).emit(values![0]);
            out.emit_anchored(&*held, values![0]);
        }
        out.emit_unanchored(values![0]);
        out.ack(0);
        held.push(out.keep(1));
        out.fail(2, "this one");
        Err("the round trip failed".into())
    })
    .await?;
    // The kept tuple of the failed call is nobody's any more, the other kept ones are acked at the end.
    assert_eq!(sorted(feeder.failed()), ids((0..5).chain(10..20)));
    assert_eq!(sorted(feeder.acked()), ids((5..10).chain(20..30)));
    assert_eq!(sorted(numbers(&log.rows())), (20..30).collect::<Vec<_>>());
    let counts = run.component("trouble");
    assert_eq!((counts.executed, counts.acked, counts.failed, counts.restarts), (30, 15, 15, 0));
    let summary = run.summary();
    let mut errors: Vec<_> = summary.errors.iter().map(|error| (error.message.as_str(), error.count)).collect();
    errors.sort_unstable();
    assert_eq!(errors, [("the round trip failed", 1), ("this one", 1)]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_the_whole_batch_and_all_that_is_held() -> TestResult {
    let (feeder, log, run) = run_in_trouble(|_, out, held| {
        out.of(0).emit(values![0]);
        out.ack(0);
        held.push(out.keep(1));
        held.push(out.keep(1));
        panic!("somewhere in the batch")
    })
    .await?;
    assert_eq!(sorted(feeder.failed()), ids(0..20));
    assert_eq!(sorted(feeder.acked()), ids(20..30));
    assert_eq!(sorted(numbers(&log.rows())), (20..30).collect::<Vec<_>>());
    let counts = run.component("trouble");
    assert_eq!((counts.executed, counts.acked, counts.failed, counts.restarts), (30, 10, 20, 1));
    assert_eq!(counts.errors, 1);
    Ok(())
}

/// Emits many numbers in one call, and notes which fail.
struct Burst {
    count: Option<i64>,
    failed: Log,
}

impl Spout for Burst {
    type MessageId = i64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
        let Some(count) = self.count.take() else { return Ok(Next::Exhausted) };
        (0..count).for_each(|n| out.emit(n, values![n]));
        Ok(Next::Emitted)
    }
    async fn fail(&mut self, id: i64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.failed.note(0, &values![id]);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn the_tuples_behind_a_batch_that_panics_wait_for_the_new_instance() -> TestResult {
    const MAX: i64 = TupleBatch::MAX_LEN as i64;
    let (failed, log, batches) = (Log::default(), Log::default(), Batches::default());
    let mut builder = TopologyBuilder::new("burst");
    let noting = failed.clone();
    let _ = builder.spout("burst", move || Burst { count: Some(3000), failed: noting.clone() });
    let call = |batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, _: &mut Vec<HeldTuple>| {
        for (number, n) in numbers_of(batch).into_iter().enumerate() {
            out.of(number).emit(values![n]);
            assert_ne!(n, MAX + 500, "in the second batch");
        }
        Ok(())
    };
    let _ = builder.batch_bolt("batched", batched(&batches, call)).shuffle("burst");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("batched");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    let sizes: Vec<_> = batches.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1024, 1024, 952]);
    assert_eq!(sorted(numbers(&failed.rows())), (MAX..2 * MAX).collect::<Vec<_>>());
    assert_eq!(numbers(&log.rows()), (0..MAX).chain(2 * MAX..3000).collect::<Vec<_>>());
    let counts = run.component("batched");
    assert_eq!((counts.executed, counts.acked, counts.failed, counts.restarts), (3000, 1976, 1024, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn rows_handed_over_by_room_stay_anchored_each_to_its_tuple() -> TestResult {
    struct Early(Vec<HeldTuple>, Batches);
    impl BatchBolt for Early {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
            let all = numbers_of(batch);
            all.iter().enumerate().for_each(|(number, n)| out.of(number).emit(values![*n]));
            if let Some(number) = all.iter().position(|n| *n == 0) {
                out.fail(number, "before room");
            }
            out.room().await;
            for (number, n) in all.iter().enumerate() {
                out.of(number).emit(values![*n]);
                match n {
                    1 => out.fail(number, "after room"),
                    2 => self.0.push(out.keep(number)),
                    4 => {
                        let held = out.keep(number);
                        out.emit_anchored([&held], values![*n]);
                        out.room().await;
                        out.ack_held(held);
                    }
                    _ => {}
                }
            }
            self.1.lock().unwrap().push(all);
            Ok(())
        }
        async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
            self.0.drain(..).for_each(|held| out.ack(held));
            Ok(())
        }
    }
    for cluster in [LocalCluster::new(), LocalCluster::new().serialize_all()] {
        let (feeder, log, batches) = (fed(0..10), Log::default(), Batches::default());
        let mut builder = TopologyBuilder::new("early");
        let _ = builder.add_spout("feeder", feeder.factory());
        let noted = batches.clone();
        let _ = builder.batch_bolt("early", move || Early(Vec::new(), noted.clone())).shuffle("feeder");
        let noting = log.clone();
        let _ = builder.bolt("noting", move || Noting::new(&noting, ["n"])).shuffle("early");
        let _ = builder.bolt("sink", sink(refusing(3))).shuffle("early");
        cluster.complete(builder.build()?).await?;
        assert!(batches.lock().unwrap().iter().any(|batch| batch.len() > 5), "several at a time");
        assert_eq!(sorted(feeder.failed()), [0, 1, 3]);
        assert_eq!(sorted(feeder.acked()), ids((4..10).chain([2])));
        let twice = (2..10).chain(2..10);
        assert_eq!(sorted(numbers(&log.rows())), sorted(twice.chain([1, 4])), "what was handed over stays");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_row_for_an_unknown_task_fails_the_tuple_that_it_was_emitted_for() -> TestResult {
    struct ToNobody {
        is_early: bool,
    }
    impl BatchBolt for ToNobody {
        fn output(&self) -> Streams {
            Streams::none().direct_stream("named", ["n"])
        }
        async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
            let sink = out.context().topology().components["sink"].tasks.start;
            for (number, n) in numbers_of(batch).into_iter().enumerate() {
                out.of(number).emit_direct(if n == 4 { 999 } else { sink }, "named", values![n]);
            }
            if self.is_early {
                out.room().await;
            }
            Ok(())
        }
    }
    for is_early in [false, true] {
        let feeder = fed(0..10);
        let mut builder = TopologyBuilder::new("nobody");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.batch_bolt("to-nobody", move || ToNobody { is_early }).shuffle("feeder");
        let _ = builder.bolt("sink", sink(|_, _| Ok(()))).direct("to-nobody", "named");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        assert_eq!((feeder.failed(), feeder.acked().len()), (vec![4], 9));
        assert_eq!(run.component("to-nobody").errors, 1);
    }
    Ok(())
}

/// Keeps everything and emits the sum of it, anchored to all, in `tick` or else in `flush`.
struct Sum {
    held: Vec<HeldTuple>,
    ticks: bool,
}

impl Sum {
    fn emit(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        if !self.held.is_empty() {
            let numbers: Result<Vec<_>, _> = self.held.iter().map(|held| held.tuple().i64("n")).collect();
            out.emit_anchored(&self.held, values![numbers?.iter().sum::<i64>()]);
            self.held.drain(..).for_each(|held| out.ack(held));
        }
        Ok(())
    }
}

impl BatchBolt for Sum {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
        self.held.extend((0..batch.len()).map(|number| out.keep(number)));
        Ok(())
    }
    async fn tick(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        if self.ticks { self.emit(out) } else { Ok(()) }
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        if self.ticks { Ok(()) } else { self.emit(out) }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_keeps_is_acked_in_a_tick_or_a_flush() -> TestResult {
    for ticks in [true, false] {
        let (feeder, log) = (fed(0..200), Log::default());
        let mut builder = TopologyBuilder::new("sum");
        let _ = builder.add_spout("feeder", feeder.factory());
        let sum = builder.batch_bolt("sum", move || Sum { held: Vec::new(), ticks }).parallelism(2);
        let _ = sum.config("topology.tick.tuple.freq.secs", 1).shuffle("feeder");
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).global("sum");
        let run = LocalCluster::new().workers(2).complete(builder.build()?).await?;
        assert_eq!((sorted(feeder.acked()), feeder.failed()), (ids(0..200), vec![]));
        assert_eq!(numbers(&log.rows()).iter().sum::<i64>(), (0..200).sum::<i64>());
        assert_eq!((run.component("sum").executed, run.component("sum").acked), (200, 200));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_tuple_that_is_not_in_the_batch_fails_the_call_and_nothing_else() -> TestResult {
    struct Beyond(u8);
    impl BatchBolt for Beyond {
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
            let number = [batch.len(), usize::MAX][usize::from(self.0 % 2)];
            out.of(0).emit(values![0]);
            match self.0 / 2 {
                0 => out.of(number).emit(values![1]),
                1 => out.fail(number, "nobody"),
                2 => out.ack(number),
                3 => out.reset_timeout(number),
                _ => {
                    let nothing = out.keep(number);
                    assert!(nothing.tuple().get("n")?.is_null());
                    out.emit_anchored([&nothing], values![1]);
                    out.ack_held(nothing);
                }
            }
            Ok(())
        }
    }
    for way in 0..10 {
        let feeder = fed([0]);
        let mut builder = TopologyBuilder::new("beyond");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.batch_bolt("beyond", move || Beyond(way)).shuffle("feeder");
        let _ = builder.bolt("sink", sink(|_, _| Ok(()))).shuffle("beyond");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        assert_eq!(feeder.failed(), [0]);
        let counts = run.component("beyond");
        assert_eq!((counts.restarts, counts.emitted, counts.errors), (0, 0, 1), "way {way}");
        let message = &run.summary().errors[0].message;
        assert!(message.starts_with("there is no tuple ") && message.contains("in a batch of 1"), "{message}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_of_one_tuple_ends_the_run() -> TestResult {
    let mut builder = TopologyBuilder::new("fatal");
    let _ = builder.spout("numbers", || Numbers::new(10));
    let fatal = |_: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, _: &mut Vec<HeldTuple>| {
        out.fail(0, Error::fatal("the table is gone"));
        Ok(())
    };
    let _ = builder.batch_bolt("fatal", batched(&Batches::default(), fatal)).shuffle("numbers");
    let failed = LocalCluster::new().complete(builder.build()?).await.unwrap_err();
    assert!(failed.to_string().contains("the table is gone"), "{failed}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_harness_shows_what_became_of_each_tuple() -> TestResult {
    let call = |batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>, held: &mut Vec<HeldTuple>| {
        for (number, n) in numbers_of(batch).into_iter().enumerate() {
            out.of(number).emit(values![n]);
            match n {
                0 => out.fail(number, "zero"),
                1 => held.push(out.keep(number)),
                _ => {}
            }
        }
        out.emit_unanchored(values![100]);
        Ok(())
    };
    let mut harness = BoltHarness::batch(["n"], batched(&Batches::default(), call)).await?;
    let executed = harness.execute_all([values![0], values![1], values![2]]).await;
    let facts: Vec<_> = executed.iter().map(|one| (one.is_acked, one.is_kept, one.emitted.len())).collect();
    assert_eq!(facts, [(false, false, 0), (false, true, 1), (true, false, 2)]);
    assert_eq!(executed[0].error.as_ref().unwrap().to_string(), "zero");
    assert_eq!((harness.acked(), harness.failed()), (1, 1));
    assert_eq!(harness.take_rows(), [values![1], values![2], values![100]]);
    let one = harness.execute(values![7]).await;
    assert!(one.is_acked && one.emitted.len() == 2, "{one:?}");
    assert_eq!(harness.flush().await.settled, [(1, true)]);
    assert_eq!((harness.acked(), harness.failed()), (3, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn hooks_hear_of_each_tuple_of_a_batch() -> TestResult {
    /// How many executes were right and wrong, how many acks and fails.
    #[derive(Default)]
    struct Heard([AtomicU64; 4]);
    impl TaskHook for Heard {
        fn execute(&self, info: &ExecuteInfo<'_>) {
            self.0[usize::from(!info.is_ok)].fetch_add(1, Ordering::Relaxed);
        }
        fn ack(&self, _: TaskId, _: Option<Duration>) {
            self.0[2].fetch_add(1, Ordering::Relaxed);
        }
        fn fail(&self, _: TaskId) {
            self.0[3].fetch_add(1, Ordering::Relaxed);
        }
    }
    struct Hooked(Arc<Heard>);
    impl BatchBolt for Hooked {
        async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
            context.add_task_hook(self.0.clone());
            Ok(())
        }
        async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
            for (number, n) in numbers_of(batch).into_iter().enumerate() {
                match n % 3 {
                    0 => out.fail(number, "refused"),
                    1 => {
                        let held = out.keep(number);
                        out.ack_held(held);
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    }
    let heard = Arc::new(Heard::default());
    let mut builder = TopologyBuilder::new("hooked");
    let _ = builder.add_spout("feeder", fed(0..90).factory());
    let hook = heard.clone();
    let _ = builder.batch_bolt("hooked", move || Hooked(hook.clone())).shuffle("feeder");
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(heard.0.each_ref().map(|count| count.load(Ordering::Relaxed)), [60, 30, 60, 30]);
    Ok(())
}
