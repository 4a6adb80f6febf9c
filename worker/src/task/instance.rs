//! The life of a user's instance around its work: it is made, started in a few tries, made anew after
//! a panic, and dropped.

use galerna_topology_api::engine::{BoxFuture, ErasedBolt, ErasedSpout};
use galerna_topology_api::{Result, TopologyContext};
use tokio::time::sleep;

use super::restarts::{TRIES, wait_before_try};
use super::{Core, Fatal};
use crate::panics::{Panic, caught, guarded};
use crate::run::RunEvent;

/// What spouts and bolts have in common here.
pub(super) trait Instance {
    /// Makes a new instance in place of this one.
    fn rebuild(&mut self) -> Result<()>;
    /// Calls `open` or `prepare`.
    fn start<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>>;
}

impl Instance for Box<dyn ErasedBolt> {
    fn rebuild(&mut self) -> Result<()> {
        self.as_mut().rebuild()
    }
    fn start<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>> {
        self.prepare(context)
    }
}

impl Instance for Box<dyn ErasedSpout> {
    fn rebuild(&mut self) -> Result<()> {
        self.as_mut().rebuild()
    }
    fn start<'a>(&'a mut self, context: &'a TopologyContext) -> BoxFuture<'a, Result<()>> {
        self.open(context)
    }
}

impl Core {
    /// Makes an instance and starts it.
    pub(super) async fn launch<I: Instance>(&mut self, make: impl FnOnce() -> Result<I>) -> Result<I, Fatal> {
        let made = guarded(|| make().map_err(|error| error.to_string())).unwrap_or_else(|Panic(message)| Err(message));
        match made {
            Ok(mut instance) => {
                self.start(&mut instance, false).await?;
                Ok(instance)
            }
            Err(message) => Err(self.fail_run("start_failed", &format!("cannot be made: {message}"))),
        }
    }

    /// Calls `open` or `prepare`, on a new instance each time but perhaps the first, until it
    /// succeeds.
    pub(super) async fn start(&mut self, instance: &mut impl Instance, is_restart: bool) -> Result<(), Fatal> {
        for number in 1.. {
            self.context.clear_task_hooks();
            self.stats.activity.begin(self.run.clock.now());
            let outcome = caught(async {
                if is_restart || number > 1 {
                    instance.rebuild()?;
                }
                instance.start(&self.context).await
            });
            let outcome = match outcome.await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(Panic(message)) => Err(message),
            };
            self.stats.activity.end(self.run.clock);
            let Err(message) = outcome else { break };
            if number == TRIES {
                let code = if is_restart { "fatal" } else { "start_failed" };
                return Err(self.fail_run(code, &format!("cannot start: {message}")));
            }
            sleep(wait_before_try(number + 1)).await;
        }
        self.adopt_hooks();
        Ok(())
    }

    /// Drops an instance that has come to its end. Returns what to tell the run once the task is dropped as well.
    pub(super) fn retire<I>(&self, instance: I) -> impl FnOnce() + use<I> {
        if let Err(Panic(message)) = guarded(|| drop(instance)) {
            self.report(&format!("drop: {message}"));
        }
        let (run, ended) = (self.run.clone(), RunEvent::Ended(self.task, self.launch));
        move || run.tell(ended)
    }
}
