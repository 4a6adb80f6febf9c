//! Workers that take more memory than is their share.

use anyhow::{Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};

use crate::harness::{World, say};

pub(crate) async fn worker_over_its_share_is_ended_and_reported_while_its_container_goes_on(
    world: &World,
) -> Result<()> {
    let galerna = world.galerna().await?;
    let before = galerna.restarts().await?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/hog.yaml");
    galerna.client.order(&["apply", file, "--wait"]).await?;
    let reason = asked_within(bound(secs(20)), "what the worker did is reported", async || {
        let errors = galerna.client.json(&["errors", "hog"]).await?;
        let described = galerna.client.json(&["describe", "hog"]).await?;
        let (Ok(errors), Ok(described)) = (errors, described) else {
            return Ok(Err("nimbus does not answer".to_owned()));
        };
        let reasons: Vec<String> = errors
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error["message"].as_str())
            .filter(|message| message.contains("memory"))
            .map(str::to_owned)
            .collect();
        Ok(reasons.first().cloned().ok_or_else(|| format!("errors: {errors}; {described}")))
    })
    .await?;
    say(&format!("it says: {reason}"));
    galerna.client.kill("hog").await?;
    let after = galerna.restarts().await?;
    ensure!(before == after, "containers were started again: {before:?} became {after:?}");
    world.leave(galerna).await
}
