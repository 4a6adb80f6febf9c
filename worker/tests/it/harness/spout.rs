//! `SpoutHarness`.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use galerna_topology_api::engine::SpoutCell;
use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::{advance, timeout};

use crate::support::Numbers;

/// What a call of `next` does.
#[derive(Clone, Copy)]
enum Step {
    /// Emits `n` with this id.
    Emit(u64, i64),
    /// Emits on the stream `side`, without an id.
    Side(i64),
    /// Emits on a direct stream, to this task.
    Direct(u64, TaskId),
    /// Waits for room.
    Room,
    /// Waits for ever.
    Hang,
    /// Emits a row with a value too many.
    Misfit,
    Fail,
}

/// Plays steps, one list a call; tells by errors what is acked and failed.
struct Script(VecDeque<Vec<Step>>);

impl Script {
    fn of<const CALLS: usize>(calls: [&[Step]; CALLS]) -> Self {
        Self(calls.into_iter().map(<[_]>::to_vec).collect())
    }
}

impl Spout for Script {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::none().stream("side", ["n"]).direct_stream("direct", ["n"]).stream("default", ["n"])
    }
    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        context.gauge("task").set(context.task_index().into());
        context.gauge("tasks").set(context.task_count().into());
        Ok(())
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        let Some(steps) = self.0.pop_front() else { return Ok(Next::Exhausted) };
        for step in steps {
            match step {
                Step::Emit(id, n) => out.emit(id, values![n]),
                Step::Side(n) => out.emit_untracked_to("side", values![n]),
                Step::Direct(id, task) => out.emit_direct(id, task, "direct", values![0]),
                Step::Room => out.room().await,
                Step::Hang => pending().await,
                Step::Misfit => out.emit(0, values![1, 2]),
                Step::Fail => return Err("the call fails".into()),
            }
        }
        Ok(Next::Emitted)
    }
    async fn ack(&mut self, id: u64, _: &TopologyContext) -> Result<()> {
        Err(format!("acked {id}").into())
    }
    async fn fail(&mut self, id: u64, _: &Failure, _: &TopologyContext) -> Result<()> {
        Err(format!("failed {id}").into())
    }
}

fn row(stream: &str, n: i64, number: impl Into<Option<usize>>) -> EmittedRow {
    EmittedRow { stream: stream.to_owned(), values: values![n].to_vec(), direct: None, number: number.into() }
}

#[tokio::test(start_paused = true)]
async fn rows_come_with_their_streams_and_reliable_ones_with_a_number() -> TestResult {
    let calls = || Script::of([&[Step::Emit(70, 1), Step::Side(2)], &[Step::Direct(71, 5), Step::Emit(72, 3)]]);
    let mut harness = SpoutHarness::new(calls).await?;
    let asked = harness.next().await?;
    assert_eq!(asked, Asked { next: Next::Emitted, emitted: vec![row("default", 1, 0), row("side", 2, None)] });
    let direct = EmittedRow { direct: Some(5), ..row("direct", 0, 1) };
    assert_eq!(harness.next().await?.emitted, [direct, row("default", 3, 2)]);
    assert_eq!(harness.next().await?.outcome(), (Next::Exhausted, 0));
    assert_eq!(harness.rows(), [values![1], values![2], values![0], values![3]]);
    harness.fail(2).await;
    harness.ack(0).await;
    assert_eq!(harness.reported(), ["failed 72", "acked 70"]);
    assert_eq!(harness.open(), [1]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn rows_that_await_room_arrive_and_stand_though_the_call_fails() -> TestResult {
    let calls = || {
        Script::of([
            &[Step::Emit(1, 1), Step::Room, Step::Emit(2, 2), Step::Room],
            &[Step::Emit(3, 3), Step::Room, Step::Emit(4, 4), Step::Fail],
            &[Step::Emit(5, 5), Step::Misfit],
            &[Step::Emit(6, 6)],
        ])
    };
    let mut harness = SpoutHarness::new(calls).await?;
    assert_eq!(harness.next().await?.outcome(), (Next::Emitted, 2));
    assert_eq!(harness.next().await.err().unwrap().to_string(), "the call fails");
    let misfit = harness.next().await.err().unwrap().to_string();
    assert!(misfit.contains("2 values"), "{misfit}");
    harness.exhaust().await?;
    assert_eq!(harness.rows(), [values![1], values![2], values![3], values![6]]);
    harness.ack(2).await;
    harness.ack(3).await;
    assert_eq!(harness.reported(), ["acked 3", "acked 6"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_test_drops_is_withdrawn_but_for_what_it_handed_over() -> TestResult {
    let calls = || Script::of([&[Step::Emit(1, 1), Step::Room, Step::Emit(2, 2), Step::Hang], &[Step::Emit(3, 3)]]);
    let mut harness = SpoutHarness::new(calls).await?;
    assert!(timeout(Duration::from_secs(1), harness.next()).await.is_err());
    assert_eq!(harness.next().await?.emitted, [row("default", 3, 1)]);
    harness.ack(0).await;
    harness.ack(1).await;
    assert_eq!(harness.reported(), ["acked 1", "acked 3"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_options_name_the_task_and_set_the_config() -> TestResult {
    let factory = SpoutCell::factory(|| Ok(Script::of([&[Step::Emit(1, 1)], &[Step::Emit(2, 2), Step::Emit(3, 3)]])));
    let options = TaskOptions::task(1, 3).config("topology.acker.executors", 0).config("topology.emit.limit", 1);
    let mut harness = SpoutHarness::of(&factory, options).await?;
    let gauge = |name| harness.context().gauge(name).value();
    assert_eq!((gauge("task"), gauge("tasks")), (1.0, 3.0));
    assert_eq!(harness.next().await?.emitted, [row("default", 1, None)]);
    assert_eq!(harness.reported(), ["acked 1"]);
    assert!(harness.next().await.err().unwrap().to_string().contains("more than 1 tuples"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn retries_are_counted_and_what_is_given_up_is_listed() -> TestResult {
    let mut harness = SpoutHarness::new(|| Numbers::new(2).retries(1)).await?;
    harness.exhaust().await?;
    harness.fail(1).await;
    assert_eq!(harness.next().await?.next, Next::Idle);
    advance(Duration::from_secs(3600)).await;
    harness.run_until(3).await?;
    assert_eq!((harness.rows()[2], harness.replayed()), (values![1].as_slice(), 1));
    harness.fail(2).await;
    assert_eq!(harness.given_up(), [values![1].to_vec()]);
    let error = harness.run_until(4).await.err().unwrap();
    assert_eq!(error.to_string(), "the input ended after 3 of 4 rows");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn complete_acks_all_that_is_open() -> TestResult {
    let rows = SpoutHarness::new(|| Numbers::new(3)).await?.complete().await?;
    assert_eq!(rows, [values![0], values![1], values![2]]);
    Ok(())
}

#[tokio::test]
#[should_panic(expected = "tuple 0 is not open; open are {1}")]
async fn a_tuple_is_settled_once() {
    let mut harness = SpoutHarness::new(|| Numbers::new(2)).await.unwrap();
    harness.exhaust().await.unwrap();
    harness.ack(0).await;
    harness.fail(0).await;
}

/// Fails in every method of its life, but for `next`, which emits nothing and wants to be called again.
struct Failing(bool);

impl Spout for Failing {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::none()
    }
    async fn open(&mut self, _: &TopologyContext) -> Result<()> {
        if self.0 { Err("open".into()) } else { Ok(()) }
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        out.context().counter("calls").add(1);
        Ok(Next::Emitted)
    }
    async fn activate(&mut self, _: &TopologyContext) -> Result<()> {
        Err("activate".into())
    }
    async fn deactivate(&mut self, _: &TopologyContext) -> Result<()> {
        Err("deactivate".into())
    }
    async fn close(&mut self, _: &TopologyContext) -> Result<()> {
        Err("close".into())
    }
}

#[tokio::test]
async fn errors_of_a_spouts_life_come_out() -> TestResult {
    assert_eq!(SpoutHarness::new(|| Failing(true)).await.err().unwrap().to_string(), "open");
    let mut harness = SpoutHarness::new(|| Failing(false)).await?;
    assert_eq!(harness.deactivate().await.err().unwrap().to_string(), "deactivate");
    assert_eq!(harness.activate().await.err().unwrap().to_string(), "activate");
    assert_eq!(harness.next().await?.outcome(), (Next::Emitted, 0));
    assert_eq!(harness.context().counter("calls").value(), 1);
    assert_eq!(harness.close().await.err().unwrap().to_string(), "close");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn position_that_a_spout_reports_is_seen() -> Result<()> {
    struct Reads;
    impl Spout for Reads {
        type MessageId = u64;
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
            out.context().report_source("page 3", Some(7));
            Ok(Next::Exhausted)
        }
    }
    let mut spout = SpoutHarness::new(|| Reads).await?;
    assert_eq!(spout.source(), None);
    spout.next().await?;
    assert_eq!(spout.source(), Some(("page 3".to_owned(), Some(7))));
    Ok(())
}
