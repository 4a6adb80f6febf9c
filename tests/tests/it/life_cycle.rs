//! What users order of a topology.

use anyhow::{Result, ensure};

use crate::harness::{Fault, Sequence, Setup, State, bound, secs};

#[tokio::test]
async fn deactivated_it_emits_nothing_until_activated_and_killed_it_drains() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;

    cluster.succeed(["deactivate", &sequence.name]).await?;
    let is_inactive = |state: &State| match state.status() {
        "INACTIVE" => Ok(()),
        status => Err(format!("it is {status}")),
    };
    sequence.stands(bound(secs(1)), "it is deactivated", is_inactive).await?;
    sequence.is_quiet(bound(secs(2))).await?;

    let again = Fault::begins();
    cluster.succeed(["activate", &sequence.name]).await?;
    sequence.flows_again(again, secs(1)).await?;
    let after = sequence.is_whole(bound(secs(1))).await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    let verdict = sequence.drains_when_killed().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "tuples came twice: {verdict}");
    cluster.ends_well().await
}
