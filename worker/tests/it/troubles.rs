//! What becomes of a run when user code fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::testing::*;
use tokio::time::sleep;

use crate::support::{Each, Log, Noting, Numbers, TIMEOUT, numbers, sink};

/// Keeps everything, and panics at the number that the test names, once.
struct Hoarder {
    kept: Vec<HeldTuple>,
    panics: Arc<AtomicU64>,
}

impl ManualBolt for Hoarder {
    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        if tuple.i64("n")? == 50 && self.panics.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("cannot bear fifty");
        }
        self.kept.push(out.keep(tuple));
        Ok(())
    }
    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        self.kept.drain(..).for_each(|tuple| out.ack(tuple));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn panic_restarts_one_task_and_fails_what_it_held() -> TestResult {
    let panics = Arc::new(AtomicU64::new(0));
    let log = Log::default();
    let mut builder = TopologyBuilder::new("panic");
    let _ = builder.spout("numbers", || Numbers::new(100));
    let count = panics.clone();
    let hoarder = move || Hoarder { kept: Vec::new(), panics: count.clone() };
    let _ = builder.manual_bolt("hoarder", hoarder).shuffle("numbers");
    let noting = log.clone();
    let _ = builder.bolt("other", move || Noting::new(&noting, ["n"])).shuffle("numbers");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    // The 50 that it held and the one in hand failed, and were replayed to both bolts.
    assert_eq!((run.spout("numbers").failed(), run.spout("numbers").acked()), (51, 100));
    assert_eq!((run.component("hoarder").restarts, run.component("other").restarts), (1, 0));
    assert_eq!(run.component("other").executed, 151);
    let error = &run.summary().errors[0];
    assert_eq!(error.component, "hoarder");
    assert!(error.message.contains("cannot bear fifty") && error.message.contains("troubles.rs"), "{error:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn panic_withdraws_the_emits_of_its_call_and_keeps_those_before() -> TestResult {
    let log = Log::default();
    let panics = Arc::new(AtomicU64::new(0));
    let mut builder = TopologyBuilder::new("withdrawn");
    let _ = builder.spout("numbers", || Numbers::new(1000));
    let call = move |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
        out.emit(tuple.values());
        let n = tuple.i64("n")?;
        assert!(n % 100 != 3 || panics.fetch_add(1, Ordering::Relaxed) >= 10, "at {n}");
        Ok(())
    };
    let _ = builder
        .bolt("shaky", move || Each { call: call.clone(), output: Streams::default_fields(["n"]) })
        .shuffle("numbers");
    let noting = log.clone();
    let _ = builder.bolt("sink", move || Noting::new(&noting, ["n"])).shuffle("shaky");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.component("shaky").restarts, 10);
    assert_eq!((run.spout("numbers").acked(), run.spout("numbers").failed()), (1000, 10));
    assert_same_tuples(log.rows(), (0..1000).map(|n| values![n]));
    Ok(())
}

/// Emits ten, then panics; its successor emits what it is told to.
struct Shaky {
    instance: u64,
    next: u64,
    failed: Vec<u64>,
    told: Arc<std::sync::Mutex<Vec<(u64, u64)>>>,
}

impl Spout for Shaky {
    type MessageId = u64;
    fn output(&self) -> Streams {
        Streams::default_fields(["n"])
    }
    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        if self.instance > 1 {
            let Some(id) = self.failed.pop() else { return Ok(Next::Exhausted) };
            out.emit_untracked(values![id as i64]);
            return Ok(Next::Emitted);
        }
        assert!(self.next < 10, "ten are enough");
        out.emit(self.next, values![self.next as i64]);
        self.next += 1;
        Ok(Next::Emitted)
    }
    async fn fail(&mut self, id: u64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.told.lock().unwrap().push((self.instance, id));
        self.failed.push(id);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebuilt_spout_gets_fail_for_each_id_its_predecessor_left_open() -> TestResult {
    let instances = Arc::new(AtomicU64::new(0));
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut builder = TopologyBuilder::new("rebuilt");
    let heard = told.clone();
    let _ = builder.spout("shaky", move || Shaky {
        // The first instance only shows its streams to the validation.
        instance: instances.fetch_add(1, Ordering::Relaxed),
        next: 0,
        failed: Vec::new(),
        told: heard.clone(),
    });
    let _ = builder.bolt("slow", || crate::support::Slow(Duration::from_secs(2))).shuffle("shaky");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.component("shaky").restarts, 1);
    let mut told = told.lock().unwrap().clone();
    told.sort_unstable();
    assert_eq!(told, (0..10).map(|id| (2, id)).collect::<Vec<_>>());
    assert_eq!(run.component("slow").executed, 20);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn open_that_fails_ends_the_run_after_three_tries_with_that_one_message() -> TestResult {
    struct NoFile(Arc<AtomicU64>);
    impl Spout for NoFile {
        type MessageId = ();
        fn output(&self) -> Streams {
            Streams::default_fields(["n"])
        }
        async fn open(&mut self, _: &TopologyContext) -> Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err("no such file: x.txt".into())
        }
        async fn next(&mut self, _: &mut SpoutEmitter<'_, ()>) -> Result<Next> {
            Ok(Next::Exhausted)
        }
    }
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let mut builder = TopologyBuilder::new("closed");
    let _ = builder.spout("file", move || NoFile(counted.clone()));
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).shuffle("file");
    let error = LocalCluster::new().complete(builder.build()?).await.expect_err("the run fails");
    let RunFailed::Failed(summary) = error else { panic!("{error}") };
    assert_eq!(tries.load(Ordering::Relaxed), 3);
    let failure = summary.failure.expect("a reason");
    assert_eq!(failure.code, "start_failed");
    assert_eq!(failure.message, "`file` (task 1) cannot start: no such file: x.txt");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_fatal_error_ends_the_run_after_three_tries() -> TestResult {
    let mut builder = TopologyBuilder::new("fatal");
    let _ = builder.spout("numbers", || Numbers::new(10));
    let _ = builder.bolt("disk", sink(|_, _| Err(Error::fatal("the disk is full")))).shuffle("numbers");
    let error = LocalCluster::new().complete(builder.build()?).await.expect_err("the run fails");
    let RunFailed::Failed(summary) = error else { panic!("{error}") };
    let failure = summary.failure.expect("a reason");
    assert_eq!(failure.message, "`disk` (task 2) cannot go on: the disk is full");
    assert_eq!(summary.components[1].restarts, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_poison_tuple_is_given_up_listed_and_fails_the_bounded_run() -> TestResult {
    let log = Log::default();
    let noting = log.clone();
    let mut builder = TopologyBuilder::new("poison");
    let _ = builder.spout("numbers", || Numbers::new(100).retries(3));
    let poison = move |tuple: &Tuple<'_>, _: &mut Emitter<'_>| {
        if tuple.i64("n")? == 13 {
            return Err("unlucky".into());
        }
        noting.note(0, tuple.values());
        Ok(())
    };
    let _ = builder.bolt("sink", sink(poison)).shuffle("numbers");
    let error = LocalCluster::new().complete(builder.build()?).await.expect_err("the run fails");
    let RunFailed::Failed(summary) = error else { panic!("{error}") };
    assert_eq!(summary.failure.as_ref().expect("a reason").code, "gave_up");
    let spout = &summary.components[0];
    assert_eq!((spout.gave_up, spout.replayed, spout.acked, spout.failed), (1, 3, 99, 4));
    let errors: Vec<_> = summary.errors.iter().map(|error| (&*error.component, &*error.message, error.count)).collect();
    let given_up = ("numbers", "gave up a tuple after 4 tries: `sink`: unlucky; values: [13]", 1);
    assert_eq!(errors, [("sink", "unlucky", 4), given_up]);
    let mut seen = numbers(&log.rows());
    seen.sort_unstable();
    assert_eq!(seen, (0..100).filter(|n| *n != 13).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_that_does_not_come_back_is_reported_by_component_and_task() -> TestResult {
    struct Hanging;
    impl Bolt for Hanging {
        async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            std::future::pending().await
        }
    }
    let mut builder = TopologyBuilder::new("hanging");
    let _ = builder.spout("numbers", || Numbers::new(10));
    let _ = builder.bolt("hanging", || Hanging).shuffle("numbers");
    let run = LocalCluster::new().start(builder.build()?).await?;
    sleep(Duration::from_millis(4_900)).await;
    assert!(run.snapshot().errors.is_empty());
    sleep(Duration::from_secs(3)).await;
    let errors = run.snapshot().errors;
    assert_eq!((errors.len(), errors[0].component.as_str(), errors[0].task), (1, "hanging", 2));
    assert!(errors[0].message.contains("still running after 5 s"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_custom_grouping_that_names_a_stranger_is_reported() -> TestResult {
    struct Stranger;
    impl CustomGrouping for Stranger {
        fn choose(&mut self, _: &[Value], chosen: &mut Vec<TaskId>) {
            chosen.push(77);
        }
    }
    let mut builder = TopologyBuilder::new("stranger");
    let _ = builder.spout("numbers", || Numbers::new(1));
    let pass = || Each {
        call: |tuple: &Tuple<'_>, out: &mut Emitter<'_>| {
            out.emit(tuple.values());
            Ok(())
        },
        output: Streams::default_fields(["n"]),
    };
    let _ = builder.bolt("pass", pass).shuffle("numbers");
    let grouping = CustomGroupingFactory::new("stranger", |_: &GroupingContext| Stranger);
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).custom("pass", grouping);
    let error = LocalCluster::new().complete(builder.build()?).await.expect_err("the tuple is given up");
    let RunFailed::Failed(summary) = error else { panic!("{error}") };
    assert!(summary.errors[0].message.contains("task 77 does not receive"), "{:?}", summary.errors);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_value_too_deep_to_serialize_fails_alone() -> TestResult {
    let deep = (0..70).fold(Value::from(1), |value, _| Value::list([value]));
    let feeder = Feeder::new(["n"]);
    feeder.feed(values![1]);
    feeder.feed(values![deep]);
    feeder.feed(values![3]);
    feeder.finish();
    let mut builder = TopologyBuilder::new("deep");
    builder.config(TIMEOUT, 5);
    let _ = builder.add_spout("feeder", feeder.factory());
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).shuffle("feeder");
    LocalCluster::new().serialize_all().complete(builder.build()?).await?;
    assert_eq!((feeder.acked(), feeder.failed()), (vec![0, 2], vec![1]));
    Ok(())
}
