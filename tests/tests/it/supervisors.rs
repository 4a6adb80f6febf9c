//! What befalls supervisors.

use anyhow::{Context, Result, ensure};

use galerna_coordination::Store;
use galerna_coordination::keys::{Keys, Registration};

use crate::harness::{Fault, Sequence, Setup, bound, lease, secs, within};

#[tokio::test]
async fn supervisor_and_its_workers_killed_their_tasks_run_elsewhere_and_nothing_is_lost() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let victims = before.workers_on("node-2");
    ensure!(!victims.is_empty(), "no worker runs on node-2: {before:?}");

    let fault = Fault::begins();
    cluster.supervisor("node-2")?.kill()?;
    for worker in &victims {
        sequence.kill_worker(worker)?;
    }
    sequence.flows_again(fault.is_done(), lease() + secs(2)).await?;

    let after = sequence.is_whole(bound(secs(2))).await?;
    ensure!(after.workers_on("node-2").is_empty(), "still assigned to node-2: {after:?}");
    for worker in before.workers_on("node-1") {
        ensure!(after.workers().iter().any(|other| other.pid == worker.pid), "{worker:?} was healthy, and is gone");
    }
    cluster.supervisor("node-2")?.restart()?;
    cluster.knows_supervisors(2, bound(lease())).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn supervisor_killed_alone_and_restarted_adopts_its_workers() -> Result<()> {
    let cluster = Setup::supervisors(1).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;

    let fault = Fault::begins();
    cluster.supervisor("node-1")?.kill()?;
    cluster.supervisor("node-1")?.restart()?;
    // The promise is that nobody notices; a second is what the measuring itself may take.
    sequence.flows_again(fault, secs(1)).await?;
    let adopted = sequence.is_whole(bound(lease())).await?;
    ensure!(adopted.launches() == before.launches(), "{:?} became {:?}", before.launches(), adopted.launches());

    // An adopted worker is no child; its end is noticed all the same.
    let fault = Fault::begins();
    sequence.kill_worker(adopted.workers().first().context("no worker")?)?;
    sequence.flows_again(fault, secs(1)).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

/// As a pod that is started anew with another address.
#[tokio::test]
async fn supervisor_that_is_back_at_an_ipv6_address_runs_its_tasks_there() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    let mut sequence = Sequence::workers(2).with("rate", 200).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.state().await?;
    let victims = before.workers_on("node-2");
    ensure!(!victims.is_empty(), "no worker runs on node-2: {before:?}");

    let fault = Fault::begins();
    let moving = cluster.supervisor("node-2")?;
    moving.kill()?;
    for worker in &victims {
        sequence.kill_worker(worker)?;
    }
    let listen = format!("[::1]:{}", Setup::slot(1, 0) - 1);
    moving.restart_with(&[("--listen", &listen), ("--advertise", "::1")])?;
    sequence.flows_again(fault, lease() + secs(2)).await?;
    // Where it takes longer than a lease to come back, its tasks have been elsewhere meanwhile.
    within(bound(lease() + secs(4)), "its tasks run there again", async || {
        let state = sequence.state().await?;
        let there = state.workers_on("node-2");
        let are_there = !there.is_empty() && there.iter().all(|worker| worker.address.starts_with("[::1]:"));
        Ok(if are_there { Ok(()) } else { Err(format!("{state:?}")) })
    })
    .await?;
    sequence.is_whole(bound(lease() + secs(2))).await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn second_supervisor_of_a_name_is_told_so_and_exits() -> Result<()> {
    let setup = Setup::supervisors(1);
    let cluster = setup.start().await?;
    let second = setup.further_supervisor(&cluster, 1, "node-1")?;
    // It waits whether the first one is a predecessor that is gone: a lease and a half, and a second.
    let exit = second.ends(bound(lease().mul_f64(1.5) + secs(3))).await?;
    ensure!(exit.code() == Some(1), "it ended with {exit}");
    let log = second.log();
    let first = format!("{}:7000", cluster.host);
    ensure!(log.contains("`node-1`") && log.contains("already there") && log.contains(&first), "it says: {log}");
    cluster.knows_supervisors(1, bound(secs(1))).await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn supervisor_told_to_stop_says_so_and_waits_until_a_second_signal_or_nobody_could_replace_it() -> Result<()> {
    let cluster = Setup::supervisors(2).leave_within(600).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let state = sequence.state().await?;
    ensure!(!state.workers_on("node-2").is_empty(), "no worker runs on node-2: {state:?}");
    // Without it nothing is moved away.
    cluster.nimbuses[0].kill()?;

    let leaving = cluster.supervisor("node-2")?;
    leaving.terminate()?;
    let (store, key) = (cluster.store()?, Keys::new("default").supervisor("node-2"));
    let waits = async || {
        let registration: Option<Registration> = store.get(&key).await?.map(|entry| entry.json()).transpose()?;
        let is_said = registration.is_some_and(|it| it.is_leaving && it.leave_by_unix_ms > 0);
        let waits = leaving.log().contains("leaving: waiting for 1 worker of ");
        Ok(if is_said && waits { Ok(()) } else { Err(format!("said: {is_said}, waits: {waits}")) })
    };
    within(bound(secs(2)), "node-2 says that it leaves, and waits", waits).await?;
    ensure!(leaving.exit()?.is_none(), "it has not waited");
    leaving.terminate()?;
    // As long as workers may take to end, and the last report.
    let exit = leaving.ends(bound(secs(8))).await?;
    ensure!(exit.success(), "it ended with {exit}");

    let last = cluster.supervisor("node-1")?;
    last.terminate()?;
    let exit = last.ends(bound(secs(8))).await?;
    ensure!(exit.success(), "it ended with {exit}");
    ensure!(last.log().contains("no other supervisor could take what runs here"), "it says: {}", last.log());

    let fault = Fault::begins();
    cluster.nimbuses[0].restart()?;
    leaving.restart()?;
    last.restart()?;
    sequence.flows_again(fault, lease() * 2 + secs(4)).await?;
    sequence.ends_with_nothing_lost().await?;
    for supervisor in [leaving, last] {
        supervisor.terminate()?;
        supervisor.ends(bound(secs(8))).await?;
    }
    cluster.ends_well().await
}

#[tokio::test]
async fn slot_port_taken_by_another_program_its_worker_listens_elsewhere() -> Result<()> {
    let cluster = Setup::supervisors(1).slots(2).start().await?;
    let port = Setup::slot(0, 0);
    let _other = tokio::net::TcpListener::bind((cluster.host.as_str(), port)).await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let state = sequence.is_whole(bound(secs(1))).await?;
    let mut addresses: Vec<&str> = state.workers().iter().map(|worker| worker.address.as_str()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let taken = format!("{}:{port}", cluster.host);
    ensure!(addresses.len() == 2 && !addresses.contains(&taken.as_str()), "workers listen at {addresses:?}");
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}
