//! Moving tasks while tuples flow.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use galerna_protocol::RebalanceRequest;
use galerna_tests::sequence::Verdict;

use crate::harness::{Fault, Sequence, Setup, State, bound, secs};

/// For each executor of the same tasks in the same place: for how long it has run.
fn uptimes(state: &State) -> BTreeMap<(u32, String), u64> {
    let executors = state.executors().map(|executor| {
        let first = executor.tasks.as_ref().map_or(0, |tasks| tasks.first);
        let worker = executor.worker.as_ref().map(ToString::to_string).unwrap_or_default();
        ((first, worker), executor.uptime_secs)
    });
    executors.collect()
}

/// Rebalances a topology of one worker, while tuples flow.
async fn rebalanced(change: impl FnOnce(&mut RebalanceRequest), workers: usize, executors: usize) -> Result<Verdict> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(1).submit(&cluster).await?;
    sequence.flows().await?;
    let has_run = |state: &State| match uptimes(state).values().min() {
        Some(uptime) if *uptime >= 2 => Ok(()),
        uptime => Err(format!("the youngest executor has run for {uptime:?} s")),
    };
    let before = sequence.stands(secs(10), "executors have run for two seconds", has_run).await?;

    let fault = Fault::begins();
    let mut request = RebalanceRequest { name: sequence.name.clone(), ..RebalanceRequest::default() };
    change(&mut request);
    cluster.rebalance(request).await?;
    let is_done = |state: &State| {
        state.what_is_missing()?;
        let stands = (state.workers().len(), state.executors().count());
        if stands == (workers, executors) { Ok(()) } else { Err(format!("{stands:?} workers and executors")) }
    };
    let after = sequence.stands(bound(secs(4)), "the rebalance is done", is_done).await?;
    sequence.flows_again(fault.is_done(), secs(4)).await?;

    let was = uptimes(&before);
    let stayed = uptimes(&after).into_iter().filter_map(|(place, uptime)| Some((was.get(&place)?, uptime)));
    let stayed: Vec<_> = stayed.collect();
    ensure!(!stayed.is_empty(), "no executor has stayed where it was: {was:?}, {after:?}");
    ensure!(stayed.iter().all(|(was, is)| is >= *was), "unmoved executors were started anew: {stayed:?}");
    let verdict = sequence.ends_with_nothing_lost().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "moving made tuples come twice: {verdict}");
    cluster.ends_well().await?;
    Ok(verdict)
}

#[tokio::test]
async fn rebalance_to_more_workers_loses_and_replays_nothing() -> Result<()> {
    rebalanced(|request| request.workers = Some(2), 2, 6).await.map(|_| ())
}

#[tokio::test]
async fn rebalance_to_more_executors_loses_and_replays_nothing() -> Result<()> {
    let change = |request: &mut RebalanceRequest| request.executors = [("pass".to_owned(), 4)].into();
    rebalanced(change, 1, 8).await.map(|_| ())
}
