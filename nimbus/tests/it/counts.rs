//! Whether counts are told to be exact.

use anyhow::{Context, Result};
use galerna_coordination::get_json;
use galerna_protocol::{KillRequest, TaskReport, WorkerId, WorkerReport, WorkerState};

use crate::cluster::{Client, Cluster, LEASE, client, describe, eventually, submit, worker, workers};

/// A worker that has emitted so much.
fn counted(id: &str, slot: &WorkerId, state: WorkerState, emitted: u64) -> WorkerReport {
    let tasks = vec![TaskReport { task: 1, emitted, ..Default::default() }];
    WorkerReport { tasks, ..worker(id, slot, state, 1) }
}

/// Waits until that was emitted, as far as is known, and whether it is all.
async fn emitted(client: &Client, emitted: u64, are_exact: bool) -> Result<()> {
    eventually(&format!("{emitted} are counted, and that is exact: {are_exact}"), async || {
        let told = describe(client, "words").await?;
        Ok(((told.components[0].emitted, told.are_counts_exact) == (emitted, are_exact)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn lost_supervisor_makes_counts_at_least_until_it_is_back_with_its_disk() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut one = cluster.supervisor("a", 2, &nimbus).await?;
    one.has_disk("d1").await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let slot = workers(&cluster.assigned(&id).await?).pop().context("it has a worker")?;
    one.reports(counted(&id, &slot, WorkerState::Running, 5));
    emitted(&client, 5, true).await?;
    let mut other = cluster.supervisor("b", 2, &nimbus).await?;
    other.has_disk("d2").await?;
    // Until then nobody's absence counts.
    tokio::time::sleep(LEASE).await;
    one.die();
    let slot = eventually("it is moved", async || {
        let moved = workers(&cluster.assigned(&id).await?).pop().filter(|slot| slot.supervisor == "b");
        Ok(moved)
    })
    .await?;
    other.reports(counted(&id, &slot, WorkerState::Running, 7));
    emitted(&client, 12, false).await?;
    let mut back = cluster.supervisor("a", 2, &nimbus).await?;
    back.reports(counted(&id, &WorkerId::new("a", slot.slot), WorkerState::Gone, 6));
    back.has_disk("d1").await?;
    emitted(&client, 13, true).await?;
    // With another disk it has forgotten, whatever it has later.
    back.has_disk("d3").await?;
    emitted(&client, 13, false).await?;
    back.has_disk("d1").await?;
    eventually("it is noted", async || {
        let desired = cluster.desired(&id).await?.context("it lives")?;
        Ok((desired.has_lost_counts && desired.ran_on["a"] == "d1").then_some(()))
    })
    .await?;
    emitted(&client, 13, false).await?;
    other.reports(counted(&id, &slot, WorkerState::Drained, 7));
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), ..Default::default() }).await?;
    let ended = eventually("it is remembered", async || {
        let ended: Option<(serde_json::Value, _)> = get_json(&cluster.store, &cluster.keys.ended(&id)).await?;
        Ok(ended)
    })
    .await?;
    assert_eq!(ended.0["are_counts_exact"], false);
    Ok(())
}

#[tokio::test]
async fn one_that_left_in_order_is_counted_in_until_another_nimbus_leads() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut to_first) = cluster.start().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    let (mut one, mut other) = (cluster.supervisor("a", 1, &second).await?, cluster.supervisor("b", 2, &second).await?);
    one.has_disk("d1").await?;
    other.has_disk("d2").await?;
    let id = submit(&mut to_first, "words", 2).await?.topology_id;
    let first = eventually("both run it", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| workers(assignment).len() == 2))
    })
    .await?;
    for slot in workers(&first) {
        let supervisor = if slot.supervisor == "a" { &one } else { &other };
        supervisor.reports(counted(&id, &slot, WorkerState::Running, 5));
    }
    emitted(&to_first, 10, true).await?;
    one.says_that_it_leaves(std::time::Duration::from_secs(600)).await?;
    let settled = eventually("it hands over", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| assignment.generation == 2))
    })
    .await?;
    for slot in workers(&settled) {
        let supervisor = if slot.supervisor == "a" { &one } else { &other };
        let report = counted(&id, &slot, WorkerState::Running, 5);
        supervisor.reports(WorkerReport { generation: 2, settled_generation: 2, ..report });
    }
    eventually("nothing is assigned to it", async || {
        let assignment = cluster.assignment(&id).await?.context("it lives")?;
        Ok(workers(&assignment).iter().all(|slot| slot.supervisor != "a").then_some(()))
    })
    .await?;
    one.reports(counted(&id, &WorkerId::new("a", 6701), WorkerState::Gone, 6));
    emitted(&to_first, 16, true).await?;
    one.leave().await?;
    // Longer than what it has said last is fresh.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    emitted(&to_first, 16, true).await?;
    nimbus.stop().await;
    let to_second = client(&second).await?;
    eventually("the other leads", async || Ok(second.is_leading().then_some(()))).await?;
    emitted(&to_second, 10, false).await
}
