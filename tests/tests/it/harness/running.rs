//! A topology of the sequence check that runs on a cluster.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_protocol::WorkerSummary;
use galerna_tests::monotonic_ns;
use galerna_tests::sequence::{Recovery, Verdict, Watch, end_source};
use rustix::process::Signal;

use super::cluster::Cluster;
use super::processes;
use super::state::State;
use galerna_tests::bound::{bound, secs, within};
use galerna_tests::fault::{Fault, between, report};

/// A topology that was submitted, and what its files say.
#[derive(Debug)]
pub(crate) struct Running<'c> {
    cluster: &'c Cluster,
    pub(crate) name: String,
    folder: PathBuf,
    watch: Watch,
    submitted: Fault,
}

impl<'c> Running<'c> {
    pub(super) fn new(cluster: &'c Cluster, name: String, folder: PathBuf, submitted: Fault) -> Self {
        let watch = Watch::new(&folder);
        Self { cluster, name, folder, watch, submitted }
    }

    /// How it stands.
    pub(crate) async fn state(&self) -> Result<State> {
        within(bound(secs(3)), &format!("nimbus describes {}", self.name), async || {
            Ok(self.cluster.describe(&self.name).await.map(State))
        })
        .await
    }

    /// Waits until nimbus describes it so that `condition` holds, which else says how it stands.
    pub(crate) async fn stands(
        &self,
        promised: Duration,
        what: &str,
        condition: impl Fn(&State) -> Result<(), String>,
    ) -> Result<State> {
        within(promised, &format!("{}: {what}", self.name), async || {
            self.cluster.no_daemon_has_died()?;
            Ok(match self.cluster.describe(&self.name).await.map(State) {
                Ok(state) => condition(&state).map(|()| state),
                Err(status) => Err(status.to_string()),
            })
        })
        .await
    }

    /// Waits until all executors run.
    pub(crate) async fn is_whole(&self, promised: Duration) -> Result<State> {
        self.stands(promised, "all executors run", State::what_is_missing).await
    }

    /// Waits until the first tuple has come to the end of its way: how long that took since it
    /// was submitted.
    pub(crate) async fn counts(&mut self, promised: Duration) -> Result<Duration> {
        let remaining = bound(promised).saturating_sub(self.submitted.elapsed()).max(secs(1));
        let log = &mut self.watch.log;
        let first = within(remaining, "the first tuple is acked", async || {
            log.refresh()?;
            Ok(log.first_ack().ok_or("there is none"))
        })
        .await?;
        let elapsed = between(self.submitted.began, first);
        report(&format!("first tuple acked {} ms after `submit` began (promised {promised:?})", elapsed.as_millis()));
        ensure!(elapsed <= bound(promised), "the first tuple was acked {elapsed:?} after it was submitted");
        Ok(elapsed)
    }

    /// Waits until tuples go all ways and a rate has been measured, before anything happens to it.
    pub(crate) async fn flows(&mut self) -> Result<()> {
        self.watch.flows(self.submitted, || self.cluster.no_daemon_has_died()).await.with_context(|| self.name.clone())
    }

    /// Waits until tuples flow on all paths again, within the promised time. Rates outside the outage must not fall below
    /// a third.
    pub(crate) async fn flows_again(&mut self, fault: Fault, promised: Duration) -> Result<()> {
        self.recovers(fault, promised).await?.is_as_promised()
    }

    /// Waits until tuples flow on all paths again, at any rate.
    pub(crate) async fn recovers(&mut self, fault: Fault, promised: Duration) -> Result<Recovery> {
        let check = || self.cluster.no_daemon_has_died();
        let recovery = self.watch.recovers(fault, promised, check).await.with_context(|| self.name.clone())?;
        report(&recovery.to_string());
        Ok(recovery)
    }

    /// Waits until nothing was acked for half a second, and everything emitted was.
    pub(crate) async fn is_quiet(&mut self, bound: Duration) -> Result<()> {
        let (log, mut last, mut since) = (&mut self.watch.log, 0, monotonic_ns());
        within(bound, "no tuple flows", async || {
            log.refresh()?;
            let acks = log.acks();
            if acks != last {
                (last, since) = (acks, monotonic_ns());
            }
            let is_quiet = between(since, monotonic_ns()) >= Duration::from_millis(500) && log.verdict().is_good();
            Ok(if is_quiet { Ok(()) } else { Err(format!("{acks} tuples were acked")) })
        })
        .await
    }

    /// Kills the process of a worker.
    pub(crate) fn kill_worker(&self, worker: &WorkerSummary) -> Result<()> {
        self.signal_worker(worker, Signal::KILL)
    }

    pub(crate) fn signal_worker(&self, worker: &WorkerSummary, signal: Signal) -> Result<()> {
        processes::signal(worker.pid, &self.cluster.mark, signal)
    }

    /// Waits until the process of a worker is gone.
    pub(crate) async fn worker_exits(&self, worker: &WorkerSummary, bound: Duration) -> Result<()> {
        within(bound, &format!("worker process {} ends", worker.pid), async || {
            let is_running = processes::is_running(worker.pid, &self.cluster.mark);
            Ok(if is_running { Err("it is still running") } else { Ok(()) })
        })
        .await
    }

    /// Ends the source and waits until the topology has finished by itself; then every promise must
    /// have been kept. Kills it: then nothing of it is left.
    pub(crate) async fn ends_with_nothing_lost(mut self) -> Result<Verdict> {
        let verdict = self.finishes_with_nothing_lost().await?;
        self.is_removed_by_kill(secs(3)).await?;
        fs::remove_dir_all(&self.folder)?;
        Ok(verdict)
    }

    /// Ends the source and waits until the topology has finished by itself; then every promise must
    /// have been kept.
    pub(crate) async fn finishes_with_nothing_lost(&mut self) -> Result<Verdict> {
        end_source(&self.folder)?;
        let finished = |state: &State| match state.status() {
            "FINISHED" => Ok(()),
            status => Err(format!("it is {status}: {:?}", state.0.workers)),
        };
        let ended = self.stands(bound(secs(6)), "it finishes", finished).await;
        self.watch.log.refresh()?;
        let state = ended.with_context(|| format!("until then: {}", self.watch.log.verdict()))?;
        let verdict = self.has_kept_its_promises()?;
        ensure!(state.0.failure.is_empty(), "it says: {}", state.0.failure);
        self.is_counted_right(&state, &verdict)?;
        Ok(verdict)
    }

    /// Kills it while tuples flow: what is in flight is processed first, then nothing of it is left.
    pub(crate) async fn drains_when_killed(mut self) -> Result<Verdict> {
        self.is_removed_by_kill(secs(3)).await?;
        self.watch.log.refresh()?;
        self.has_kept_its_promises()
    }

    /// Judges what was read, when it has come to its end.
    fn has_kept_its_promises(&self) -> Result<Verdict> {
        let verdict = self.watch.log.verdict();
        report(&format!("{} ended: {verdict}", self.name));
        ensure!(verdict.is_good(), "{verdict}");
        Ok(verdict)
    }

    /// Kills it, and waits until it is not listed any more.
    pub(crate) async fn is_removed_by_kill(&self, promised: Duration) -> Result<()> {
        self.cluster.succeed(["kill", &self.name]).await?;
        within(bound(promised), "nothing of it is listed after the kill", async || {
            let listed = self.cluster.list().await?;
            let is_there = listed.iter().any(|summary| summary.name == self.name);
            Ok(if is_there { Err(format!("{listed:?}")) } else { Ok(()) })
        })
        .await
    }

    /// The counts of `describe` are those of the files, exactly or at most, as it says.
    fn is_counted_right(&self, state: &State, verdict: &Verdict) -> Result<()> {
        let spout = state.0.components.iter().find(|component| component.id == "numbers");
        let spout = spout.context("the spout is not described")?;
        let (emitted, acks) = (verdict.numbers + verdict.replays + verdict.reread, self.watch.log.acks());
        let counted = (spout.emitted as usize, spout.acked as usize);
        let is_right = if state.0.are_counts_exact {
            counted == (emitted, acks)
        } else {
            counted.0 <= emitted && counted.1 <= acks
        };
        let kind = if state.0.are_counts_exact { "exactly" } else { "at least" };
        ensure!(is_right, "described as {kind} {counted:?} emitted and acked, written down {:?}", (emitted, acks));
        Ok(())
    }
}
