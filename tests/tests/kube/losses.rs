//! Pods that are gone without a word, under load.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs, within};
use galerna_tests::fault::Fault;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::Instant;

use crate::harness::{Namespace, Release, Running, Sequence, World, say};

/// Something that befell a pod.
struct Loss {
    /// When it was ordered.
    ordered: Fault,
    /// When all that ran in the pod was gone: Kubernetes takes its time for that.
    gone: Fault,
}

/// Deletes a pod without any grace, and waits until all that ran in it is gone.
async fn delete(world: &World, namespace: &Namespace, pod: &str) -> Result<Loss> {
    let processes = world.cluster().await?.processes(namespace, pod).await?;
    let ordered = Fault::begins();
    namespace.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force", "--wait=false"]).await?;
    are_gone(&processes).await?;
    let loss = Loss { ordered, gone: Fault::begins() };
    say(&format!("{pod} was gone {} ms after it was deleted", ordered.elapsed().as_millis()));
    Ok(loss)
}

/// Kills all that runs in a pod at once, as the kernel does when memory is short.
async fn crash(world: &World, namespace: &Namespace, pod: &str) -> Result<Loss> {
    let processes = world.cluster().await?.processes(namespace, pod).await?;
    let ordered = Fault::begins();
    for process in &processes {
        // What its parent has taken along is gone already.
        let _ = kill_process(*process, Signal::KILL);
    }
    are_gone(&processes).await?;
    Ok(Loss { ordered, gone: Fault::begins() })
}

async fn are_gone(processes: &[Pid]) -> Result<()> {
    within(secs(40), "what ran in the pod is gone", async || {
        let left = processes.iter().filter(|pid| test_kill_process(**pid).is_ok()).count();
        Ok(if left == 0 { Ok(()) } else { Err(format!("{left} processes are left")) })
    })
    .await
}

/// The longest time without a tuple at the end of the way, from when a loss was ordered.
fn gap(sequence: &mut Running<'_>, loss: &Loss) -> Result<Duration> {
    let gap = sequence.gap_since(loss.ordered)?;
    say(&format!("from when it was ordered nothing came for {} ms at most", gap.as_millis()));
    Ok(gap)
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

    let loss = delete(world, &galerna.namespace, &victim).await?;
    sequence.flows_again(loss.gone, secs(5)).await?;
    gap(&mut sequence, &loss)?;
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

    let loss = crash(world, &galerna.namespace, &victim).await?;
    sequence.flows_again(loss.gone, secs(5)).await?;
    gap(&mut sequence, &loss)?;
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

    let loss = delete(world, &galerna.namespace, &leader).await?;
    asked_within(bound(secs(5)), "another nimbus leads", async || {
        // It may be the one that was made in its place.
        let answer = galerna.client.json(&["describe", "nimbus-gone"]).await?;
        Ok(answer.map(|_| ()))
    })
    .await?;
    let answered = loss.gone.elapsed();
    say(&format!("nimbus answers again after {answered:.1?}; {leader} led, {} leads", galerna.leader().await?));
    // Tuples do not go by way of Nimbus; a second is what others may take on a machine that is busy.
    sequence.flows_again(loss.gone, secs(5)).await?;
    let gap = gap(&mut sequence, &loss)?;
    ensure!(gap <= bound(secs(1)), "nothing came for {gap:?}");
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

    let loss = delete(world, &galerna.namespace, pod).await?;
    sequence.flows_again(loss.gone, secs(5)).await?;
    is_replaced(&galerna, pod, &uid).await?;
    let after = sequence.is_whole().await?;
    let (before, after) = (before.launches(), after.launches());
    ensure!(before == after, "workers were launched again: {before:?} became {after:?}");
    let gap = gap(&mut sequence, &loss)?;
    ensure!(gap <= bound(secs(1)), "nothing came for {gap:?}");
    sequence.ends_with_nothing_lost().await?;
    world.leave(galerna).await
}
