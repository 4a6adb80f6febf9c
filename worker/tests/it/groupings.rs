//! Which tasks get a tuple.

use std::collections::BTreeMap;

use galerna_topology_api::*;
use galerna_worker::testing::*;

use crate::support::{Log, Noting, Numbers, fed, numbers, sink};

/// Runs numbers through four tasks of one bolt; what each task got.
async fn dealt(grouping: Grouping, count: i64, cluster: LocalCluster) -> TestResult<BTreeMap<TaskId, Vec<i64>>> {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("groupings");
    let _ = builder.spout("numbers", move || Numbers::new(count));
    let noting = log.clone();
    let _ = builder.bolt("bolt", move || Noting::new(&noting, ["n"])).parallelism(2).tasks(4).input(
        "numbers",
        DEFAULT_STREAM,
        grouping,
    );
    let run = cluster.complete(builder.build()?).await?;
    assert_eq!(run.spout("numbers").acked(), count as u64);
    assert_eq!(run.spout("numbers").failed(), 0);
    let mut tasks: BTreeMap<TaskId, Vec<i64>> = BTreeMap::new();
    for (task, row) in log.by_task() {
        tasks.entry(task).or_default().push(row[0].as_i64().unwrap());
    }
    Ok(tasks)
}

#[tokio::test(start_paused = true)]
async fn shuffle_deals_evenly() -> TestResult {
    let tasks = dealt(Grouping::Shuffle, 100_000, LocalCluster::new()).await?;
    assert_eq!(tasks.len(), 4);
    for (task, got) in tasks {
        assert!((24_500..=25_500).contains(&got.len()), "task {task} got {}", got.len());
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn fields_sends_equal_keys_to_the_same_task_in_every_worker() -> TestResult {
    let alone = dealt(Grouping::Fields(["n"].into()), 1000, LocalCluster::new()).await?;
    let spread = dealt(Grouping::Fields(["n"].into()), 1000, LocalCluster::new().workers(3)).await?;
    assert_eq!(alone.len(), 4);
    assert_eq!(alone, spread);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn global_goes_to_the_lowest_task_and_all_to_each() -> TestResult {
    let global = dealt(Grouping::Global, 100, LocalCluster::new()).await?;
    assert_eq!(global.into_iter().collect::<Vec<_>>(), [(2, (0..100).collect())]);
    let all = dealt(Grouping::All, 100, LocalCluster::new().serialize_all()).await?;
    assert_eq!(all.len(), 4);
    assert!(all.values().all(|got| *got == (0..100).collect::<Vec<_>>()));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn order_between_two_tasks_is_the_order_emitted() -> TestResult {
    for cluster in [LocalCluster::new(), LocalCluster::new().workers(2), LocalCluster::new().serialize_all()] {
        let tasks = dealt(Grouping::Shuffle, 20_000, cluster).await?;
        assert!(tasks.values().all(|got| got.is_sorted()));
    }
    Ok(())
}

/// Emits each number to the task that it names.
struct ToTask;

impl Bolt for ToTask {
    fn output(&self) -> Streams {
        Streams::none().direct_stream("named", ["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let n = tuple.i64("n")?;
        let tasks = out.context().tasks_of("sink").ok_or("no sink")?;
        let task = tasks.start + n as u32 % (tasks.end - tasks.start);
        out.emit_direct(task, "named", values![n]);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn direct_goes_to_the_task_that_the_emitter_names() -> TestResult {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("direct");
    let _ = builder.spout("numbers", || Numbers::new(90));
    let _ = builder.bolt("to-task", || ToTask).shuffle("numbers");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).parallelism(3).direct("to-task", "named");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.spout("numbers").acked(), 90);
    let first = 3;
    assert!(log.by_task().iter().all(|(task, row)| i64::from(task - first) == row[0].as_i64().unwrap() % 3));
    assert_eq!(numbers(&log.rows()).len(), 90);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_direct_stream_has_two_consumers_and_each_tuple_one_receiver() -> TestResult {
    struct ByParity;
    impl Bolt for ByParity {
        fn output(&self) -> Streams {
            Streams::none().direct_stream("named", ["n"])
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            let to = if tuple.i64("n")? % 2 == 0 { "even" } else { "odd" };
            let task = out.context().tasks_of(to).ok_or("no such bolt")?.start;
            out.emit_direct(task, "named", tuple.values());
            Ok(())
        }
    }
    let feeder = fed(0..4);
    let mut builder = TopologyBuilder::new("parity");
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("by-parity", || ByParity).shuffle("feeder");
    let _ = builder.bolt("even", sink(|_, _| Ok(()))).direct("by-parity", "named");
    let _ = builder.bolt("odd", sink(|_, _| Ok(()))).direct("by-parity", "named");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((feeder.acked().len(), feeder.failed()), (4, vec![]));
    assert_eq!((run.component("even").executed, run.component("odd").executed), (2, 2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_spouts_tuple_for_an_unknown_task_fails() -> TestResult {
    struct ToNobody {
        has_emitted: bool,
    }
    impl Spout for ToNobody {
        type MessageId = u64;
        fn output(&self) -> Streams {
            Streams::none().direct_stream("named", ["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
            if self.has_emitted {
                return Ok(Next::Exhausted);
            }
            self.has_emitted = true;
            out.emit_direct(7, 999, "named", values![1]);
            Ok(Next::Emitted)
        }
    }
    let mut builder = TopologyBuilder::new("nobody");
    let _ = builder.spout("to-nobody", || ToNobody { has_emitted: false });
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).direct("to-nobody", "named");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((run.spout("to-nobody").acked(), run.spout("to-nobody").failed()), (0, 1));
    Ok(())
}

/// Emits five rows for each input, the last ones to a task that does not exist: none for the input 0.
struct ToStrangers {
    strays: usize,
}

impl Bolt for ToStrangers {
    fn output(&self) -> Streams {
        Streams::none().direct_stream("named", ["n"])
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let sink = out.context().tasks_of("sink").ok_or("no sink")?.start;
        let n = tuple.i64("n")?;
        let strays = if n == 0 { 0 } else { self.strays };
        for at in 0..5 {
            out.emit_direct(if at < 5 - strays { sink } else { 999 }, "named", values![n]);
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_input_with_several_rows_for_an_unknown_task_fails_with_one_error() -> TestResult {
    for (count, strays) in [(2u64, 5), (2, 2), (4, 3)] {
        let (feeder, log) = (fed(0..count as i64), Log::default());
        let mut builder = TopologyBuilder::new("strangers");
        let _ = builder.add_spout("feeder", feeder.factory());
        let _ = builder.bolt("to-strangers", move || ToStrangers { strays }).shuffle("feeder");
        let noting = log.clone();
        let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).direct("to-strangers", "named");
        let run = LocalCluster::new().complete(builder.build()?).await?;
        assert_eq!((feeder.acked(), feeder.failed()), (vec![0], (1..count).collect()));
        let errors = &run.summary().errors;
        let failed = count - 1;
        assert_eq!((errors.len(), errors[0].count), (1, failed), "{errors:?}");
        assert_eq!(errors[0].message, "task 999 does not receive this stream");
        assert_eq!(run.component("to-strangers").errors, failed);
        assert_eq!(log.len(), 5 + (5 - strays) * failed as usize, "the other rows arrive");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_spouts_call_with_several_tuples_for_an_unknown_task_makes_one_error() -> TestResult {
    struct ToNobody {
        calls: u64,
    }
    impl Spout for ToNobody {
        type MessageId = u64;
        fn output(&self) -> Streams {
            Streams::none().direct_stream("named", ["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
            if self.calls == 3 {
                return Ok(Next::Exhausted);
            }
            self.calls += 1;
            // The second call has one.
            for id in 0..if self.calls == 2 { 1 } else { 5 } {
                out.emit_direct(10 * self.calls + id, 999, "named", values![1]);
            }
            Ok(Next::Emitted)
        }
    }
    let mut builder = TopologyBuilder::new("nobody");
    let _ = builder.spout("to-nobody", || ToNobody { calls: 0 });
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).direct("to-nobody", "named");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((run.spout("to-nobody").acked(), run.spout("to-nobody").failed()), (0, 11));
    let errors = &run.summary().errors;
    assert_eq!((errors.len(), errors[0].count), (1, 3), "{errors:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_custom_grouping_that_panics_fails_the_tuple_in_hand_only() -> TestResult {
    struct NoFives(TaskId);
    impl CustomGrouping for NoFives {
        fn choose(&mut self, values: &[Value], chosen: &mut Vec<TaskId>) {
            assert_ne!(values[0].as_i64(), Some(5));
            chosen.push(self.0);
        }
    }
    let (feeder, log) = (fed(0..10), Log::default());
    let mut builder = TopologyBuilder::new("no-fives");
    let _ = builder.add_spout("feeder", feeder.factory());
    let noting = log.clone();
    let _ = builder.bolt("pass", move || Noting::new(&noting, ["n"])).shuffle("feeder");
    let grouping = CustomGroupingFactory::new("no-fives", |context: &GroupingContext| NoFives(context.targets[0]));
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).custom("pass", grouping);
    LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((feeder.failed(), log.len()), (vec![5], 10));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_stream_subscribed_to_twice_arrives_once() -> TestResult {
    let log = Log::default();
    let mut builder = TopologyBuilder::new("twice");
    let _ = builder.add_spout("feeder", fed(0..10).factory());
    let noting = log.clone();
    let _ = builder.bolt("bolt", move || Noting::new(&noting, ["n"])).shuffle("feeder").shuffle("feeder");
    let topology = builder.build()?;
    let warnings: Vec<_> = topology.warnings().iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(warnings, ["`bolt` receives stream `default` of `feeder` already, by the same grouping"]);
    LocalCluster::new().complete(topology).await?;
    assert_eq!(numbers(&log.rows()), (0..10).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_stream_subscribed_to_by_two_groupings_is_refused() {
    let custom = || CustomGroupingFactory::new("first", |context: &GroupingContext| First(context.targets[0]));
    struct First(TaskId);
    impl CustomGrouping for First {
        fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
            chosen.push(self.0);
        }
    }
    let mut builder = TopologyBuilder::new("twice");
    let _ = builder.add_spout("feeder", fed(0..10).factory());
    let bolt = builder.bolt("bolt", sink(|_, _| Ok(())));
    let _ = bolt.shuffle("feeder").fields("feeder", ["n"]).custom("feeder", custom());
    let same = custom();
    let _ = builder.bolt("fine", sink(|_, _| Ok(()))).custom("feeder", same.clone()).custom("feeder", same);
    let _ = builder.bolt("other", sink(|_, _| Ok(()))).custom("feeder", custom()).custom("feeder", custom());
    let problems = builder.build().unwrap_err().problems.into_iter();
    let messages = problems.filter(|problem| !problem.is_warning).map(|problem| problem.message);
    let by = |bolt, other| format!("`{bolt}` receives stream `default` of `feeder` by two groupings: {other}");
    assert_eq!(
        messages.collect::<Vec<_>>(),
        [
            by("bolt", "SHUFFLE and FIELDS [n]"),
            by("bolt", "SHUFFLE and CUSTOM first"),
            by("other", "CUSTOM first and CUSTOM first"),
        ]
    );
}
