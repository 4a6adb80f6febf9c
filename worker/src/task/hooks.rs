//! A task's hooks, called so that a panic in one harms nothing but is listed.

use std::sync::Arc;
use std::time::Duration;

use galerna_topology_api::{ExecuteInfo, TaskHook};

use crate::panics::{Panic, guarded};
use crate::run::RunShared;

#[derive(Clone, Default)]
pub(crate) struct Hooks {
    component: smol_str::SmolStr,
    hooks: Vec<Arc<dyn TaskHook>>,
}

impl Hooks {
    pub(crate) fn new(component: smol_str::SmolStr, hooks: Vec<Arc<dyn TaskHook>>) -> Self {
        Self { component, hooks }
    }

    pub(crate) fn all(&self) -> &[Arc<dyn TaskHook>] {
        &self.hooks
    }

    fn each(&self, task: u32, run: &RunShared, call: impl Fn(&dyn TaskHook)) {
        for hook in &self.hooks {
            if let Err(Panic(message)) = guarded(|| call(hook.as_ref())) {
                run.list_error(&self.component, task, &format!("a task hook {message}"));
            }
        }
    }

    pub(crate) fn execute(&self, info: &ExecuteInfo<'_>, run: &RunShared) {
        self.each(info.task, run, |hook| hook.execute(info));
    }

    pub(crate) fn ack(&self, task: u32, complete_latency: Option<Duration>, run: &RunShared) {
        self.each(task, run, |hook| hook.ack(task, complete_latency));
    }

    pub(crate) fn fail(&self, task: u32, run: &RunShared) {
        self.each(task, run, |hook| hook.fail(task));
    }
}
