//! What befalls Nimbus.

use anyhow::{Result, ensure};

use crate::harness::{Fault, Sequence, Setup, bound, lease, report, secs, within};

#[tokio::test]
async fn leading_nimbus_killed_another_leads_and_topologies_notice_nothing() -> Result<()> {
    let cluster = Setup::supervisors(2).nimbuses(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let first = within(bound(secs(1)), "somebody leads", async || Ok(cluster.leader().await?.ok_or("nobody"))).await?;

    let fault = Fault::begins();
    cluster.nimbuses[first].kill()?;
    within(bound(lease() + secs(2)), "another leads", async || {
        Ok(cluster.leader().await?.filter(|leader| *leader != first).ok_or("nobody does"))
    })
    .await?;
    report(&format!("another nimbus leads {} ms after the leader was killed", fault.elapsed().as_millis()));
    // A leader is one that takes orders: this one changes nothing.
    within(bound(secs(1)), "the new leader takes orders", async || {
        Ok(match cluster.run(["activate", &sequence.name]).await? {
            answer if answer.code == Some(0) => Ok(()),
            answer => Err(answer.errors),
        })
    })
    .await?;
    let after = sequence.is_whole(bound(secs(2))).await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    ensure!(after.0.generation == before.0.generation, "the assignment was changed");
    sequence.flows_again(fault, secs(1)).await?;

    cluster.nimbuses[first].restart()?;
    let verdict = sequence.ends_with_nothing_lost().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "the topology noticed: {verdict}");
    cluster.ends_well().await
}
