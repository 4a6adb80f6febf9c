//! What an operator sees of a topology that runs, and of one that has ended.

use anyhow::{Context, Result, ensure};
use galerna_protocol::{DescribeReply, Window};

use crate::harness::{Sequence, Setup, bound, secs};

/// The tuples a second that the two tasks of the source emit at most.
const HIGHEST_RATE: f64 = 4_000.0;

fn window<'a>(described: &'a DescribeReply, component: &str) -> Option<&'a Window> {
    described.components.iter().find(|of| of.id == component)?.last_10_s.as_ref()
}

#[tokio::test]
async fn running_it_shows_rates_and_its_source_and_ended_it_is_found_by_its_id() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let has_watched = |described: &DescribeReply| match window(described, "note") {
        Some(window) if window.seconds >= 4.0 && described.sources.len() == 2 => Ok(()),
        found => Err(format!("its window is {found:?}, its sources {:?}", described.sources)),
    };
    let state = sequence.stands(bound(secs(8)), "it was watched", |state| has_watched(&state.0)).await?;
    let (spout, bolt) = (window(&state.0, "numbers"), window(&state.0, "note"));
    let (spout, bolt) = (spout.context("of the spout")?, bolt.context("of the bolt")?);
    for rate in [spout.emitted, spout.acked, bolt.executed] {
        // How much a busy machine does is not for this test to say. A source that was held up catches up.
        ensure!(rate > 1.0 && rate < HIGHEST_RATE * 1.5, "{rate} tuples/s: {:?}", state.0.components);
    }
    let busy = bolt.busy.context("workers tell how long calls ran")?;
    ensure!(busy > 0.0 && busy + bolt.blocked <= 1.0, "{bolt:?}");
    ensure!(spout.complete_latency.is_some() && bolt.execute_latency.is_some(), "{spout:?} {bolt:?}");
    let source = &state.0.sources[0];
    ensure!(source.component == "numbers" && source.position.starts_with("number "), "{source:?}");

    let id = state.0.summary.as_ref().context("a summary")?.id.clone();
    let top = cluster.succeed(["top"]).await?;
    ensure!(top.lines().any(|line| line.starts_with(&sequence.name)), "{top}");
    let text = cluster.succeed(["describe", &id]).await?;
    ensure!(text.contains("\nnow ") && text.contains("\nsource "), "{text}");
    ensure!(cluster.succeed(["kill", &id, "-w", "20"]).await?.starts_with(&id), "it is killed by its id");
    let gone = "it has ended";
    galerna_tests::bound::within(bound(secs(21)), gone, async || {
        let listed = cluster.list().await.map_err(|status| status.to_string());
        Ok(listed.and_then(|listed| if listed.is_empty() { Ok(()) } else { Err(format!("{listed:?}")) }))
    })
    .await?;
    let ended = cluster.succeed(["list", "--ended"]).await?;
    ensure!(ended.contains(&id) && ended.contains("KILLED"), "{ended}");
    for name in [&id, &sequence.name] {
        let text = cluster.succeed(["describe", name]).await?;
        ensure!(text.starts_with(&format!("{} ({id}): KILLED at ", sequence.name)), "{text}");
        cluster.succeed(["errors", name]).await?;
        let logs = cluster.succeed(["logs", name]).await?;
        ensure!(!logs.contains("cannot be read"), "{logs}");
    }
    cluster.ends_well().await
}
