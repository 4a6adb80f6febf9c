//! The sequence check on one machine: the same topology, in one process.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Result, ensure};
use galerna_tests::monotonic_ns;
use galerna_tests::sequence::{SequenceLog, end_source};

use crate::harness::{Sequence, report, secs, within};

/// A local run that is killed when it is dropped.
struct Local(Child);

impl Local {
    fn start(folder: &Path) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_test-topologies"));
        command.arg("local").arg(Sequence::file()).args(["--workers", "2", "--set"]);
        command.arg(format!("folder={}", folder.display())).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn flows(log: &mut SequenceLog, since: i64) -> Result<()> {
    within(secs(20), "tuples flow", async || {
        log.refresh()?;
        let is_flowing = log.flowing_again_at(since).is_some() && log.acked() >= 1000;
        Ok(if is_flowing { Ok(()) } else { Err(format!("{} numbers are acked", log.acked())) })
    })
    .await
}

#[tokio::test]
async fn local_run_killed_and_started_again_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut log = SequenceLog::new(folder.path());
    let run = Local::start(folder.path())?;
    flows(&mut log, monotonic_ns()).await?;
    drop(run);

    let mut run = Local::start(folder.path())?;
    flows(&mut log, monotonic_ns()).await?;
    end_source(folder.path())?;
    let exit = within(secs(20), "the run ends", async || Ok(run.0.try_wait()?.ok_or("it goes on"))).await?;
    ensure!(exit.success(), "the run ended with {exit}");
    log.refresh()?;
    let verdict = log.verdict();
    report(&verdict.to_string());
    ensure!(verdict.is_good(), "{verdict}");
    Ok(())
}
