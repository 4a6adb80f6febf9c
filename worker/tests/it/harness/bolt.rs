//! `BoltHarness`.

use std::time::Duration;

use galerna_topology_api::engine::BoltCell;
use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::task::JoinSet;

/// Decides about each number a second later, in a task of its own.
#[derive(Default)]
struct Later(JoinSet<()>);

impl ManualBolt for Later {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        context.report_error(format!("task {} of {}", context.task_index(), context.task_count()));
        Ok(())
    }
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let (n, held) = (tuple.i64("n")?, out.keep(tuple));
        let (context, output) = (out.context().clone(), out.context().output_handle());
        self.0.spawn(async move {
            context.sleep(Duration::from_secs(1)).await;
            let _ = match n {
                0 => output.emit_and_ack(held, [values![10].to_vec(), values![20].to_vec()]).await,
                1 => output.fail(held, "one is not liked").await,
                2 => output.emit_and_ack(held, [values![1, 2].to_vec()]).await,
                _ => {
                    drop(held);
                    output.emit_unanchored(values![30].to_vec()).await
                }
            };
        });
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_work_emits_acks_and_fails_while_the_test_waits() -> TestResult {
    let mut harness = BoltHarness::manual(["n"], Later::default).await?;
    for n in 0..4 {
        assert!(harness.execute(values![n]).await.is_kept);
    }
    assert_eq!((harness.acked(), harness.failed()), (0, 0));
    let mut executed = harness.settled(4).await;
    executed.settled.sort_unstable();
    assert_eq!(executed.settled, [(0, true), (1, false), (2, false), (3, false)]);
    assert_eq!((harness.acked(), harness.failed()), (1, 3));
    assert_eq!(harness.context().elapsed(), Duration::from_secs(1));
    harness.flush().await.into_result()?;
    assert_eq!(harness.take_rows(), [values![10], values![20], values![30]]);
    assert!(harness.take_rows().is_empty());
    let reported = harness.reported();
    assert_eq!(reported[..2], ["task 0 of 1", "one is not liked"]);
    assert!(reported[2].contains("2 values"), "{reported:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_options_name_the_task() -> TestResult {
    let factory = BoltCell::factory(|| Ok(Later::default()));
    let harness = BoltHarness::of(&factory, ["n"], TaskOptions::task(2, 5)).await?;
    assert_eq!(harness.reported(), ["task 2 of 5"]);
    let harness = BoltHarness::of(&factory, ["n"], TopologyConfig::new()).await?;
    assert_eq!(harness.reported(), ["task 0 of 1"]);
    Ok(())
}

/// Keeps each tuple; fails for numbers below 0 and acks all others at a flush.
#[derive(Default)]
struct Keeps(Vec<HeldTuple>);

impl ManualBolt for Keeps {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let held = out.keep(tuple);
        if tuple.i64("n")? < 0 {
            return Err("below zero".into());
        }
        self.0.push(held);
        Ok(())
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.0.drain(..).for_each(|held| out.ack(held));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_fails_its_tuple_kept_or_not() -> TestResult {
    let mut harness = BoltHarness::manual(["n"], Keeps::default).await?;
    let failed = harness.execute(values![-1]).await;
    assert!(!failed.is_kept && !failed.is_acked && failed.settled.is_empty());
    assert_eq!(failed.into_result().err().unwrap().to_string(), "below zero");
    assert!(harness.execute(values![1]).await.is_kept);
    assert_eq!((harness.acked(), harness.failed()), (0, 1));
    assert_eq!(harness.flush().await.settled, [(1, true)]);
    assert_eq!((harness.acked(), harness.failed()), (1, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_bolt_that_takes_one_tuple_at_a_time_gets_all_in_turn() -> TestResult {
    let mut harness = BoltHarness::manual(["n"], Keeps::default).await?;
    let executed = harness.execute_all([values![1], values![-1], values![2]]).await;
    let facts: Vec<_> = executed.iter().map(|one| (one.is_kept, one.error.is_some())).collect();
    assert_eq!(facts, [(true, false), (false, true), (true, false)]);
    assert_eq!(harness.flush().await.settled, [(0, true), (2, true)]);
    assert_eq!((harness.acked(), harness.failed()), (2, 1));
    Ok(())
}

/// Emits each number, waits for room, emits each again, keeps all but the first, and fails.
struct FailsBatches;

impl BatchBolt for FailsBatches {
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn execute_batch(&mut self, batch: &TupleBatch<'_>, out: &mut BatchEmitter<'_>) -> BoltResult {
        for (number, tuple) in batch.iter().enumerate() {
            out.of(number).emit(values![tuple.i64("n")?]);
        }
        out.room().await;
        let mut held = Vec::new();
        for (number, tuple) in batch.iter().enumerate() {
            out.of(number).emit(values![-tuple.i64("n")?]);
            if number > 0 {
                held.push(out.keep(number));
            }
        }
        held.into_iter().for_each(|held| out.ack_held(held));
        out.fail(1, "one is not liked");
        Err(Error::fatal("the table is gone"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_fails_each_tuple_of_its_batch_once() -> TestResult {
    let mut harness = BoltHarness::batch(["n"], || FailsBatches).await?;
    let executed = harness.execute_all([values![5], values![6], values![7]]).await;
    let errors: Vec<_> = executed.iter().map(|one| one.error.as_ref().unwrap().to_string()).collect();
    assert_eq!(errors, ["the table is gone", "one is not liked", "the table is gone"]);
    assert!(executed[0].error.as_ref().unwrap().is_fatal());
    for (one, n) in executed.iter().zip(5..) {
        assert_eq!(one.emitted, [("default".into(), values![n].to_vec())], "handed over before the call failed");
        assert!(!one.is_acked && !one.is_kept && one.settled.is_empty(), "{one:?}");
    }
    assert_eq!((harness.acked(), harness.failed()), (0, 3));
    Ok(())
}
