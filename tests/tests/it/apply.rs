//! Applying a file again and again while tuples flow.

use anyhow::{Result, ensure};

use crate::harness::{Cluster, Fault, Sequence, Setup, State, secs};

/// Applies it, which must say so.
async fn says(sequence: &Sequence, cluster: &Cluster, expected: &str) -> Result<Fault> {
    let fault = Fault::begins();
    let said = sequence.apply(cluster).await?;
    ensure!(said == format!("sequence: {expected}\n"), "it says: {said}");
    Ok(fault.is_done())
}

fn id(state: &State) -> &str {
    state.0.summary.as_ref().map_or("", |summary| &summary.id)
}

#[tokio::test]
async fn applied_again_only_what_has_changed_is_changed_and_nothing_is_lost() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let first = Sequence::workers(1);
    let begun = Fault::begins();
    let said = first.apply(&cluster).await?;
    ensure!(said.starts_with("sequence: submitted (sequence-"), "it says: {said}");
    let mut sequence = first.runs_since(&cluster, begun)?;
    // That is what was waited for.
    let before = sequence.state().await?;
    before.what_is_missing().map_err(anyhow::Error::msg)?;
    sequence.flows().await?;
    says(&first, &cluster, "unchanged").await?;
    let same = sequence.state().await?;
    ensure!(same.launches() == before.launches(), "{:?} became {:?}", before.launches(), same.launches());

    let wider = Sequence::workers(2).with("pass", 4);
    let moved = says(&wider, &cluster, "rebalanced (workers: 1 → 2; component pass: 2 → 4 executors)").await?;
    let after = sequence.state().await?;
    after.what_is_missing().map_err(anyhow::Error::msg)?;
    ensure!((after.workers().len(), after.executors().count()) == (2, 8), "{after:?}");
    ensure!(id(&after) == id(&before), "{} was replaced by {}", id(&before), id(&after));
    sequence.flows_again(moved, secs(4)).await?;
    says(&wider, &cluster, "unchanged").await?;

    let patient = wider.clone().with("timeout", 20);
    let replaced = Fault::begins();
    let said = patient.apply(&cluster).await?;
    let why = ": config topology.message.timeout.secs: 30 → 20)\n";
    ensure!(said.starts_with("sequence: replaced (sequence-") && said.ends_with(why), "it says: {said}");
    let last = sequence.state().await?;
    ensure!(id(&last) != id(&before) && said.contains(id(&last)), "{said}: {}", id(&last));
    sequence.flows_again(replaced.is_done(), secs(8)).await?;
    says(&patient, &cluster, "unchanged").await?;
    let verdict = sequence.drains_when_killed().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "tuples came twice: {verdict}");
    cluster.ends_well().await
}
