//! What befalls workers.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use crate::harness::{Fault, Sequence, Setup, bound, lease, secs, within};

#[tokio::test]
async fn worker_killed_tuples_flow_again_within_a_second_and_none_is_lost() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(3).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let victim = before.worker_of("pass")?;

    let fault = Fault::begins();
    sequence.kill_worker(victim)?;
    sequence.flows_again(fault, secs(1)).await?;

    let after = sequence.is_whole(bound(secs(2))).await?;
    for (worker, launch) in after.launches() {
        let was = before.launches().get(&worker).copied();
        let is_victim = was.is_some_and(|(pid, _)| pid == victim.pid);
        ensure!(is_victim != (was == Some(launch)), "{worker} was {was:?} and is {launch:?}");
    }
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn worker_of_the_source_killed_its_task_goes_on_where_it_had_committed() -> Result<()> {
    let cluster = Setup::supervisors(1).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;

    let fault = Fault::begins();
    sequence.kill_worker(before.worker_of("numbers")?)?;
    sequence.flows_again(fault, secs(1)).await?;

    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn worker_killed_while_etcd_and_nimbus_are_gone_is_started_again() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    cluster.nimbuses[0].kill()?;
    cluster.etcd.kill()?;

    let fault = Fault::begins();
    sequence.kill_worker(before.worker_of("pass")?)?;
    sequence.flows_again(fault, secs(1)).await?;

    cluster.etcd.restart()?;
    cluster.nimbuses[0].restart()?;
    sequence.is_whole(bound(lease() * 2 + secs(2))).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn worker_stopped_replaced_and_resumed_is_fenced_and_exits() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let stopped_node = "node-1";
    let stopped = before.workers_on(stopped_node);
    ensure!(!stopped.is_empty(), "no worker runs on {stopped_node}: {before:?}");

    let fault = Fault::begins();
    cluster.supervisor(stopped_node)?.signal(Signal::STOP)?;
    for worker in &stopped {
        sequence.signal_worker(worker, Signal::STOP)?;
    }
    sequence.flows_again(fault.is_done(), lease() + secs(2)).await?;
    let replaced = sequence.is_whole(bound(secs(2))).await?;
    ensure!(replaced.workers_on(stopped_node).is_empty(), "still assigned to {stopped_node}: {replaced:?}");

    // The worker first: it must find out by itself, or be told by the others.
    for worker in &stopped {
        sequence.signal_worker(worker, Signal::CONT)?;
    }
    cluster.supervisor(stopped_node)?.signal(Signal::CONT)?;
    for worker in &stopped {
        sequence.worker_exits(worker, bound(secs(2))).await?;
    }
    let logs = cluster.worker_logs(stopped_node);
    ensure!(logs.contains("was replaced"), "the worker has not said why it ended: {logs}");
    cluster.knows_supervisors(2, bound(lease())).await?;
    sequence.is_whole(bound(secs(4))).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn worker_fenced_while_etcd_is_silent_is_not_launched_again() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let stopped = before.workers_on("node-1");
    ensure!(!stopped.is_empty(), "no worker runs on node-1: {before:?}");
    let fault = Fault::begins();
    cluster.supervisor("node-1")?.signal(Signal::STOP)?;
    for worker in &stopped {
        sequence.signal_worker(worker, Signal::STOP)?;
    }
    sequence.flows_again(fault.is_done(), lease() + secs(2)).await?;

    // Its supervisor knows the old assignment alone, and cannot ask.
    cluster.etcd.signal(Signal::STOP)?;
    cluster.supervisor("node-1")?.signal(Signal::CONT)?;
    for worker in &stopped {
        sequence.signal_worker(worker, Signal::CONT)?;
        sequence.worker_exits(worker, bound(secs(2))).await?;
    }
    // Long enough for the first restart, which follows at once, and the second.
    let fenced = Fault::begins();
    within(secs(4), "a second passes", async || Ok(if fenced.elapsed() > secs(1) { Ok(()) } else { Err("not yet") }))
        .await?;
    cluster.etcd.signal(Signal::CONT)?;
    sequence.is_whole(bound(lease() + secs(4))).await?;
    sequence.ends_with_nothing_lost().await?;
    let logs = cluster.worker_logs("node-1");
    let starts = logs.matches("generation=1 ").count();
    ensure!(starts == 1, "it was launched again though it had been replaced: {logs}");
    cluster.ends_well().await
}
