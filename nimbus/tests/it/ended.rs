//! Topologies that have ended: what is remembered, and by which names it is found.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use galerna_protocol::{
    ErrorReport, KillRequest, ListRequest, LogsRequest, NameRequest, RebalanceRequest, TaskReport, WorkerReport,
    WorkerState,
};
use tonic::Code;

use crate::cluster::{Client, Cluster, Supervisor, describe, eventually, status, submit, worker, workers};
use crate::programs::{Giving, serve};

/// Submits `words`, has it emit and fail, and kills it: its id.
async fn ended(cluster: &Cluster, client: &mut Client, supervisor: &Supervisor, emitted: u64) -> Result<String> {
    let id = submit(client, "words", 1).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    let slot = workers(&assignment).pop().context("it has a worker")?;
    let error =
        ErrorReport { component: "count".into(), task: 3, message: "boom".into(), count: 2, ..Default::default() };
    let report = WorkerReport {
        tasks: vec![TaskReport { task: 1, emitted, ..Default::default() }],
        errors: vec![error],
        ..worker(&id, &slot, WorkerState::Drained, assignment.generation)
    };
    supervisor.reports(report);
    eventually("its counts are known", async || {
        Ok((describe(client, "words").await?.components[0].emitted == emitted).then_some(()))
    })
    .await?;
    client.kill(KillRequest { name: id.clone(), ..KillRequest::default() }).await?;
    eventually("it is gone", async || {
        let living = client.clone().list(ListRequest::default()).await?.into_inner().topologies;
        Ok(living.is_empty().then_some(()))
    })
    .await?;
    Ok(id)
}

#[tokio::test]
async fn ended_topology_is_listed_and_described_by_its_id_and_the_latest_by_its_name() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let first = ended(&cluster, &mut client, &supervisor, 5).await?;
    let second = ended(&cluster, &mut client, &supervisor, 7).await?;

    let request = ListRequest { is_ended: true, ..ListRequest::default() };
    let listed = client.list(request).await?.into_inner();
    assert!(listed.topologies.is_empty());
    let ids: Vec<_> = listed.ended.iter().filter_map(|one| Some(one.summary.as_ref()?.id.as_str())).collect();
    assert_eq!(ids, [second.as_str(), &first]);

    let by_id = describe(&client, &first).await?;
    assert_eq!((by_id.components[0].emitted, by_id.notes.len()), (5, 0));
    assert!(by_id.ended_unix_ms > 0);
    let by_name = describe(&client, "words").await?;
    assert_eq!(by_name.components[0].emitted, 7);
    assert_eq!(by_name.notes, [format!("2 topologies named `words` have ended; this is the latest, {second}")]);
    let summary = by_name.summary.context("it has a summary")?;
    assert_eq!((summary.status.as_str(), summary.tasks, summary.workers), ("KILLED", 6, 0));

    let errors = client.errors(NameRequest { name: first.clone() }).await?.into_inner();
    assert_eq!((errors.errors[0].message.as_str(), errors.errors[0].count), ("boom", 2));

    // One that lives is meant before those that have ended.
    let third = submit(&mut client, "words", 1).await?.topology_id;
    assert_eq!(describe(&client, "words").await?.summary.context("a summary")?.id, third);
    assert_eq!(describe(&client, &first).await?.components[0].emitted, 5);
    Ok(())
}

#[tokio::test]
async fn what_is_remembered_survives_the_leader() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = ended(&cluster, &mut client, &supervisor, 5).await?;
    nimbus.stop().await;
    let (_again, mut client) = cluster.start().await?;
    let errors = client.errors(NameRequest { name: id.clone() }).await?.into_inner().errors;
    assert_eq!(errors[0].message, "boom");
    assert_eq!(describe(&client, "words").await?.components[0].emitted, 5);
    Ok(())
}

#[tokio::test]
async fn id_of_a_living_topology_is_as_good_as_its_name() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let _supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    cluster.assigned(&id).await?;
    client.deactivate(NameRequest { name: id.clone() }).await?;
    assert_eq!(status(&client, "words").await?, "INACTIVE");
    client.activate(NameRequest { name: id.clone() }).await?;
    assert_eq!(status(&client, &id).await?, "ACTIVE");
    let rebalance = RebalanceRequest { name: id.clone(), workers: Some(2), ..RebalanceRequest::default() };
    assert_eq!(client.rebalance(rebalance).await?.into_inner().topology_id, id);
    client.kill(KillRequest { name: id.clone(), wait_secs: Some(600), ..KillRequest::default() }).await?;
    assert_eq!(status(&client, "words").await?, "KILLED");
    // A topology of this name would be meant by the same word.
    let refused = submit(&mut client, &id, 1).await.expect_err("the name is an id").downcast::<tonic::Status>()?;
    assert_eq!(refused.message(), format!("`{id}` is the id of a topology; take another name"));
    Ok(())
}

#[tokio::test]
async fn change_of_an_ended_topology_is_refused_with_its_end() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = ended(&cluster, &mut client, &supervisor, 5).await?;
    for (name, expected) in [
        (id.as_str(), format!("`{id}` runs no more")),
        ("words", format!("no topology named `words` runs: {id} ended")),
    ] {
        let refusal = client.activate(NameRequest { name: name.into() }).await.expect_err("it has ended");
        assert_eq!(refusal.code(), Code::NotFound);
        assert!(refusal.message().starts_with(&expected), "{}", refusal.message());
        assert!(refusal.message().contains(&format!("`describe {id}`")), "{}", refusal.message());
    }
    let refusal = describe(&client, "wrods").await.expect_err("there is none");
    assert_eq!(refusal.message(), "no topology named `wrods`; did you mean `words`, which has ended?");
    Ok(())
}

#[tokio::test]
async fn submission_of_a_name_that_drains_says_how_long_that_may_still_take() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    crate::cluster::all_report(&supervisor, &id, &assignment, WorkerState::Running);
    let refusal = async |client: &mut Client| {
        let refused = submit(client, "words", 1).await.expect_err("the name is taken");
        refused.downcast::<tonic::Status>()
    };
    let refused = refusal(&mut client).await?;
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().ends_with(&format!("{id}; kill it first, or take another name")), "{refused}");
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), ..KillRequest::default() }).await?;
    let refused = refusal(&mut client).await?;
    assert_eq!(refused.code(), Code::AlreadyExists);
    let message = refused.message();
    assert!(message.starts_with(&format!("a topology named `words` is still draining: {id} was killed")), "{message}");
    let left = message.split("up to ").nth(1).and_then(|rest| rest.split(' ').next()).context("it says how long")?;
    assert!((500..=600).contains(&left.parse::<u32>()?), "{message}");
    Ok(())
}

#[tokio::test]
async fn logs_of_an_ended_topology_come_from_the_supervisors_that_ran_it() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let (address, server) = serve("127.0.0.1:0", Giving::nothing()).await?;
    let supervisor = cluster.supervisor_at("a", address.port(), 1, &nimbus).await?;
    let first = ended(&cluster, &mut client, &supervisor, 5).await?;
    let second = ended(&cluster, &mut client, &supervisor, 7).await?;
    let logs = async |client: &mut Client, name: &str| -> Result<Vec<(String, String)>> {
        let request = LogsRequest { name: name.into(), follow: false, last_lines: 7 };
        let mut chunks = client.logs(request).await?.into_inner();
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            lines.push((chunk.note, String::from_utf8(chunk.content)?));
        }
        Ok(lines)
    };
    let line = (String::new(), "last 7 of 6701\n".to_owned());
    assert_eq!(logs(&mut client, &first).await?, std::slice::from_ref(&line));
    let by_name = logs(&mut client, "words").await?;
    assert!(by_name[0].0.ends_with(&format!("this is the latest, {second}")), "{by_name:?}");
    assert_eq!(by_name[1..], [line]);
    drop(server);
    let unreachable = logs(&mut client, &first).await?;
    assert!(unreachable[0].1.starts_with("(the log of a:6701 cannot be read"), "{unreachable:?}");
    Ok(())
}
