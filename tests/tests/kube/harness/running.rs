//! A topology of the sequence check that runs on Kubernetes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{bound, secs};
use galerna_tests::fault::Fault;
use galerna_tests::sequence::{Recovery, Watch, end_source};

use super::release::Release;
use super::report::say;
use super::topology::State;

/// A topology that was applied, and what its files say.
#[derive(Debug)]
pub(crate) struct Running<'r> {
    release: &'r Release,
    pub(crate) name: String,
    /// Where its files are seen on this machine.
    folder: PathBuf,
    pub(crate) watch: Watch,
}

impl<'r> Running<'r> {
    pub(super) fn new(release: &'r Release, name: String, folder: PathBuf) -> Self {
        let watch = Watch::new(&folder);
        Self { release, name, folder, watch }
    }

    pub(super) async fn flows(&mut self, submitted: Fault) -> Result<()> {
        self.watch.flows(submitted, || Ok(())).await.with_context(|| self.name.clone())
    }

    /// How it stands, once all its tasks run.
    pub(crate) async fn is_whole(&self) -> Result<State> {
        self.release.client.is_whole(&self.name, bound(secs(5))).await
    }

    /// Waits until tuples go all ways again, within the promised time.
    pub(crate) async fn flows_again(&mut self, fault: Fault, promised: Duration) -> Result<Recovery> {
        let recovery = self.watch.recovers(fault, promised, || Ok(())).await.with_context(|| self.name.clone())?;
        say(&recovery.to_string());
        recovery.is_as_promised()?;
        Ok(recovery)
    }

    /// The longest time since `fault` in which no tuple has come to the end of the way.
    pub(crate) fn gap_since(&mut self, fault: Fault) -> Result<Duration> {
        self.watch.log.refresh()?;
        Ok(self.watch.log.longest_gap(fault.began, Fault::begins().began))
    }

    /// Ends the source and waits until the topology has finished by itself; then every number must
    /// have arrived, and every one that was emitted must have been acked.
    pub(crate) async fn ends_with_nothing_lost(mut self) -> Result<()> {
        end_source(&self.folder)?;
        let client = &self.release.client;
        let ended = client.stands(&self.name, bound(secs(10)), "it finishes", State::is_finished).await;
        self.watch.log.refresh()?;
        let verdict = self.watch.log.verdict();
        let state = ended.with_context(|| format!("until then: {verdict}"))?;
        say(&format!("{} ended: {verdict}", self.name));
        ensure!(verdict.is_good(), "{verdict}");
        ensure!(state.0["failure"].is_null(), "it says: {}", state.0["failure"]);
        client.kill(&self.name).await?;
        fs::remove_dir_all(&self.folder)?;
        Ok(())
    }
}
