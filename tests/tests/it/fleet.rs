//! Many topologies at once.

use anyhow::Result;

use crate::harness::{Fault, Sequence, Setup, bound, lease, secs, within};

#[tokio::test]
async fn ten_topologies_survive_a_supervisor_that_leaves_and_returns() -> Result<()> {
    let cluster = Setup::supervisors(2).slots(12).start().await?;
    let mut sequences = Vec::new();
    for number in 1..=10 {
        let sequence = Sequence::named(&format!("sequence-{number}")).with("workers", 1).with("rate", 100);
        sequences.push(sequence.submit(&cluster).await?);
    }
    for sequence in &mut sequences {
        sequence.flows().await?;
    }

    let leaving = cluster.supervisor("node-2")?;
    let fault = Fault::begins();
    leaving.terminate()?;
    leaving.ends(bound(secs(6))).await?;
    for sequence in &mut sequences {
        sequence.flows_again(fault, lease() + secs(2)).await?;
        sequence.is_whole(bound(secs(2))).await?;
    }
    leaving.restart()?;
    within(bound(lease() + secs(4)), "the returned supervisor gets work", async || {
        let known = cluster.known_supervisors().await;
        let has_work = known.iter().flatten().any(|supervisor| supervisor.id == "node-2" && supervisor.used > 0);
        Ok(if has_work { Ok(()) } else { Err(format!("{known:?}")) })
    })
    .await?;
    for sequence in sequences {
        sequence.is_whole(bound(secs(4))).await?;
        sequence.ends_with_nothing_lost().await?;
    }
    cluster.ends_well().await
}
