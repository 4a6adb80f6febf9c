//! From an empty cluster to a topology that has run, and back.

use std::path::Path;

use anyhow::{Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};
use tokio::time::Instant;

use crate::harness::{State, World, say};

/// How many tuples the bounded topology has, from its file.
const TUPLES: u64 = 200_000;

pub(crate) async fn empty_cluster_installed_and_bounded_topology_counted_exactly_in_90_s(world: &World) -> Result<()> {
    world.is_empty().await?;
    world.images().await?;
    let begun = Instant::now();
    let galerna = world.galerna().await?;
    // As the chart's notes tell its users.
    let client = galerna.client_by_service().await?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/bounded.yaml");
    let applied = client.order(&["apply", &file.display().to_string(), "--wait"]).await?;
    say(&format!("`apply --wait` said `{}` after {:.1?}", applied.output.trim(), begun.elapsed()));
    let state = client.stands("bounded", bound(secs(30)), "it finishes", State::is_finished).await?;
    let took = begun.elapsed();
    say(&format!("from an empty cluster to the end of {TUPLES} tuples: {took:.1?} (promised 90 s)"));
    ensure!(state.0["counts_are"] == "exact", "counts are `{}`", state.0["counts_are"]);
    for (component, of) in
        [("numbers", "emitted"), ("numbers", "acked"), ("half", "executed"), ("half", "acked"), ("end", "executed")]
    {
        let expected = if component == "end" { TUPLES / 2 } else { TUPLES };
        let count = state.count(component, of);
        ensure!(count == expected, "`{component}` has {of} {count}, {expected} are expected: {}", state.0);
    }
    ensure!(took <= secs(90), "it took {took:?}");

    let again = client.order(&["apply", &file.display().to_string(), "--wait"]).await?;
    say(&format!("and again: `{}`", again.output.trim()));
    client.kill("bounded").await?;
    world.leave(galerna).await
}

pub(crate) async fn helm_test_passes(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let told = galerna.namespace.helm(&["test", "galerna", "--timeout", "120s"]).await?;
    ensure!(told.contains("Succeeded"), "helm test says: {told}");
    let listed = galerna.client.listed().await?;
    ensure!(listed.is_empty(), "the test has left topologies: {listed:?}");
    world.leave(galerna).await
}

pub(crate) async fn uninstalled_only_volume_claims_are_left(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let namespace = &galerna.namespace;
    let listing = ["get", "all,configmap,secret,pvc,job", "-l", "app.kubernetes.io/instance=galerna", "-o", "name"];
    let before = namespace.kubectl(&listing).await?;
    ensure!(before.contains("statefulset.apps/galerna-nimbus"), "the label tells nothing: {before}");
    namespace.helm(&["uninstall", "galerna", "--wait", "--timeout", "120s"]).await?;
    asked_within(secs(60), "only volume claims are left", async || {
        let left = namespace.kubectl(&listing).await?;
        let other: Vec<&str> = left.lines().filter(|line| !line.starts_with("persistentvolumeclaim/")).collect();
        if other.is_empty() {
            ensure!(!left.is_empty(), "not even the volume claims are left");
        }
        Ok(if other.is_empty() { Ok(()) } else { Err(format!("left are {other:?}")) })
    })
    .await
}
