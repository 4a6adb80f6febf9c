//! The RPC of a supervisor: workers attach; others ask for logs, addresses and artifacts.

mod attach;
mod log;

use std::io::SeekFrom;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use galerna_protocol::supervisor_server::Supervisor;
use galerna_protocol::{
    Artifact, ArtifactChunk, DownloadArtifactRequest, LocateReply, LocateRequest, LogChunk, ReadLogRequest,
    SupervisorMessage, WorkerMessage,
};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::artifacts::ArtifactError;
use crate::keeper::Command;
use crate::shared::Shared;
use crate::view::View;

/// Answers the calls of one supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) shared: Arc<Shared>,
    pub(crate) views: watch::Receiver<Arc<View>>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// The streams that are open. They end with `stop`.
    pub(crate) streams: TaskTracker,
    pub(crate) stop: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// So many messages wait for a slow client.
const QUEUE: usize = 4;
const CHUNK: u64 = 256 * 1024;

#[async_trait::async_trait]
impl Supervisor for Service {
    type AttachStream = Answers<SupervisorMessage>;
    type ReadLogStream = Answers<LogChunk>;
    type DownloadArtifactStream = Answers<ArtifactChunk>;

    async fn attach(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        attach::attach(self, request.into_inner()).await
    }

    async fn locate(&self, request: Request<LocateRequest>) -> Result<Response<LocateReply>, Status> {
        let LocateRequest { topology_id, slot } = request.into_inner();
        let reports = self.shared.reports();
        match reports.living(&topology_id, slot) {
            Some(report) if !report.address.is_empty() => {
                Ok(Response::new(LocateReply { address: report.address.clone(), incarnation: report.incarnation }))
            }
            Some(_) => Err(Status::unavailable(format!(
                "the worker of {topology_id} in slot {slot} has not attached yet; try again"
            ))),
            None => Err(Status::not_found(format!(
                "no worker of `{topology_id:.200}` runs in slot {slot} of supervisor {}",
                self.shared.options.id
            ))),
        }
    }

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        log::read(self, request.into_inner())
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        let DownloadArtifactRequest { sha256, offset } = request.into_inner();
        let found = self.shared.artifacts.find(&sha256).await.map_err(|error| status_of(&error))?;
        let path = found.ok_or_else(|| status_of(&ArtifactError::Absent(sha256.clone())))?;
        let unreadable = |error| Status::internal(format!("artifact {sha256} cannot be read: {error}"));
        let mut file = tokio::fs::File::open(&path).await.map_err(unreadable)?;
        let bytes = file.metadata().await.map_err(unreadable)?.len();
        if offset > bytes {
            return Err(Status::out_of_range(format!("artifact {sha256} ends at {bytes}, not after {offset}")));
        }
        file.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
        let artifact = Artifact { sha256, bytes, ..Artifact::default() };
        Ok(self.stream(|out| send_file(file, artifact, offset, out)))
    }
}

impl Service {
    /// Answers with what a task sends. It ends when the client is gone, or the daemon stops.
    fn stream<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
        &self,
        send: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F,
    ) -> Response<Answers<T>> {
        let (out, answers) = mpsc::channel(QUEUE);
        let gone = out.clone();
        let (sending, stop) = (send(out), self.stop.clone());
        self.streams.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = gone.closed() => {}
                () = sending => {}
            }
        });
        Response::new(Box::pin(ReceiverStream::new(answers)))
    }
}

async fn send_file(
    mut file: tokio::fs::File,
    artifact: Artifact,
    mut offset: u64,
    out: mpsc::Sender<Result<ArtifactChunk, Status>>,
) {
    let mut first = Some(artifact);
    loop {
        let mut content = Vec::new();
        let read = (&mut file).take(CHUNK).read_to_end(&mut content).await;
        let chunk = match read {
            Ok(0) if first.is_none() => return,
            Ok(count) => {
                let at = offset;
                offset += count as u64;
                Ok(ArtifactChunk { artifact: first.take(), offset: at, content: content.into() })
            }
            Err(error) => Err(Status::internal(format!("the artifact cannot be read: {error}"))),
        };
        if chunk.is_err() {
            let _ = out.send(chunk).await;
            return;
        }
        if out.send(chunk).await.is_err() {
            return;
        }
    }
}

fn status_of(error: &ArtifactError) -> Status {
    match error {
        ArtifactError::NoName(_) => Status::invalid_argument(error.to_string()),
        ArtifactError::Absent(_) => Status::not_found(error.to_string()),
        ArtifactError::NotFetched { .. } => Status::unavailable(error.to_string()),
        ArtifactError::File { .. } => Status::internal(error.to_string()),
    }
}
