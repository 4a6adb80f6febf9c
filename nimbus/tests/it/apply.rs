//! What `apply` asks: comparisons, changes that are meant for one topology, owners.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use galerna_protocol::{
    CompareReply, CompareRequest, Comparison, KillRequest, ListRequest, RebalanceRequest, SetOwnerRequest,
    SubmitRequest, TopologySpec, WorkerState,
};
use tonic::Code;

use crate::cluster::{Client, Cluster, artifact, client, eventually, spec, status, submit, upload, worker, workers};
use crate::elf;

/// What [`submit`] submits.
fn submitted(workers: u32) -> TopologySpec {
    spec("words", workers, &artifact(&elf::program(elf::X86_64, Some("GLIBC_2.34"), "words")))
}

async fn compare(client: &Client, spec: TopologySpec) -> Result<CompareReply> {
    Ok(client.clone().compare(CompareRequest { spec: Some(spec) }).await?.into_inner())
}

/// How it compares, and why.
async fn compared(client: &Client, spec: TopologySpec) -> Result<(Comparison, Vec<String>)> {
    let reply = compare(client, spec).await?;
    Ok((reply.comparison(), reply.reasons))
}

fn because(comparison: Comparison, reasons: &[&str]) -> (Comparison, Vec<String>) {
    (comparison, reasons.iter().map(|reason| (*reason).to_owned()).collect())
}

#[tokio::test]
async fn comparison_follows_a_topology_through_its_life() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    assert_eq!(compared(&client, submitted(1)).await?, because(Comparison::Absent, &[]));
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let same = compare(&client, submitted(1)).await?;
    assert_eq!((same.comparison(), same.reasons.len()), (Comparison::Unchanged, 0));
    assert_eq!((same.topology_id.as_str(), same.status.as_str(), same.is_inactive), (id.as_str(), "ACTIVE", false));
    assert_eq!(same.drain_ms, 30_000);

    let assignment = cluster.assigned(&id).await?;
    let slot = workers(&assignment).pop().context("it has a worker")?;
    supervisor.reports(worker(&id, &slot, WorkerState::Running, assignment.generation));
    let mut wider = submitted(2);
    wider.components[1].executors = 4;
    let reasons = ["workers: 1 → 2", "component count: 2 → 4 executors"];
    assert_eq!(compared(&client, wider.clone()).await?, because(Comparison::Scaled, &reasons));
    let request = RebalanceRequest {
        name: "words".into(),
        workers: Some(2),
        executors: BTreeMap::from([("count".to_owned(), 4)]).into_iter().collect(),
        wait_secs: Some(600),
        topology_id: id.clone(),
    };
    client.rebalance(request).await?;
    // What is wanted counts, though it is not there yet.
    assert_eq!(compared(&client, wider.clone()).await?, because(Comparison::Unchanged, &[]));
    let back = ["workers: 2 → 1", "component count: 4 → 2 executors"];
    assert_eq!(compared(&client, submitted(1)).await?, because(Comparison::Scaled, &back));

    let mut other = submitted(2);
    other.components[1].executors = 4;
    other.config = other.config.replace("hidden", "other");
    let reasons = ["config db.password: another value"];
    assert_eq!(compared(&client, other.clone()).await?, because(Comparison::Changed, &reasons));
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), topology_id: id }).await?;
    let ending = compare(&client, other).await?;
    assert_eq!((ending.comparison(), ending.status.as_str()), (Comparison::Ending, "KILLED"));
    assert!((590_000..=600_000).contains(&ending.drain_ms), "{}", ending.drain_ms);
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(0), ..KillRequest::default() }).await?;
    eventually("its name is free", async || {
        Ok((compared(&client, wider.clone()).await? == because(Comparison::Absent, &[])).then_some(()))
    })
    .await
}

#[tokio::test]
async fn numbers_of_what_has_finished_make_no_difference_but_anything_else_does() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let slot = workers(&cluster.assigned(&id).await?).pop().context("it has a worker")?;
    let mut report = worker(&id, &slot, WorkerState::Finished, 1);
    report.failure = "gave up 1 tuple".into();
    supervisor.reports(report);
    eventually("it has finished", async || Ok((status(&client, "words").await? == "FINISHED").then_some(()))).await?;
    let wider = compare(&client, submitted(3)).await?;
    assert_eq!((wider.comparison(), wider.failure.as_str()), (Comparison::Unchanged, "gave up 1 tuple"));
    let mut other = submitted(3);
    other.components[0].cpu = 50.0;
    let (comparison, reasons) = compared(&client, other).await?;
    assert_eq!((comparison, reasons[0].as_str()), (Comparison::Changed, "component words: CPU load 0 → 50"));
    Ok(())
}

#[tokio::test]
async fn changes_that_are_meant_for_another_topology_of_the_name_are_refused() -> Result<()> {
    let cluster = Cluster::new()?;
    let (_nimbus, mut client) = cluster.start().await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let (name, topology_id) = ("words".to_owned(), "words-0".to_owned());
    let kill = KillRequest { name: name.clone(), wait_secs: Some(0), topology_id: topology_id.clone() };
    let rebalance = RebalanceRequest {
        name: name.clone(),
        workers: Some(2),
        topology_id: topology_id.clone(),
        ..RebalanceRequest::default()
    };
    let owner = SetOwnerRequest { name, topology_id, owner: "me".into() };
    let refusals = [
        client.kill(kill).await.expect_err("it is another"),
        client.rebalance(rebalance).await.expect_err("it is another"),
        client.set_owner(owner).await.expect_err("it is another"),
    ];
    for refusal in refusals {
        let told = format!("`words` is {id} by now, not words-0");
        assert_eq!((refusal.code(), refusal.message()), (Code::Aborted, told.as_str()));
    }
    assert_eq!(compared(&client, submitted(1)).await?, because(Comparison::Unchanged, &[]));
    Ok(())
}

#[tokio::test]
async fn new_owner_is_known_to_the_next_leader_and_changes_nothing_that_runs() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut first) = cluster.start().await?;
    let _supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut first, "words", 1).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    let owner = |owner: &str| SetOwnerRequest { name: "words".into(), topology_id: id.clone(), owner: owner.into() };
    let refusal = first.set_owner(owner("a\nb")).await.expect_err("no line of a list");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    first.set_owner(owner("you")).await?;
    let mut other = client(&nimbus).await?;
    let (one, two) = tokio::join!(first.set_owner(owner("me")), other.set_owner(owner("me")));
    assert_eq!((one?.into_inner().topology_id, two?.into_inner().topology_id), (id.clone(), id.clone()));
    let follower = cluster.nimbus("n2", &cluster.store).await?;
    let mut client = client(&follower).await?;
    // Forwarded to the leader first, then answered by itself.
    assert_eq!(compare(&client, submitted(1)).await?.owner, "me");
    nimbus.stop().await;
    eventually("the other leads", async || Ok(follower.is_leading().then_some(()))).await?;
    let found = compare(&client, TopologySpec { owner: "nobody".into(), ..submitted(1) }).await?;
    assert_eq!((found.comparison(), found.owner.as_str()), (Comparison::Unchanged, "me"));
    assert_eq!(client.list(ListRequest::default()).await?.into_inner().topologies[0].owner, "me");
    assert_eq!(cluster.assignment(&id).await?, Some(assignment));
    Ok(())
}

#[tokio::test]
async fn check_finds_what_submit_would_refuse_and_starts_nothing() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let _supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    submit(&mut client, "words", 1).await?;
    let foreign = elf::program(elf::AARCH64, None, "");
    upload(&mut client, &artifact(&foreign), &foreign, 0).await?;
    let check = |spec: TopologySpec| SubmitRequest { spec: Some(spec), is_inactive: false };
    for (spec, code, told) in [
        (spec("words", 1, &artifact(&foreign)), Code::FailedPrecondition, "aarch64"),
        (spec("words", 0, &artifact(&foreign)), Code::InvalidArgument, "`topology.workers` is 0"),
    ] {
        let refusal =
            eventually("the supervisor is known", async || Ok(client.clone().check(check(spec.clone())).await.err()))
                .await?;
        assert_eq!(refusal.code(), code);
        assert!(refusal.message().contains(told), "{}", refusal.message());
    }
    // That the name is taken is no matter.
    client.check(check(submitted(2))).await?;
    assert_eq!(client.list(ListRequest::default()).await?.into_inner().topologies.len(), 1);
    Ok(())
}
