//! How a topology comes in.

use anyhow::{Context, Result};
use galerna_protocol::{ListRequest, NameRequest, SubmitRequest, SupervisorsRequest};
use tonic::Code;

use crate::cluster::{Cluster, artifact, client, describe, eventually, spec, submit, upload};
use crate::elf;

#[tokio::test]
async fn submitted_topology_is_listed_assigned_and_described_without_secrets() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let _supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let reply = submit(&mut client, "words", 2).await?;
    let listed = client.list(ListRequest::default()).await?.into_inner().topologies;
    let shown: Vec<_> =
        listed.iter().map(|one| (one.name.as_str(), one.status.as_str(), one.tasks, one.executors)).collect();
    assert_eq!(shown, [("words", "ACTIVE", 6, 4)]);
    let assignment = cluster.assigned(&reply.topology_id).await?;
    assert_eq!((assignment.generation, assignment.workers.len()), (1, 2));
    assert_eq!(assignment.workers[0].supervisor_address, "127.0.0.1:6700");
    let described = describe(&client, "words").await?;
    assert_eq!((described.generation, described.workers.len(), described.executors.len()), (1, 2, 4));
    let config = described.spec.context("it has a specification")?.config;
    assert!(config.contains(r#""db.password":"********""#), "{config}");
    let supervisors = client.supervisors(SupervisorsRequest {}).await?.into_inner().supervisors;
    assert_eq!((supervisors[0].slots, supervisors[0].used), (4, 2));
    Ok(())
}

#[tokio::test]
async fn of_two_submissions_of_one_name_at_once_one_wins_and_the_other_is_told() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut first) = cluster.start().await?;
    let mut second = client(&nimbus).await?;
    let content = elf::program(elf::X86_64, None, "words");
    let artifact = artifact(&content);
    upload(&mut first, &artifact, &content, 0).await?;
    let request = SubmitRequest { spec: Some(spec("words", 1, &artifact)), is_inactive: false };
    let (one, other) = tokio::join!(first.submit(request.clone()), second.submit(request));
    let refusals: Vec<_> = [one, other].into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].code(), Code::AlreadyExists);
    assert!(refusals[0].message().contains("a topology named `words` is already there"), "{}", refusals[0].message());
    assert_eq!(first.list(ListRequest::default()).await?.into_inner().topologies.len(), 1);
    Ok(())
}

#[tokio::test]
async fn program_of_another_architecture_or_newer_glibc_is_refused_with_both_values() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let alone = submit(&mut client, "early", 1).await?;
    assert!(alone.notes.iter().any(|note| note.contains("no supervisor is there yet")), "{:?}", alone.notes);
    let _supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    eventually("the supervisor is known", async || {
        let known = client.clone().supervisors(SupervisorsRequest {}).await?.into_inner().supervisors;
        Ok((!known.is_empty()).then_some(()))
    })
    .await?;
    for (content, expected) in [
        (elf::program(elf::AARCH64, None, ""), ["aarch64", "x86_64", "--target"]),
        (elf::program(elf::X86_64, Some("GLIBC_2.39"), ""), ["glibc 2.39", "glibc 2.36", "musl"]),
        (b"#!/bin/sh".to_vec(), ["it is a script", "ELF", "Linux"]),
    ] {
        let artifact = artifact(&content);
        upload(&mut client, &artifact, &content, 0).await?;
        let request = SubmitRequest { spec: Some(spec("words", 1, &artifact)), is_inactive: false };
        let refusal = client.submit(request).await.expect_err("it cannot run");
        assert_eq!(refusal.code(), Code::FailedPrecondition);
        for part in expected {
            assert!(refusal.message().contains(part), "{part}: {}", refusal.message());
        }
    }
    Ok(())
}

#[tokio::test]
async fn unknown_name_is_answered_with_the_nearest_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let (_nimbus, mut client) = cluster.start().await?;
    let name = |name: &str| NameRequest { name: name.into() };
    let refusal = client.describe(name("words")).await.expect_err("there is none");
    assert_eq!((refusal.code(), refusal.message()), (Code::NotFound, "no topology named `words`; there is none"));
    submit(&mut client, "words", 1).await?;
    let refusal = client.activate(name("wrods")).await.expect_err("there is no such");
    assert_eq!(refusal.message(), "no topology named `wrods`; did you mean `words`?");
    let refusal = client.errors(name("x")).await.expect_err("there is no such");
    assert_eq!(refusal.message(), "no topology named `x`; there is words");
    Ok(())
}
