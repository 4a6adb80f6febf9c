//! Pods that are gone without a word, under load.

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};
use galerna_tests::fault::Fault;
use tokio::time::Instant;

use crate::harness::{Namespace, Release, Sequence, World, say};

/// Deletes a pod without any grace: what ran in it is killed.
async fn delete(namespace: &Namespace, pod: &str) -> Result<Fault> {
    let fault = Fault::begins();
    namespace.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"]).await?;
    Ok(fault.is_done())
}

/// Waits until Kubernetes has made a pod anew, and all are ready.
async fn is_replaced(galerna: &Release, pod: &str, before: &str) -> Result<()> {
    let begun = Instant::now();
    asked_within(secs(60), &format!("{pod} is made anew"), async || {
        let answer = galerna.namespace.try_kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]).await?;
        let is_new = answer.is_good() && answer.output != before;
        Ok(if is_new { Ok(()) } else { Err(format!("{}{}", answer.output, answer.errors)) })
    })
    .await?;
    galerna.is_ready().await?;
    say(&format!("all pods ready again {:.1?} later", begun.elapsed()));
    Ok(())
}

pub(crate) async fn supervisor_pod_deleted_its_tasks_run_elsewhere_and_nothing_is_lost(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let mut sequence = Sequence::named("supervisor-gone").flows(&galerna).await?;
    let state = sequence.is_whole().await?;
    let victim = (*state.supervisors().first().context("nobody runs it")?).to_owned();
    let uid = galerna.namespace.pod(&victim).await?.uid().to_owned();

    let fault = delete(&galerna.namespace, &victim).await?;
    sequence.flows_again(fault, secs(5)).await?;
    sequence.is_whole().await?;
    is_replaced(&galerna, &victim, &uid).await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}

pub(crate) async fn supervisor_and_its_workers_killed_in_their_container_nothing_is_lost(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let mut sequence = Sequence::named("supervisor-killed").flows(&galerna).await?;
    let state = sequence.is_whole().await?;
    let victim = (*state.supervisors().first().context("nobody runs it")?).to_owned();
    let restarts = galerna.namespace.pod(&victim).await?.restarts();

    let fault = Fault::begins();
    world.cluster().await?.crash(&galerna.namespace, &victim).await?;
    sequence.flows_again(fault.is_done(), secs(5)).await?;
    galerna.is_ready().await?;
    let pod = galerna.namespace.pod(&victim).await?;
    ensure!(pod.restarts() == restarts + 1, "its container was started again {} times", pod.restarts() - restarts);
    sequence.is_whole().await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}

pub(crate) async fn leading_nimbus_deleted_nobody_notices_and_another_leads(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let mut sequence = Sequence::named("nimbus-gone").flows(&galerna).await?;
    let leader = galerna.leader().await?;
    let uid = galerna.namespace.pod(&leader).await?.uid().to_owned();

    let fault = delete(&galerna.namespace, &leader).await?;
    // Tuples do not go by way of Nimbus; a second is what the measuring itself may take.
    let recovery = sequence.flows_again(fault, secs(5)).await?;
    ensure!(recovery.gap <= bound(secs(1)), "nothing came for {:?}", recovery.gap);
    asked_within(bound(secs(5)), "another nimbus leads", async || {
        // It may be the one that was made in its place.
        let answer = galerna.client.json(&["describe", "nimbus-gone"]).await?;
        Ok(answer.map(|_| ()))
    })
    .await?;
    say(&format!(
        "nimbus answers again after {:.1?}; {} led, {} leads",
        fault.elapsed(),
        leader,
        galerna.leader().await?
    ));
    is_replaced(&galerna, &leader, &uid).await?;
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}

pub(crate) async fn etcd_pod_deleted_its_volume_kept_and_tuples_go_on(world: &World) -> Result<()> {
    let galerna = world.galerna().await?;
    let mut sequence = Sequence::named("etcd-gone").flows(&galerna).await?;
    let before = sequence.is_whole().await?;
    let pod = "galerna-etcd-0";
    let uid = galerna.namespace.pod(pod).await?.uid().to_owned();

    let fault = delete(&galerna.namespace, pod).await?;
    let recovery = sequence.flows_again(fault, secs(5)).await?;
    ensure!(recovery.gap <= bound(secs(1)), "nothing came for {:?}", recovery.gap);
    is_replaced(&galerna, pod, &uid).await?;
    let after = sequence.is_whole().await?;
    let launches = |state: &crate::harness::State| {
        state.0["workers"].as_array().map(|workers| {
            workers
                .iter()
                .map(|worker| (worker["supervisor"].clone(), worker["incarnation"].clone()))
                .collect::<Vec<_>>()
        })
    };
    ensure!(launches(&before) == launches(&after), "workers were launched again: {} became {}", before.0, after.0);
    say(&format!("all of it took {:.1?}", fault.elapsed()));
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}
