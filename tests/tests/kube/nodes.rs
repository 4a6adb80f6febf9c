//! Nodes that are emptied, or vanish, under load.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};
use galerna_tests::fault::Fault;

use crate::harness::{Pod, Release, Sequence, State, World, say};

/// A node that runs tasks of the topology, but not etcd.
async fn busy_node(galerna: &Release, state: &State) -> Result<String> {
    let supervisors = galerna.namespace.pods("supervisor").await?;
    let etcd = galerna.namespace.pod("galerna-etcd-0").await?;
    let busy = state.supervisors();
    let nodes = supervisors.iter().filter(|pod| busy.contains(pod.name())).map(Pod::node);
    let nodes: BTreeSet<&str> = nodes.filter(|node| *node != etcd.node()).collect();
    let node = nodes.first().with_context(|| format!("no node but etcd's runs tasks: {busy:?}"))?;
    Ok((*node).to_owned())
}

pub(crate) async fn node_drained_its_tasks_move_with_less_than_a_second_without_output(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let cluster = world.cluster().await?;
    let mut sequence = Sequence::named("drained").flows(&galerna).await?;
    let state = sequence.is_whole().await?;
    let node = busy_node(&galerna, &state).await?;
    let drain = ["kubectl", "drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=110s"];

    let fault = Fault::begins();
    let drained = cluster.shell.run(&drain).await;
    let fault = fault.is_done();
    let took = fault.elapsed();
    // The node serves again whatever came of it.
    cluster.shell.run(&["kubectl", "uncordon", &node]).await?;
    drained?;
    let gap = sequence.gap_since(fault)?;
    say(&format!("{node} was drained in {took:.1?}; nothing came for {} ms at most (promised 1 s)", gap.as_millis()));
    sequence.flows_again(fault, took + secs(5)).await?;
    let after = sequence.is_whole().await?;
    say(&format!("its tasks run in {:?}", after.supervisors()));
    galerna.is_ready().await?;
    // Moved, not lost: what is moved is neither failed nor replayed.
    let replays = sequence.watch.log.verdict().replays;
    sequence.ends_with_nothing_lost().await?;
    ensure!(gap <= bound(secs(1)), "nothing came for {gap:?}");
    ensure!(replays == 0, "{replays} tuples were replayed: tasks were not moved, but lost");
    world.leave(galerna).await
}

pub(crate) async fn node_vanishes_and_comes_back_and_nothing_is_lost(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let cluster = world.cluster().await?;
    let mut sequence = Sequence::named("vanished").flows(&galerna).await?;
    let state = sequence.is_whole().await?;
    let node = busy_node(&galerna, &state).await?;

    let fault = Fault::begins();
    cluster.cut_power(&node).await?;
    let fault = fault.is_done();
    let outcome = goes_on_without(&galerna, &mut sequence, &node, fault).await;
    // The node is there again for the tests that follow, whatever came of it.
    cluster.restore_power(&node).await?;
    outcome?;
    galerna.is_ready().await?;
    sequence.is_whole().await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}

async fn goes_on_without(
    galerna: &Release,
    sequence: &mut crate::harness::Running<'_>,
    node: &str,
    fault: Fault,
) -> Result<()> {
    sequence.flows_again(fault, secs(5)).await?;
    sequence.is_whole().await?;
    // Kubernetes notices later, and leaves pods of StatefulSets on it: that they are gone for good is
    // for its operator to say.
    let stuck = asked_within(secs(120), "its pods are given up", async || {
        let pods = galerna.pods().await?;
        let there: Vec<Pod> = pods.into_iter().filter(|pod| pod.node() == node).collect();
        let are_given_up = there.iter().all(|pod| !pod.0["metadata"]["deletionTimestamp"].is_null());
        let names: Vec<String> = there.iter().map(|pod| pod.name().to_owned()).collect();
        Ok(if are_given_up { Ok(names) } else { Err(format!("{names:?}")) })
    })
    .await?;
    ensure!(!stuck.is_empty(), "no pod was on {node}");
    for pod in &stuck {
        galerna.namespace.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"]).await?;
    }
    galerna.is_ready().await?;
    say(&format!("{stuck:?} run elsewhere {:.1?} after {node} has vanished", fault.elapsed()));
    Ok(())
}
