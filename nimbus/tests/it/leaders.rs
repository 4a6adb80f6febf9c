//! Who leads, and what becomes of the rest when that changes.

use anyhow::{Context, Result};
use galerna_protocol::{ListRequest, WorkerState};

use crate::cluster::{Cluster, LEASE, client, describe, eventually, status, submit, worker, workers};

#[tokio::test]
async fn follower_answers_by_the_leader_and_takes_over_without_moving_anything() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, _) = cluster.start().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    let mut client = client(&second).await?;
    let supervisor = cluster.supervisor("a", 4, &second).await?;
    let id = submit(&mut client, "words", 2).await?.topology_id;
    let before = cluster.assigned(&id).await?;
    for slot in workers(&before) {
        supervisor.reports(worker(&id, &slot, WorkerState::Running, 1));
    }
    let are_all_running = async || {
        let described = describe(&client, "words").await?;
        let running = described.workers.iter().filter(|one| one.state() == WorkerState::Running).count();
        Ok((running == 2).then_some(()))
    };
    eventually("reports reach the leader", are_all_running).await?;
    assert!(!second.is_leading());
    drop(first);
    eventually("the other leads", async || Ok(second.is_leading().then_some(()))).await?;
    eventually("it knows what is reported", are_all_running).await?;
    // Longer than it takes until an absence counts.
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(cluster.assignment(&id).await?, Some(before));
    assert_eq!(status(&client, "words").await?, "ACTIVE");
    Ok(())
}

#[tokio::test]
async fn new_leader_moves_nothing_of_a_supervisor_that_comes_back_within_a_lease() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let (one, other) = (cluster.supervisor("a", 2, &first).await?, cluster.supervisor("b", 2, &first).await?);
    let id = submit(&mut to_first, "words", 2).await?.topology_id;
    let before = cluster.assigned(&id).await?;
    drop(first);
    // Its registration is gone when the new leader looks, and comes back a little later.
    other.leave().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    eventually("the other leads", async || Ok(second.is_leading().then_some(()))).await?;
    let mut to_second = client(&second).await?;
    to_second.list(ListRequest::default()).await?;
    let back = cluster.supervisor("b", 2, &second).await?;
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(cluster.assignment(&id).await?, Some(before));
    drop((one, back));
    Ok(())
}

#[tokio::test]
async fn tasks_of_a_lost_supervisor_run_elsewhere() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let one = cluster.supervisor("a", 2, &nimbus).await?;
    let _other = cluster.supervisor("b", 2, &nimbus).await?;
    let id = submit(&mut client, "words", 2).await?.topology_id;
    cluster.assigned(&id).await?;
    // Until then nobody's absence counts.
    tokio::time::sleep(LEASE).await;
    one.die();
    let moved = eventually("it is moved", async || {
        let assignment = cluster.assignment(&id).await?.context("it stays assigned")?;
        Ok(workers(&assignment).iter().all(|worker| worker.supervisor == "b").then_some(assignment))
    })
    .await?;
    assert_eq!(moved.workers.iter().map(|worker| worker.executors.len()).sum::<usize>(), 4);
    Ok(())
}

#[tokio::test]
async fn second_nimbus_on_a_folder_is_told_and_does_not_start() -> Result<()> {
    let cluster = Cluster::new()?;
    let first = cluster.nimbus("n1", &cluster.store).await?;
    let refusal = cluster.nimbus("n1", &cluster.store).await.err().context("the folder is taken")?.to_string();
    assert!(refusal.contains("another nimbus is running on the data folder"), "{refusal}");
    first.stop().await;
    cluster.nimbus("n1", &cluster.store).await?;
    Ok(())
}
