//! How programs come in, and get around.

use anyhow::Result;
use galerna_protocol::{DownloadArtifactRequest, FindArtifactRequest, SubmitRequest};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::cluster::{Client, Cluster, artifact, client, eventually, spec, upload, upload_of};
use crate::elf;

async fn found(client: &mut Client, sha256: &str) -> Result<(bool, u64)> {
    let reply = client.find_artifact(FindArtifactRequest { sha256: sha256.into() }).await?.into_inner();
    Ok((reply.is_complete, reply.bytes))
}

#[tokio::test]
async fn cut_off_upload_is_not_there_and_is_gone_on_with() -> Result<()> {
    let cluster = Cluster::new()?;
    let (_nimbus, mut client) = cluster.start().await?;
    let content = elf::program(elf::X86_64, None, &"x".repeat(1000));
    let artifact = artifact(&content);
    let cut_off = upload_of(&artifact, &content, 0).into_iter().take(4);
    let refusal = client.upload_artifact(tokio_stream::iter(cut_off)).await.expect_err("it was cut off");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(found(&mut client, &artifact.sha256).await?, (false, 300));
    let request = SubmitRequest { spec: Some(spec("words", 1, &artifact)), is_inactive: false };
    let refusal = client.submit(request.clone()).await.expect_err("its program is not there");
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert!(refusal.message().contains("upload it first"), "{}", refusal.message());
    upload(&mut client, &artifact, &content, 300).await?;
    assert_eq!(found(&mut client, &artifact.sha256).await?, (true, content.len() as u64));
    client.submit(request).await?;
    Ok(())
}

#[tokio::test]
async fn changed_bytes_are_refused_and_leave_nothing() -> Result<()> {
    let cluster = Cluster::new()?;
    let (_nimbus, mut client) = cluster.start().await?;
    let mut content = elf::program(elf::X86_64, None, "words");
    let artifact = artifact(&content);
    content[70] ^= 1;
    let refusal = upload(&mut client, &artifact, &content, 0).await.expect_err("something else");
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(refusal.message().contains("upload it again"), "{}", refusal.message());
    assert_eq!(found(&mut client, &artifact.sha256).await?, (false, 0));
    Ok(())
}

#[tokio::test]
async fn every_nimbus_has_the_program_before_the_answer_and_a_new_one_gets_it() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    let mut to_second = client(&second).await?;
    let members = cluster.keys.members();
    eventually("both are members", async || {
        use galerna_coordination::Store;
        Ok((cluster.store.list(&members).await?.entries.len() == 2).then_some(()))
    })
    .await?;
    let content = elf::program(elf::X86_64, None, &"x".repeat(1000));
    let artifact = artifact(&content);
    // It is uploaded to the one that does not lead, and submitted there.
    upload(&mut to_second, &artifact, &content, 0).await?;
    let request = SubmitRequest { spec: Some(spec("words", 1, &artifact)), is_inactive: false };
    to_second.submit(request).await?;
    assert_eq!(found(&mut to_first, &artifact.sha256).await?, (true, content.len() as u64));
    let third = cluster.nimbus("n3", &cluster.store).await?;
    let to_third = client(&third).await?;
    eventually("the new one has it", async || {
        Ok(found(&mut to_third.clone(), &artifact.sha256).await?.0.then_some(()))
    })
    .await?;
    drop((first, second));
    let request = DownloadArtifactRequest { sha256: artifact.sha256.clone(), offset: 500 };
    let mut chunks = to_third.clone().download_artifact(request).await?.into_inner();
    let mut came = Vec::new();
    while let Some(chunk) = chunks.next().await {
        came.extend(chunk?.content);
    }
    assert_eq!(came, content[500..]);
    Ok(())
}
