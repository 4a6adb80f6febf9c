//! What befalls etcd.

use anyhow::{Result, ensure};

use crate::harness::{Fault, Sequence, Setup, bound, lease, secs, within};

#[tokio::test]
async fn etcd_killed_and_restarted_topologies_go_on_and_no_worker_restarts() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;

    let fault = Fault::begins();
    cluster.etcd.kill()?;
    let refused = cluster.run(["deactivate", &sequence.name]).await?;
    ensure!(refused.code == Some(1), "without etcd, `deactivate` ended with {refused:?}");
    ensure!(
        ["store", "etcd", "no nimbus leads"].iter().any(|word| refused.errors.contains(word)),
        "the message does not say what is missing: {}",
        refused.errors
    );
    // Every lease has ended by then, as far as clocks tell.
    within(lease() * 4, "etcd is gone for longer than a lease", async || {
        cluster.no_daemon_has_died()?;
        Ok(if fault.elapsed() > lease() * 2 { Ok(()) } else { Err("not yet") })
    })
    .await?;
    sequence.flows_again(fault, secs(1)).await?;

    cluster.etcd.restart()?;
    within(bound(lease() + secs(2)), "nimbus takes orders again", async || {
        Ok(match cluster.run(["activate", &sequence.name]).await? {
            answer if answer.code == Some(0) => Ok(()),
            answer => Err(answer.errors),
        })
    })
    .await?;
    cluster.knows_supervisors(2, bound(lease() + secs(2))).await?;
    // Absence counts after a lease of unbroken sight at the earliest: wait until it could count.
    let returned = Fault::begins();
    within(lease() * 3, "a lease has passed since etcd returned", async || {
        Ok(if returned.elapsed() > lease() * 2 { Ok(()) } else { Err("not yet") })
    })
    .await?;
    let after = sequence.is_whole(bound(secs(2))).await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    ensure!(after.0.generation == before.0.generation, "the assignment was changed");
    let verdict = sequence.ends_with_nothing_lost().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "the topology noticed: {verdict}");
    cluster.ends_well().await
}
