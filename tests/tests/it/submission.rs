//! Handing topologies in.

use std::fs;

use anyhow::{Context, Result, ensure};
use galerna_coordination::Store;
use galerna_coordination::keys::Keys;
use galerna_protocol::{Artifact, ArtifactChunk, FindArtifactReply, FindArtifactRequest};
use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::harness::{Answer, Cluster, Sequence, Setup, bound, secs, within};

/// The size of chunks.
const CHUNK: usize = 256 * 1024;

/// The artifact that all test topologies have, and its content.
fn artifact() -> Result<(Artifact, Vec<u8>)> {
    let content = fs::read(env!("CARGO_BIN_EXE_test-topologies"))?;
    let sha256 = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let program = "test-topologies".to_owned();
    Ok((Artifact { sha256, bytes: content.len() as u64, program, is_debug: false }, content))
}

fn chunks(artifact: &Artifact, content: &[u8]) -> Vec<ArtifactChunk> {
    let chunk = |(index, content): (usize, &[u8])| ArtifactChunk {
        artifact: (index == 0).then(|| artifact.clone()),
        offset: (index * CHUNK) as u64,
        content: content.to_vec().into(),
    };
    content.chunks(CHUNK).enumerate().map(chunk).collect()
}

async fn found(cluster: &Cluster, artifact: &Artifact) -> Result<FindArtifactReply> {
    let request = FindArtifactRequest { sha256: artifact.sha256.clone() };
    Ok(cluster.nimbus().await?.find_artifact(request).await?.into_inner())
}

#[tokio::test]
async fn submitted_its_first_tuple_is_counted_within_seconds() -> Result<()> {
    let cluster = Setup::supervisors(2).start().await?;
    // Promised to whoever submits a program that the cluster has not seen, and one that it has.
    for promised in [secs(4), secs(2)] {
        let mut sequence = Sequence::workers(2).submit(&cluster).await?;
        sequence.counts(promised).await?;
        sequence.ends_with_nothing_lost().await?;
    }
    cluster.ends_well().await
}

#[tokio::test]
async fn two_clients_submit_one_name_at_once_and_one_of_them_has_it() -> Result<()> {
    let cluster = Setup::supervisors(1).nimbuses(2).start().await?;
    let sequence = Sequence::workers(1);
    let (first, second) = tokio::join!(sequence.try_submit(&cluster), sequence.try_submit(&cluster));
    let (first, second) = (first?, second?);
    let (good, bad): (Vec<&Answer>, Vec<&Answer>) = [&first, &second].into_iter().partition(|it| it.code == Some(0));
    ensure!(good.len() == 1 && bad.len() == 1 && bad[0].code == Some(1), "{first:?}, {second:?}");
    ensure!(bad[0].errors.contains("a topology named `sequence` is already there"), "{}", bad[0].errors);
    let listed = cluster.list().await?;
    ensure!(listed.len() == 1 && listed[0].name == sequence.name(), "{listed:?}");
    cluster.ends_well().await
}

#[tokio::test]
async fn submission_cut_off_half_way_leaves_nothing_and_is_resumed() -> Result<()> {
    let cluster = Setup::supervisors(1).start().await?;
    let (artifact, content) = artifact()?;
    let mut half = chunks(&artifact, &content);
    half.truncate(half.len() / 2);
    let sent: usize = half.iter().map(|chunk| chunk.content.len()).sum();

    // The client falls silent in the middle, and then its connection is gone.
    let mut nimbus = cluster.nimbus().await?;
    let upload = nimbus.upload_artifact(tokio_stream::iter(half).chain(tokio_stream::pending()));
    let arrived = within(bound(secs(10)), "half of it arrives", async || {
        let found = found(&cluster, &artifact).await?;
        Ok(if found.bytes == sent as u64 { Ok(()) } else { Err(format!("{found:?}")) })
    });
    tokio::select! {
        biased;
        arrived = arrived => arrived?,
        answer = upload => anyhow::bail!("half an upload was answered: {answer:?}"),
    }
    drop(nimbus);

    ensure!(!found(&cluster, &artifact).await?.is_complete, "half an artifact counts as a whole one");
    ensure!(cluster.list().await?.is_empty(), "half a submission is listed");
    let stored = cluster.store()?.list(&Keys::new("default").topologies()).await?;
    ensure!(stored.entries.is_empty(), "half a submission is in the store: {stored:?}");
    let mut sequence = Sequence::workers(1).submit(&cluster).await?;
    sequence.flows().await?;
    sequence.ends_with_nothing_lost().await?;
    cluster.ends_well().await
}

#[tokio::test]
async fn artifact_that_was_changed_on_the_way_is_refused() -> Result<()> {
    let cluster = Setup::supervisors(1).start().await?;
    let (artifact, mut content) = artifact()?;
    let middle = content.len() / 2;
    content[middle] ^= 1;
    let mut nimbus = cluster.nimbus().await?;
    let answer = nimbus.upload_artifact(tokio_stream::iter(chunks(&artifact, &content))).await;
    let status = answer.err().context("a changed artifact was taken")?;
    ensure!(status.code() == Code::InvalidArgument, "{status}");
    ensure!(status.message().contains(&artifact.sha256), "the message names no hash: {status}");
    let found = found(&cluster, &artifact).await?;
    ensure!(!found.is_complete && found.bytes == 0, "something is left of it: {found:?}");
    cluster.ends_well().await
}
