//! Everything made anew while a topology runs.

use anyhow::{Result, ensure};
use galerna_tests::bound::{bound, secs};
use galerna_tests::fault::Fault;

use crate::harness::{PARTS, Sequence, World, say};

pub(crate) async fn image_upgraded_while_a_topology_runs_nothing_is_lost(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let images = world.images().await?;
    let is_next = galerna.namespace.pod("galerna-nimbus-0").await?.image() == images.next.name();
    let image = if is_next { &images.galerna } else { &images.next };
    let mut sequence = Sequence::named("upgraded").flows(&galerna).await?;

    let fault = Fault::begins();
    galerna.upgrade(|values| values["image"]["tag"] = image.tag.clone().into()).await?;
    let pods = galerna.is_ready().await?;
    let fault = fault.is_done();
    for pod in pods.iter().filter(|pod| !pod.name().contains("etcd")) {
        ensure!(pod.image() == image.name(), "{} still runs {}", pod.name(), pod.image());
    }
    let took = fault.elapsed();
    let recovery = sequence.flows_again(fault, took + secs(5)).await?;
    say(&format!("upgraded in {took:.1?}; nothing came for {} ms at most", recovery.gap.as_millis()));
    ensure!(recovery.gap <= bound(secs(5)), "nothing came for {:?}", recovery.gap);
    sequence.is_whole().await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}

pub(crate) async fn everything_restarted_at_once_nothing_is_lost(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let mut sequence = Sequence::named("restarted").flows(&galerna).await?;

    let fault = Fault::begins();
    let sets = PARTS.map(|part| format!("statefulset/galerna-{part}"));
    let words: Vec<&str> = ["rollout", "restart"].into_iter().chain(sets.iter().map(String::as_str)).collect();
    galerna.namespace.kubectl(&words).await?;
    for set in &sets {
        galerna.namespace.kubectl(&["rollout", "status", set, "--timeout=110s"]).await?;
    }
    galerna.is_ready().await?;
    let fault = fault.is_done();
    let took = fault.elapsed();
    let recovery = sequence.flows_again(fault, took + secs(5)).await?;
    say(&format!("restarted in {took:.1?}; nothing came for {} ms at most", recovery.gap.as_millis()));
    ensure!(recovery.gap <= bound(secs(5)), "nothing came for {:?}", recovery.gap);
    sequence.is_whole().await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}
