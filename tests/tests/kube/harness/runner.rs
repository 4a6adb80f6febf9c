//! Runs tests one after the other, and takes everything away at the end.

use std::pin::Pin;
use std::process::{ExitCode, exit};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use galerna_tests::bound::secs;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::report::say;
use super::undo::Undo;
use super::world::World;

/// A test, and what it takes to run it.
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) needs: Needs,
    /// Whether it runs only when all are asked for.
    pub(crate) is_long: bool,
    pub(crate) run: for<'w> fn(&'w World) -> Story<'w>,
}

/// What happens in a test.
pub(crate) type Story<'w> = Pin<Box<dyn Future<Output = Result<()>> + 'w>>;

/// What a test asks of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any Kubernetes.
    Kubernetes,
    /// One of `kube-up`: its volumes are seen from here, its nodes may be drained and switched off.
    Tools,
}

/// No test takes longer, the build of images included.
const LONGEST: Duration = secs(3600);

/// Runs the tests that were asked for.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => {
            say(&format!("no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let world = Arc::new(World::new());
    let mut interrupted = JoinSet::new();
    interrupted.spawn_on(ends_when_interrupted(world.undo().clone()), runtime.handle());
    let trials = tests.into_iter().map(|test| {
        let (world, runtime) = (Arc::clone(&world), Arc::clone(&runtime));
        Trial::ignorable_test(test.name, move || perform(&test, &world, &runtime))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    runtime.block_on(world.undo().everything());
    conclusion.exit_code()
}

fn perform(test: &Test, world: &World, runtime: &Runtime) -> Result<Completion, Failed> {
    if let Some(reason) = world.why_not(test) {
        return Ok(Completion::ignored_with(reason));
    }
    let begun = Instant::now();
    let outcome = runtime.block_on(async {
        let outcome = timeout(LONGEST, (test.run)(world)).await.context("it takes too long").flatten();
        let took = begun.elapsed();
        let tidied = world.tidy(outcome.is_err()).await;
        say(&format!("took {took:.1?} … "));
        outcome.and(tidied)
    });
    outcome.map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
}

/// At Ctrl-C and when told to end: takes everything away, and ends.
async fn ends_when_interrupted(undo: Undo) {
    let (Ok(mut terminated), Ok(mut interrupted)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        biased;
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    say("interrupted: everything is taken away\n");
    undo.everything().await;
    exit(130);
}
