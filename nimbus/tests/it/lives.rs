//! The lives of topologies, as their workers report them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use galerna_protocol::{
    KillRequest, LaunchFailure, ListRequest, NameRequest, RebalanceRequest, TaskReport, WorkerReport, WorkerState,
};
use tonic::Code;

use crate::cluster::{
    Client, Cluster, all_report, client, describe, eventually, spread, status, submit, worker, workers,
};

async fn is_gone(client: &Client, name: &str) -> Result<()> {
    eventually("it is gone", async || {
        let listed = client.clone().list(ListRequest::default()).await?.into_inner().topologies;
        Ok(listed.iter().all(|one| one.name != name).then_some(()))
    })
    .await
}

#[tokio::test]
async fn killed_topology_is_removed_as_soon_as_it_is_drained_and_its_name_is_free() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 2).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    all_report(&supervisor, &id, &assignment, WorkerState::Running);
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), ..KillRequest::default() }).await?;
    assert_eq!(status(&client, "words").await?, "KILLED");
    let name = NameRequest { name: "words".into() };
    let refusal = client.activate(name).await.expect_err("it is being killed");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("`words` is KILLED"), "{}", refusal.message());
    all_report(&supervisor, &id, &assignment, WorkerState::Drained);
    is_gone(&client, "words").await?;
    assert_eq!(cluster.assignment(&id).await?, None);
    assert_eq!(cluster.desired(&id).await?, None);
    let again = submit(&mut client, "words", 1).await?.topology_id;
    assert_ne!(again, id);
    Ok(())
}

#[tokio::test]
async fn killed_topology_that_does_not_drain_is_removed_at_its_deadline() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    all_report(&supervisor, &id, &cluster.assigned(&id).await?, WorkerState::Running);
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), ..KillRequest::default() }).await?;
    let shorter = client
        .kill(KillRequest { name: "words".into(), wait_secs: Some(0), ..KillRequest::default() })
        .await?
        .into_inner();
    assert!(shorter.notes[0].contains("being killed already"), "{:?}", shorter.notes);
    is_gone(&client, "words").await
}

#[tokio::test]
async fn finished_topology_keeps_its_final_counts_until_it_is_killed() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    let slot = workers(&assignment).pop().context("it has a worker")?;
    let report = |incarnation, state, emitted| WorkerReport {
        incarnation,
        tasks: vec![TaskReport { task: 1, emitted, ..Default::default() }],
        ..worker(&id, &slot, state, 1)
    };
    // Its first incarnation has finished, but was followed by another.
    supervisor.reports(report(1, WorkerState::Finished, 5));
    supervisor.reports(report(2, WorkerState::Running, 7));
    eventually("both are summed", async || {
        Ok((describe(&client, "words").await?.components[0].emitted == 12).then_some(()))
    })
    .await?;
    assert_eq!(status(&client, "words").await?, "ACTIVE");
    let last = WorkerReport { failure: "gave up 1 tuple".into(), ..report(2, WorkerState::Finished, 8) };
    supervisor.reports(last.clone());
    eventually("it has finished", async || Ok((status(&client, "words").await? == "FINISHED").then_some(()))).await?;
    supervisor.reports(WorkerReport { state: WorkerState::Gone.into(), ..last });
    eventually("its slots are free", async || Ok(cluster.assignment(&id).await?.is_none().then_some(()))).await?;
    // Nobody reports it any more.
    supervisor.die();
    let described = describe(&client, "words").await?;
    assert_eq!((described.generation, described.components[0].emitted), (assignment.generation, 13));
    assert!(described.are_counts_exact);
    assert_eq!(described.failure, "gave up 1 tuple");
    client.kill(KillRequest { name: "words".into(), wait_secs: None, ..KillRequest::default() }).await?;
    let listed = client.list(ListRequest::default()).await?.into_inner().topologies;
    assert!(listed.is_empty(), "{listed:?}");
    Ok(())
}

#[tokio::test]
async fn rebalanced_topology_is_rebalancing_until_all_is_handed_over() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let (one, other) = (cluster.supervisor("a", 4, &nimbus).await?, cluster.supervisor("b", 4, &nimbus).await?);
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    all_report(&one, &id, &first, WorkerState::Running);
    all_report(&other, &id, &first, WorkerState::Running);
    let request = RebalanceRequest {
        name: "words".into(),
        workers: Some(2),
        executors: BTreeMap::from([("count".to_owned(), 4)]).into_iter().collect(),
        wait_secs: Some(600),
        ..RebalanceRequest::default()
    };
    client.rebalance(request.clone()).await?;
    let second = eventually("it is assigned anew", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| assignment.generation == 2))
    })
    .await?;
    assert!(!second.handovers.is_empty());
    assert_eq!(status(&client, "words").await?, "REBALANCING");
    let refusal = client.rebalance(request).await.expect_err("it is being rebalanced");
    assert!(refusal.message().contains("REBALANCING"), "{}", refusal.message());
    all_report(&one, &id, &second, WorkerState::Running);
    all_report(&other, &id, &second, WorkerState::Running);
    eventually("it is done", async || Ok((status(&client, "words").await? == "ACTIVE").then_some(()))).await?;
    let third = cluster.assignment(&id).await?.context("it stays assigned")?;
    assert_eq!((third.generation, third.handovers.len()), (3, 0));
    assert_eq!(spread(&third), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
    let described = describe(&client, "words").await?;
    assert_eq!((described.workers.len(), described.executors.len()), (2, 6));
    Ok(())
}

#[tokio::test]
async fn rebalance_refuses_what_cannot_be_and_suggests_what_can() -> Result<()> {
    let cluster = Cluster::new()?;
    let (_nimbus, mut client) = cluster.start().await?;
    submit(&mut client, "words", 1).await?;
    for (workers, executors, expected) in [
        (Some(0), None, "0 workers were asked for, expected 1 to 10000"),
        (None, Some(("cuont", 2)), "`words` has no component `cuont`; did you mean `count`?"),
        (None, Some(("count", 5)), "`count` has 4 tasks, so that it can have 1 to 4 executors, not 5"),
        (None, Some(("count", 0)), "`count` has 4 tasks"),
    ] {
        let executors = executors.into_iter().map(|(id, executors): (&str, u32)| (id.to_owned(), executors)).collect();
        let request = RebalanceRequest { name: "words".into(), workers, executors, ..RebalanceRequest::default() };
        let refusal = client.rebalance(request).await.expect_err(expected);
        assert_eq!(refusal.code(), Code::InvalidArgument);
        assert!(refusal.message().contains(expected), "{}", refusal.message());
    }
    Ok(())
}

#[tokio::test]
async fn changes_at_once_are_all_made() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut one) = cluster.start().await?;
    let mut other = client(&nimbus).await?;
    submit(&mut one, "words", 1).await?;
    let name = NameRequest { name: "words".into() };
    let kill = KillRequest { name: "words".into(), wait_secs: Some(600), ..KillRequest::default() };
    let (paused, killed) = tokio::join!(one.deactivate(name), other.kill(kill));
    killed?;
    // Whether it came first or second, it was not half done.
    if let Err(refusal) = paused {
        assert!(matches!(refusal.code(), Code::FailedPrecondition | Code::NotFound), "{refusal:?}");
    }
    is_gone(&one, "words").await
}

#[tokio::test]
async fn worker_that_does_not_stay_up_is_told_of_and_moved_to_another_supervisor() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let one = cluster.supervisor("a", 2, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let slot = workers(&cluster.assigned(&id).await?).pop().context("it has a worker")?;
    one.fails(LaunchFailure {
        topology_id: id.clone(),
        slot: slot.slot,
        attempts: 4,
        message: "cannot open socket\n".into(),
        last_unix_ms: 1,
    });
    let expected = format!("worker a:{} does not stay up (4 attempts): cannot open socket", slot.slot);
    eventually("it is told", async || {
        Ok(describe(&client, "words").await?.unscheduled.contains(&expected).then_some(()))
    })
    .await?;
    let _other = cluster.supervisor("b", 2, &nimbus).await?;
    eventually("it is moved", async || {
        let assignment = cluster.assignment(&id).await?.context("it stays assigned")?;
        Ok((spread(&assignment) == BTreeMap::from([("b".to_owned(), 1)])).then_some(()))
    })
    .await
}
