//! Faults and changes at random, one after the other.

use std::env;
use std::str::FromStr;

use anyhow::{Context, Result};
use fastrand::Rng;
use galerna_protocol::RebalanceRequest;
use galerna_tests::sequence::Verdict;

use crate::harness::{Cluster, Fault, Running, Sequence, Setup, bound, lease, report, secs};

/// The time for one step, which includes a worker's back-off before its next launch.
const STEP: u64 = 30;

/// A number that the environment may set.
fn setting<T: FromStr>(name: &str, default: impl FnOnce() -> T) -> T {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or_else(default)
}

/// What happens next.
#[derive(Debug)]
enum Step {
    KillWorker,
    /// Kills a supervisor and its workers, and starts the supervisor again.
    LoseNode,
    Workers(u32),
    Executors(u32),
}

impl Step {
    fn any(random: &mut Rng) -> Self {
        match random.u32(0..8) {
            0..3 => Self::KillWorker,
            3 => Self::LoseNode,
            4..6 => Self::Workers(random.u32(1..=4)),
            _ => Self::Executors(random.u32(1..=4)),
        }
    }

    async fn take(&self, cluster: &Cluster, sequence: &Running<'_>, random: &mut Rng) -> Result<()> {
        let state = sequence.state().await?;
        let rebalanced = RebalanceRequest { name: sequence.name.clone(), ..RebalanceRequest::default() };
        match self {
            Self::KillWorker => {
                let victim = random.choice(state.workers()).context("no worker runs")?;
                // It may be gone: the step before has replaced it.
                let _ = sequence.kill_worker(victim);
            }
            Self::LoseNode => {
                let node = if random.bool() { "node-1" } else { "node-2" };
                cluster.supervisor(node)?.kill()?;
                for worker in state.workers_on(node) {
                    let _ = sequence.kill_worker(worker);
                }
                cluster.supervisor(node)?.restart()?;
                cluster.knows_supervisors(2, bound(lease())).await?;
            }
            Self::Workers(workers) => {
                cluster.rebalance(RebalanceRequest { workers: Some(*workers), ..rebalanced }).await?;
            }
            Self::Executors(executors) => {
                let executors = [("pass".to_owned(), *executors)].into();
                cluster.rebalance(RebalanceRequest { executors, ..rebalanced }).await?;
            }
        }
        Ok(())
    }
}

/// `RANDOM_FAULTS_SECONDS` sets a longer time, and `RANDOM_FAULTS_SEED` repeats the steps of an earlier run.
#[tokio::test]
async fn workers_killed_moved_and_rebalanced_at_random_lose_nothing() -> Result<()> {
    let seed = setting("RANDOM_FAULTS_SEED", || fastrand::u64(..));
    let verdict = faults(seed).await.with_context(|| format!("RANDOM_FAULTS_SEED={seed}"))?;
    report(&format!("{verdict}"));
    Ok(())
}

async fn faults(seed: u64) -> Result<Verdict> {
    let (mut random, time) = (Rng::with_seed(seed), secs(setting("RANDOM_FAULTS_SECONDS", || 20)));
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).with("timeout", 5).submit(&cluster).await?;
    sequence.flows().await?;
    let began = Fault::begins();
    while began.elapsed() < time {
        let (step, fault) = (Step::any(&mut random), Fault::begins());
        step.take(&cluster, &sequence, &mut random).await.with_context(|| format!("{step:?}"))?;
        // Steps follow each other so closely that rates say nothing.
        sequence.recovers(fault.is_done(), secs(STEP)).await.with_context(|| format!("{step:?}"))?;
        sequence.is_whole(bound(secs(STEP))).await.with_context(|| format!("{step:?}"))?;
    }
    let verdict = sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await?;
    Ok(verdict)
}
