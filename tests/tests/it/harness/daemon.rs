//! A daemon's process.

use std::fs::{File, OpenOptions, read_to_string};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::processes::{self, MARK};
use galerna_tests::bound::within;

/// How a daemon is started.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// Where what it prints is appended.
    pub(crate) log: PathBuf,
    /// The mark of the cluster.
    pub(crate) mark: String,
    /// The network namespace that it runs in, if not that of the tests.
    pub(crate) namespace: Option<String>,
}

/// A daemon that runs, or ran. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    recipe: Recipe,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    pub(crate) fn start(recipe: Recipe) -> Result<Self> {
        let daemon = Self { recipe, child: Mutex::default() };
        daemon.restart()?;
        Ok(daemon)
    }

    /// Starts it again, as the first time, once it has ended.
    pub(crate) fn restart(&self) -> Result<()> {
        self.launch(&self.recipe.arguments)
    }

    /// Starts it again, once it has ended, with other values of some of its options.
    pub(crate) fn restart_with(&self, changes: &[(&str, &str)]) -> Result<()> {
        let mut arguments = self.recipe.arguments.clone();
        for (option, value) in changes {
            let place = arguments.iter().position(|one| one == option);
            let place = place.with_context(|| format!("{} was not told {option}", self.recipe.name))?;
            arguments[place + 1] = (*value).to_owned();
        }
        self.launch(&arguments)
    }

    fn launch(&self, arguments: &[String]) -> Result<()> {
        let Recipe { name, program, log, mark, namespace, .. } = &self.recipe;
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = match namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(arguments).env(MARK, mark).env("RUST_BACKTRACE", "1");
        command.stdin(Stdio::null()).stdout(File::try_clone(&output)?).stderr(output);
        let child =
            command.spawn().with_context(|| format!("cannot start {name}: is {} installed?", program.display()))?;
        *self.child() = Some(child);
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self) -> &str {
        &self.recipe.name
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.child().as_ref().map(Child::id).with_context(|| format!("{} does not run", self.name()))
    }

    /// Kills it as the kernel does when memory is short: it gets to know nothing of it.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut child = self.child().take().with_context(|| format!("{} does not run", self.recipe.name))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        processes::signal(self.pid()?, &self.recipe.mark, signal)
    }

    /// Waits until it has ended, as it was meant to.
    pub(crate) async fn ends(&self, bound: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.recipe.name);
        let exit = within(bound, &what, async || Ok(self.exit()?.ok_or("it is still running"))).await?;
        self.child().take();
        Ok(exit)
    }

    /// How it has ended, if it has.
    pub(crate) fn exit(&self) -> Result<Option<ExitStatus>> {
        match self.child().as_mut() {
            Some(child) => Ok(child.try_wait()?),
            None => bail!("{} does not run", self.recipe.name),
        }
    }

    /// Whether it was started, and not ended by the test.
    pub(crate) fn is_expected_to_run(&self) -> bool {
        self.child().is_some()
    }

    /// Everything that it has printed.
    pub(crate) fn log(&self) -> String {
        read_to_string(&self.recipe.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
