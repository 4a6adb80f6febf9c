//! A nimbus with an empty disk: where it gets programs from, and when it leads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{Stream, stream};
use galerna_nimbus::Nimbus;
use galerna_protocol::supervisor_server::{Supervisor, SupervisorServer};
use galerna_protocol::{
    ArtifactChunk, DownloadArtifactRequest, FindArtifactRequest, LocateReply, LocateRequest, LogChunk, ReadLogRequest,
    Server, SupervisorMessage, WorkerMessage,
};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use crate::cluster::{Cluster, LEASE, artifact, client, describe, eventually, submit};
use crate::elf;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A supervisor that gives the artifacts that it has, and logs: each of its workers has logged its slot.
pub(crate) struct Giving {
    /// By hash.
    artifacts: BTreeMap<String, Vec<u8>>,
    /// One for each time that it may give something.
    permits: Arc<Semaphore>,
}

impl Giving {
    pub(crate) fn nothing() -> Self {
        Self { artifacts: BTreeMap::new(), permits: Arc::new(Semaphore::new(1)) }
    }

    fn program(content: Vec<u8>, permits: &Arc<Semaphore>) -> Self {
        let artifacts = BTreeMap::from([(artifact(&content).sha256, content)]);
        Self { artifacts, permits: Arc::clone(permits) }
    }
}

#[tonic::async_trait]
impl Supervisor for Giving {
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
        Ok(Response::new(Box::pin(stream::iter([Ok(LogChunk { content, ..LogChunk::default() })]))))
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let DownloadArtifactRequest { sha256, offset } = request.into_inner();
        let content = self.artifacts.get(&sha256).ok_or_else(|| Status::not_found("it is not here"))?;
        self.permits.acquire().await.map_err(|_| Status::internal("closed"))?.forget();
        let content = content[offset as usize..].to_vec().into();
        let chunk = ArtifactChunk { artifact: None, offset, content };
        Ok(Response::new(Box::pin(stream::iter([Ok(chunk)]))))
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(address: &str, supervisor: Giving) -> Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Server::builder().add_service(SupervisorServer::new(supervisor));
    let mut server = JoinSet::new();
    server.spawn(async move {
        let _ = router.serve_with_incoming(TcpListenerStream::new(listener)).await;
    });
    Ok((address, server))
}

/// What `submit` submits.
fn program() -> Vec<u8> {
    elf::program(elf::X86_64, Some("GLIBC_2.34"), "words")
}

async fn has_program(nimbus: &Nimbus) -> Result<bool> {
    let request = FindArtifactRequest { sha256: artifact(&program()).sha256 };
    Ok(client(nimbus).await?.find_artifact(request).await?.into_inner().is_complete)
}

async fn leads(nimbus: &Nimbus) -> Result<()> {
    eventually("it leads", async || Ok(nimbus.is_leading().then_some(()))).await
}

#[tokio::test]
async fn nimbus_with_an_empty_disk_leads_once_it_has_the_program_from_a_supervisor() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let permits = Arc::new(Semaphore::new(0));
    let (address, _server) = serve("127.0.0.1:0", Giving::program(program(), &permits)).await?;
    let (other, _other_server) = serve("127.0.0.1:0", Giving::nothing()).await?;
    let _without = cluster.supervisor_at("a", other.port(), 1, &first).await?;
    let _with = cluster.supervisor_at("b", address.port(), 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    first.stop().await;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    // As long as one who has it is about to give it, it waits, and says so to whoever asks.
    tokio::time::sleep(LEASE * 4).await;
    assert!(!second.is_leading());
    assert!(!has_program(&second).await?);
    let refusal = describe(&client(&second).await?, "words").await.expect_err("nobody leads");
    assert!(refusal.message().starts_with("no nimbus leads"), "{refusal:?}");
    permits.add_permits(1);
    leads(&second).await?;
    assert!(has_program(&second).await?);
    assert!(describe(&client(&second).await?, "words").await?.unscheduled.iter().all(|one| !one.contains("program")));
    Ok(())
}

#[tokio::test]
async fn nimbus_that_still_fetches_a_program_is_not_ready_though_another_leads() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let permits = Arc::new(Semaphore::new(0));
    let (address, _server) = serve("127.0.0.1:0", Giving::program(program(), &permits)).await?;
    let _supervisor = cluster.supervisor_at("a", address.port(), 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    std::fs::remove_file(cluster.data("n1").join("artifacts").join(artifact(&program()).sha256))?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    let observed = second.observed();
    let failing = || -> Vec<String> {
        let checks = observed.readiness().into_iter().filter(|check| !check.passes());
        checks.map(|check| check.line()).collect()
    };
    let expected = ["[-] candidacy: fetches programs before it could lead"];
    eventually("nothing else is wrong", async || Ok((failing() == expected).then_some(()))).await?;
    permits.add_permits(2);
    eventually("it is ready", async || Ok(failing().is_empty().then_some(()))).await?;
    assert!(first.is_leading());
    Ok(())
}

#[tokio::test]
async fn program_that_is_nowhere_keeps_nobody_from_leading_and_is_told() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let (address, _server) = serve("127.0.0.1:0", Giving::nothing()).await?;
    let _supervisor = cluster.supervisor_at("a", address.port(), 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    first.stop().await;
    // Its patience would be longer than the test's, but nothing is gained by it.
    let second = cluster.nimbus_with_lease("n2", &cluster.store, LEASE * 20).await?;
    leads(&second).await?;
    let to_second = client(&second).await?;
    let expected = format!("its program (artifact {}…) is on no nimbus and no", &artifact(&program()).sha256[..12]);
    eventually("it is told", async || {
        let reasons = describe(&to_second, "words").await?.unscheduled;
        Ok(reasons.iter().any(|reason| reason.starts_with(&expected)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn one_that_cannot_be_reached_is_waited_for_a_few_leases_and_the_program_is_got_later() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    // Nobody listens on port 1.
    let mut supervisor = cluster.supervisor_at("a", 1, 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    first.stop().await;
    let began = Instant::now();
    let second = cluster.nimbus("n2", &cluster.store).await?;
    leads(&second).await?;
    assert!(began.elapsed() >= LEASE * 3, "{:?}", began.elapsed());
    let to_second = client(&second).await?;
    let told = eventually("it is told", async || {
        let reasons = describe(&to_second, "words").await?.unscheduled;
        Ok(reasons.into_iter().find(|reason| reason.contains("is not on the leading nimbus")))
    })
    .await?;
    assert!(told.contains("cannot connect to 127.0.0.1:1"), "{told}");
    let (address, _server) = serve("127.0.0.1:0", Giving::program(program(), &Arc::new(Semaphore::new(1)))).await?;
    supervisor.registers(|one| one.port = address.port()).await?;
    eventually("it has it", async || Ok(has_program(&second).await?.then_some(()))).await?;
    assert!(second.is_leading());
    Ok(())
}

#[tokio::test]
async fn standby_that_has_everything_leads_as_soon_as_the_lease_ends() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    // Nobody listens on port 1: it is asked for nothing.
    let _supervisor = cluster.supervisor_at("a", 1, 1, &first).await?;
    submit(&mut to_first, "words", 1).await?;
    eventually("it has the program", async || Ok(has_program(&second).await?.then_some(()))).await?;
    drop(first);
    let began = Instant::now();
    leads(&second).await?;
    let took = began.elapsed();
    assert!(took < LEASE + Duration::from_secs(2), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn program_that_was_lost_on_the_disk_of_the_leader_is_fetched_from_another_nimbus() -> Result<()> {
    let cluster = Cluster::new()?;
    let (first, mut to_first) = cluster.start().await?;
    let second = cluster.nimbus("n2", &cluster.store).await?;
    submit(&mut to_first, "words", 1).await?;
    eventually("both have the program", async || Ok(has_program(&second).await?.then_some(()))).await?;
    let file = cluster.data("n1").join("artifacts").join(artifact(&program()).sha256);
    std::fs::remove_file(&file).context("it is there")?;
    eventually("it has it again", async || Ok(file.exists().then_some(()))).await?;
    assert!(first.is_leading());
    Ok(())
}
