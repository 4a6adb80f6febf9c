//! What befalls the network between workers.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::sequence::Verdict;

use crate::harness::{Fault, Sequence, Setup, report, secs, why_no_namespaces, within};

/// Cuts two workers on two supervisors off from each other, not from Nimbus and etcd.
async fn cut_for(cut: Duration, message_timeout: Duration) -> Result<Option<Verdict>> {
    if let Some(reason) = why_no_namespaces() {
        report(&format!("skipped: no network that can be cut can be made here: {reason}"));
        return Ok(None);
    }
    let cluster = Setup::supervisors(2).in_namespaces().start().await?;
    let network = cluster.network.as_ref().context("no network")?;
    let mut sequence = Sequence::workers(2).with("timeout", message_timeout.as_secs()).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    for node in ["node-1", "node-2"] {
        ensure!(before.workers_on(node).len() == 1, "not one worker on {node}: {before:?}");
    }

    let start = Fault::begins();
    network.cut()?;
    within(cut * 2, "the cut lasts", async || {
        cluster.no_daemon_has_died()?;
        Ok(if start.elapsed() >= cut { Ok(()) } else { Err("not yet") })
    })
    .await?;
    let healed = Fault::begins();
    network.heal()?;
    sequence.flows_again(healed, secs(3)).await?;

    let after = sequence.state().await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    let verdict = sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await?;
    Ok(Some(verdict))
}

#[tokio::test]
async fn cut_between_two_workers_shorter_than_the_timeout_loses_and_replays_nothing() -> Result<()> {
    let verdict = cut_for(secs(3), secs(30)).await?;
    let again = verdict.as_ref().map_or(0, |verdict| verdict.replays + verdict.reread + verdict.duplicates);
    ensure!(again == 0, "tuples came twice: {verdict:?}");
    Ok(())
}

#[tokio::test]
async fn cut_between_two_workers_longer_than_the_timeout_replays_and_loses_nothing() -> Result<()> {
    let verdict = cut_for(secs(6), secs(3)).await?;
    ensure!(verdict.as_ref().is_none_or(|verdict| verdict.replays > 0), "nothing timed out: {verdict:?}");
    Ok(())
}
