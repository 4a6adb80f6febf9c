//! A Nimbus that serves artifacts and takes reports, and does nothing else.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_util::Stream;
use galerna_protocol::nimbus_server::NimbusServer;
use galerna_protocol::*;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::PATIENCE;

pub(crate) struct Nimbus {
    pub(crate) address: String,
    shared: Arc<Shared>,
    reports: watch::Receiver<SupervisorReport>,
    _server: JoinSet<()>,
}

struct Shared {
    artifacts: Mutex<BTreeMap<String, Vec<u8>>>,
    downloads: Mutex<Vec<u64>>,
    reports: watch::Sender<SupervisorReport>,
}

impl Nimbus {
    pub(crate) async fn start() -> Self {
        let (sender, reports) = watch::channel(SupervisorReport::default());
        let shared = Shared { artifacts: Mutex::default(), downloads: Mutex::default(), reports: sender };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = NimbusServer::with_interceptor(Listens(Arc::clone(&shared)), VersionCheck::new());
        let router = Server::builder().add_service(server);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("served");
        });
        Self { address, shared, reports, _server: tasks }
    }

    pub(crate) fn keep(&self, content: &[u8]) -> Artifact {
        let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        self.shared.artifacts.lock().expect("sound").insert(sha256.clone(), content.to_vec());
        Artifact { sha256, bytes: content.len() as u64, ..Artifact::default() }
    }

    /// The offsets that downloads began at.
    pub(crate) fn downloads(&self) -> Vec<u64> {
        self.shared.downloads.lock().expect("sound").clone()
    }

    pub(crate) async fn wait_for<T>(&self, found: impl Fn(&SupervisorReport) -> Option<T>) -> T {
        let mut reports = self.reports.clone();
        let mut answer = None;
        let waiting = reports.wait_for(|report| {
            answer = found(report);
            answer.is_some()
        });
        let last = tokio::time::timeout(PATIENCE, waiting).await.map(drop);
        answer.unwrap_or_else(|| panic!("{last:?}: {:#?}", self.reports.borrow()))
    }
}

struct Listens(Arc<Shared>);

macro_rules! refused {
    ($($call:ident($request:ty) -> $reply:ty;)*) => {
        #[async_trait::async_trait]
        impl nimbus_server::Nimbus for Listens {
            type DownloadArtifactStream = Pin<Box<dyn Stream<Item = Result<ArtifactChunk, Status>> + Send>>;
            type LogsStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

            async fn report(&self, request: Request<SupervisorReport>) -> Result<Response<ReportReply>, Status> {
                self.0.reports.send_replace(request.into_inner());
                Ok(Response::new(ReportReply {}))
            }

            async fn download_artifact(
                &self,
                request: Request<DownloadArtifactRequest>,
            ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
                let DownloadArtifactRequest { sha256, offset } = request.into_inner();
                self.0.downloads.lock().expect("sound").push(offset);
                let artifacts = self.0.artifacts.lock().expect("sound");
                let content = artifacts.get(&sha256).ok_or_else(|| Status::not_found("no such artifact"))?;
                let content = content[offset as usize..].to_vec().into();
                let chunk = ArtifactChunk { artifact: None, offset, content };
                Ok(Response::new(Box::pin(tokio_stream::once(Ok(chunk)))))
            }

            $(async fn $call(&self, _: Request<$request>) -> Result<Response<$reply>, Status> {
                Err(Status::unimplemented("it only listens"))
            })*
        }
    };
}

refused! {
    find_artifact(FindArtifactRequest) -> FindArtifactReply;
    upload_artifact(Streaming<ArtifactChunk>) -> UploadArtifactReply;
    submit(SubmitRequest) -> SubmitReply;
    check(SubmitRequest) -> SubmitReply;
    compare(CompareRequest) -> CompareReply;
    set_owner(SetOwnerRequest) -> ChangeReply;
    kill(KillRequest) -> ChangeReply;
    activate(NameRequest) -> ChangeReply;
    deactivate(NameRequest) -> ChangeReply;
    rebalance(RebalanceRequest) -> ChangeReply;
    list(ListRequest) -> ListReply;
    describe(NameRequest) -> DescribeReply;
    errors(NameRequest) -> ErrorsReply;
    supervisors(SupervisorsRequest) -> SupervisorsReply;
    logs(LogsRequest) -> Self::LogsStream;
    fetch_artifact(FetchArtifactRequest) -> FetchArtifactReply;
}
