//! Hooks of tasks and of workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_topology_api::*;
use galerna_worker::RunStatus;
use galerna_worker::testing::*;

use crate::support::{Numbers, fed, sink};

#[tokio::test(start_paused = true)]
async fn a_task_hook_that_panics_is_listed_and_the_run_goes_on() -> TestResult {
    struct Panicking;
    impl TaskHook for Panicking {
        fn ack(&self, _: TaskId, _: Option<Duration>) {
            panic!("no ack suits me")
        }
    }
    struct Hooked(Numbers);
    impl Spout for Hooked {
        type MessageId = i64;
        fn output(&self) -> Streams {
            self.0.output()
        }
        async fn open(&mut self, context: &TopologyContext) -> Result<()> {
            context.add_task_hook(Arc::new(Panicking));
            Ok(())
        }
        async fn next(&mut self, out: &mut SpoutEmitter<'_, i64>) -> Result<Next> {
            self.0.next(out).await
        }
    }
    let mut builder = TopologyBuilder::new("hook");
    let _ = builder.spout("hooked", || Hooked(Numbers::new(3)));
    let _ = builder.bolt("sink", sink(|_, _| Ok(()))).shuffle("hooked");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!((run.summary().status, run.spout("hooked").acked()), (RunStatus::Finished, 3));
    let errors = &run.summary().errors;
    assert_eq!((errors.len(), errors[0].component.as_str(), errors[0].count), (1, "hooked", 3));
    assert!(errors[0].message.starts_with("a task hook panicked"), "{errors:?}");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_worker_hook_that_panics_in_shutdown_leaves_the_run_finished() -> TestResult {
    struct Panicking;
    impl WorkerHook for Panicking {
        fn shutdown(&self) {
            panic!("shutdown")
        }
    }
    let mut builder = TopologyBuilder::new("shutdown");
    builder.worker_hook(Panicking);
    let _ = builder.spout("numbers", || Numbers::new(3));
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.summary().status, RunStatus::Finished);
    Ok(())
}

/// Each instance of the bolt adds the hook; those of its predecessors are gone.
#[tokio::test(start_paused = true)]
async fn a_bolt_restarted_three_times_has_one_hook() -> TestResult {
    struct Counting(Arc<AtomicU64>);
    impl TaskHook for Counting {
        fn execute(&self, _: &ExecuteInfo<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    struct Hooked(Arc<AtomicU64>);
    impl Bolt for Hooked {
        async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
            context.add_task_hook(Arc::new(Counting(self.0.clone())));
            Ok(())
        }
        async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
            assert_ne!(tuple.i64("n")?, 0);
            Ok(())
        }
    }
    let (calls, feeder) = (Arc::new(AtomicU64::new(0)), fed([0, 0, 0, 1]));
    let mut builder = TopologyBuilder::new("restarts");
    let _ = builder.add_spout("feeder", feeder.factory());
    let counted = calls.clone();
    let _ = builder.bolt("hooked", move || Hooked(counted.clone())).shuffle("feeder");
    let run = LocalCluster::new().complete(builder.build()?).await?;
    assert_eq!(run.component("hooked").restarts, 3);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "one tuple was executed to its end");
    Ok(())
}
