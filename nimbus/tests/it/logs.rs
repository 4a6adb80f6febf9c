//! What is asked of supervisors.

use std::pin::Pin;

use anyhow::{Context, Result};
use futures_util::{Stream, StreamExt, stream};
use galerna_protocol::supervisor_server::{Supervisor, SupervisorServer};
use galerna_protocol::{
    ArtifactChunk, DownloadArtifactRequest, FindArtifactRequest, LocateReply, LocateRequest, LogChunk, LogsRequest,
    ReadLogRequest, Server, SupervisorMessage, WorkerMessage,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{Cluster, artifact, client, eventually, submit, workers};
use crate::elf;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Each of its workers has logged its slot; it keeps one artifact.
struct Logging {
    artifact: Vec<u8>,
}

#[tonic::async_trait]
impl Supervisor for Logging {
    type AttachStream = Streamed<SupervisorMessage>;
    type ReadLogStream = Streamed<LogChunk>;
    type DownloadArtifactStream = Streamed<ArtifactChunk>;

    async fn attach(&self, _: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        Err(Status::unimplemented("no worker comes here"))
    }

    async fn locate(&self, _: Request<LocateRequest>) -> Result<Response<LocateReply>, Status> {
        Err(Status::unimplemented("no worker is here"))
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let content = format!("last {} of {}\n", request.get_ref().last_lines, request.get_ref().slot).into_bytes();
        Ok(Response::new(Box::pin(stream::iter([Ok(LogChunk { worker: None, content })]))))
    }

    async fn download_artifact(
        &self,
        _: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let chunk = ArtifactChunk { artifact: None, offset: 0, content: self.artifact.clone().into() };
        Ok(Response::new(Box::pin(stream::iter([Ok(chunk)]))))
    }
}

/// Serves until it is dropped.
async fn serve(artifact: Vec<u8>) -> Result<(u16, JoinSet<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Server::builder().add_service(SupervisorServer::new(Logging { artifact }));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let _ = router.serve_with_incoming(TcpListenerStream::new(listener)).await;
    });
    Ok((port, server))
}

#[tokio::test]
async fn logs_of_all_workers_are_merged_and_what_cannot_be_read_is_told() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let (port, _server) = serve(Vec::new()).await?;
    let _reachable = cluster.supervisor_at("a", port, 1, &nimbus).await?;
    // Nobody listens on port 1.
    let _unreachable = cluster.supervisor_at("b", 1, 1, &nimbus).await?;
    let id = submit(&mut client, "words", 2).await?.topology_id;
    eventually("both have a worker", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| workers(assignment).len() == 2))
    })
    .await?;
    let request = LogsRequest { name: "words".into(), follow: false, last_lines: 7 };
    let mut chunks = client.logs(request).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        lines.push((chunk.worker.context("it says whose")?.supervisor, String::from_utf8(chunk.content)?));
    }
    lines.sort();
    assert_eq!(lines[0], ("a".to_owned(), "last 7 of 6701\n".to_owned()));
    assert!(lines[1].1.starts_with("(the log of b:6701 cannot be read: cannot connect"), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn nimbus_without_the_program_gets_it_from_a_supervisor() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let content = elf::program(elf::X86_64, Some("GLIBC_2.34"), "words");
    let (port, _server) = serve(content.clone()).await?;
    let _supervisor = cluster.supervisor_at("a", port, 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    first.stop().await;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    let client = client(&second).await?;
    eventually("it has the program", async || {
        let request = FindArtifactRequest { sha256: artifact(&content).sha256 };
        Ok(client.clone().find_artifact(request).await?.into_inner().is_complete.then_some(()))
    })
    .await
}
