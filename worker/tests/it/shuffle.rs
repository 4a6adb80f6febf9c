//! Shuffle by outstanding work: slow, uneven and starting tasks get as many tuples as they can process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{Instant, sleep};

use crate::support::{Log, Numbers, OneCall};

/// Takes a time that depends on the task, and notes its tuples.
struct Uneven {
    log: Log,
    times: [Duration; 4],
}

impl Bolt for Uneven {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let time = self.times[out.context().task_index() as usize];
        if !time.is_zero() {
            out.context().sleep(time).await;
        }
        self.log.note(out.context().task_id(), tuple.values());
        Ok(())
    }
}

fn four_tasks(source: impl Fn() -> Numbers + Send + Sync + 'static, times: [u64; 4], log: &Log) -> TopologyBuilder {
    let mut builder = TopologyBuilder::new("shuffle");
    let _ = builder.spout("numbers", source);
    let (log, times) = (log.clone(), times.map(Duration::from_millis));
    let make = move || Uneven { log: log.clone(), times };
    let _ = builder.bolt("uneven", make).parallelism(4).shuffle("numbers");
    builder
}

fn by_task(log: &Log) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    log.by_task().iter().for_each(|(task, _)| *counts.entry(*task).or_insert(0) += 1);
    counts.into_values().collect()
}

fn clusters() -> [LocalCluster; 3] {
    [LocalCluster::new(), LocalCluster::new().serialize_all(), LocalCluster::new().workers(3)]
}

#[tokio::test(start_paused = true)]
async fn forty_tuples_of_a_second_spread_over_four_tasks_and_none_times_out() -> TestResult {
    for cluster in clusters() {
        let (log, began) = (Log::default(), Instant::now());
        let run = cluster.complete(four_tasks(|| Numbers::new(40), [1_000; 4], &log).build()?).await?;
        assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (40, 0));
        assert_eq!(by_task(&log), [10; 4]);
        let took = began.elapsed();
        assert!((10.0..=11.0).contains(&took.as_secs_f64()), "{took:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_thousand_untracked_tuples_of_ten_milliseconds_use_all_four_tasks() -> TestResult {
    for cluster in clusters() {
        let (log, began) = (Log::default(), Instant::now());
        let mut builder = four_tasks(|| Numbers::new(1_000), [10; 4], &log);
        builder.config("topology.acker.executors", 0);
        cluster.complete(builder.build()?).await?;
        let took = began.elapsed();
        assert!((2.5..=2.6).contains(&took.as_secs_f64()), "{took:?}: {:?}", by_task(&log));
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_large_call_over_two_fast_tasks_is_split_evenly() -> TestResult {
    for (rows, cluster) in [100_000, 100_001, 7].into_iter().zip(clusters()) {
        let log = Log::default();
        let mut builder = TopologyBuilder::new("one-call");
        builder.config("topology.emit.limit", 1_000_000);
        let _ = builder.spout("numbers", move || OneCall(rows));
        let noting = log.clone();
        let make = move || Uneven { log: noting.clone(), times: [Duration::ZERO; 4] };
        let _ = builder.bolt("fast", make).parallelism(2).shuffle("numbers");
        cluster.complete(builder.build()?).await?;
        let split = by_task(&log);
        assert_eq!(split.iter().sum::<usize>(), rows as usize);
        let difference = split[0].abs_diff(split[1]);
        assert!(difference <= 1 + rows as usize / 50, "{split:?} of {rows}");
    }
    Ok(())
}

/// The number of tuples that the tasks processed in a minute, after the first ten seconds, and the number that
/// they could have processed.
async fn share_of_possible(cluster: LocalCluster, times: [u64; 4], acked: bool) -> TestResult<f64> {
    let log = Log::default();
    let mut builder = four_tasks(Numbers::endless, times, &log);
    builder.config("topology.acker.executors", i64::from(acked));
    let _run = cluster.start(builder.build()?).await?;
    sleep(Duration::from_secs(10)).await;
    let before = log.len();
    sleep(Duration::from_secs(60)).await;
    let possible: f64 = times.iter().map(|time| 60_000.0 / *time as f64).sum();
    Ok((log.len() - before) as f64 / possible)
}

#[tokio::test(start_paused = true)]
async fn uneven_tasks_reach_nine_tenths_of_what_they_can_do_together() -> TestResult {
    for times in [[1, 1, 1, 10], [20, 20, 20, 200], [100, 2, 30, 7], [50; 4]] {
        for acked in [false, true] {
            for cluster in clusters() {
                let share = share_of_possible(cluster, times, acked).await?;
                assert!((0.9..=1.01).contains(&share), "{share} with {times:?}, acked: {acked}");
            }
        }
    }
    Ok(())
}

/// At the end of the input, no task is left with a long queue of its own.
#[tokio::test(start_paused = true)]
async fn the_last_tuples_do_not_wait_behind_a_slow_task() -> TestResult {
    let (log, began) = (Log::default(), Instant::now());
    let mut builder = four_tasks(|| Numbers::new(10_000), [1, 1, 1, 10], &log);
    builder.config("topology.acker.executors", 0);
    LocalCluster::new().complete(builder.build()?).await?;
    let possible = Duration::from_secs_f64(10.0 / 3.1);
    assert!(began.elapsed() < possible + Duration::from_millis(300), "{:?} of {possible:?}", began.elapsed());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_task_that_takes_long_to_start_holds_nothing_up() -> TestResult {
    struct StartsLate(Uneven);
    impl Bolt for StartsLate {
        async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
            if context.task_index() == 2 {
                context.sleep(Duration::from_secs(10)).await;
            }
            Ok(())
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
            self.0.execute(tuple, out).await
        }
    }
    let log = Log::default();
    let mut builder = TopologyBuilder::new("late");
    let _ = builder.spout("numbers", Numbers::endless);
    let noting = log.clone();
    let make = move || StartsLate(Uneven { log: noting.clone(), times: [Duration::from_millis(10); 4] });
    let _ = builder.bolt("starts-late", make).parallelism(4).shuffle("numbers");
    let _run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_secs(10)).await;
    assert!(log.len() >= 2_700, "three of four: {}", log.len());
    let before = log.len();
    sleep(Duration::from_secs(10)).await;
    assert!(log.len() - before >= 3_600, "all four: {}", log.len() - before);
    Ok(())
}

/// Tuples of one task to another on a stream keep their order, however they are shared out.
#[tokio::test(start_paused = true)]
async fn each_task_gets_its_tuples_in_order() -> TestResult {
    for cluster in clusters() {
        let log = Log::default();
        cluster.complete(four_tasks(|| Numbers::new(3_000), [0, 1, 3, 10], &log).build()?).await?;
        let mut latest = BTreeMap::new();
        for (task, row) in log.by_task() {
            let n = row[0].as_i64();
            assert!(latest.insert(task, n) < Some(n), "task {task} got {n:?} too late");
        }
    }
    Ok(())
}

/// Takes a millisecond, and counts by the task that emitted the tuple.
struct Counting(Arc<Mutex<BTreeMap<TaskId, u64>>>);

impl Bolt for Counting {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        out.context().sleep(Duration::from_millis(1)).await;
        *self.0.lock().unwrap().entry(tuple.source_task()).or_default() += 1;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn spout_tasks_of_one_executor_have_equal_shares_of_slow_tasks() -> TestResult {
    const TASKS: u32 = 10;
    for ackers in [0, 1] {
        let counts = Arc::<Mutex<BTreeMap<TaskId, u64>>>::default();
        let mut builder = TopologyBuilder::new("fair");
        builder.config("topology.acker.executors", ackers);
        let _ = builder.spout("numbers", Numbers::endless).parallelism(1).tasks(TASKS);
        let counting = counts.clone();
        let _ = builder.bolt("slow", move || Counting(counting.clone())).parallelism(3).shuffle("numbers");
        let run = LocalCluster::new().start(builder.build()?).await?;
        run.wait_until(|summary| summary.components[1].executed >= 10_000).await;
        let counts: Vec<u64> = counts.lock().unwrap().values().copied().collect();
        assert_eq!(counts.len(), TASKS as usize, "{counts:?}");
        // The first to emit has a call more than others.
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 500 && *most < 2_500, "{counts:?}");
    }
    Ok(())
}
