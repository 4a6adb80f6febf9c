//! A Nimbus that answers what the test has it answer, and notes what it was asked.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use galerna_protocol::nimbus_server::{self, NimbusServer};
use galerna_protocol::*;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::tokio_stream::{self, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::support::{Ran, call};

/// What it answers and was asked.
#[derive(Default)]
pub(super) struct State {
    pub(super) topologies: Vec<TopologySummary>,
    pub(super) ended: Vec<EndedSummary>,
    pub(super) described: Option<DescribeReply>,
    pub(super) errors: Vec<ErrorReport>,
    pub(super) worker_ends: Vec<WorkerEnd>,
    pub(super) supervisors: Vec<SupervisorSummary>,
    pub(super) log: Vec<LogChunk>,
    pub(super) notes: Vec<String>,
    /// What every call is refused with.
    pub(super) refusal: Option<Status>,
    /// Uploads that are broken off after so many bytes, one after the other.
    pub(super) interruptions: Vec<usize>,
    /// What arrived of artifacts, by hash.
    pub(super) artifacts: BTreeMap<String, Vec<u8>>,
    pub(super) complete: Vec<Artifact>,
    /// Where uploads began.
    pub(super) offsets: Vec<u64>,
    pub(super) submitted: Vec<SubmitRequest>,
    /// What submissions are refused with, one after the other.
    pub(super) submit_refusals: Vec<Status>,
    /// What comparisons are answered with, one after the other; the last one stays.
    pub(super) comparisons: Vec<Result<CompareReply, Status>>,
    pub(super) compared: Vec<TopologySpec>,
    pub(super) checked: Vec<SubmitRequest>,
    /// What checks are refused with.
    pub(super) check_refusal: Option<Status>,
    /// Other requests as they came.
    pub(super) asked: Vec<String>,
}

/// A running one; it ends with the test.
pub(super) struct FakeNimbus {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl FakeNimbus {
    pub(super) fn start(state: State) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        listener.set_nonblocking(true).expect("it can be set");
        let state = Arc::new(Mutex::new(state));
        let service = NimbusServer::new(Service(state.clone())).max_decoding_message_size(LONGEST_MESSAGE);
        let serving = {
            let _inside = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let service = tonic::service::interceptor::InterceptedService::new(service, VersionCheck::new());
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener))
        };
        runtime.spawn(serving);
        Self { address, state, _runtime: runtime }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked with it")
    }

    /// Calls a command with this as its Nimbus.
    pub(super) fn call(&self, args: &[&str]) -> Ran {
        call(args.iter().copied().chain(["--nimbus", &self.address]))
    }
}

struct Service(Arc<Mutex<State>>);

impl Service {
    /// Notes a request, and refuses it if the test says so.
    fn asked<T: std::fmt::Debug>(&self, request: Request<T>) -> Result<(T, MutexGuard<'_, State>), Status> {
        let mut state = self.0.lock().expect("nobody panicked with it");
        let request = request.into_inner();
        state.asked.push(format!("{request:?}"));
        match state.refusal.clone() {
            Some(refusal) => Err(refusal),
            None => Ok((request, state)),
        }
    }

    fn change<T: std::fmt::Debug>(&self, request: Request<T>) -> Result<Response<ChangeReply>, Status> {
        let (_, state) = self.asked(request)?;
        Ok(Response::new(ChangeReply { topology_id: "words-1".into(), notes: state.notes.clone() }))
    }

    /// Takes chunks; `None` once all is there and right.
    async fn take(&self, mut chunks: Streaming<ArtifactChunk>) -> Result<(), Status> {
        let mut artifact = None;
        let limit = self.0.lock().expect("nobody panicked with it").interruptions.pop();
        let mut taken = 0;
        while let Some(chunk) = chunks.message().await? {
            let mut state = self.0.lock().expect("nobody panicked with it");
            if let Some(first) = chunk.artifact {
                state.offsets.push(chunk.offset);
                artifact = Some(first);
            }
            let artifact = artifact.as_ref().ok_or_else(|| Status::invalid_argument("chunks of nothing"))?;
            let stored = state.artifacts.entry(artifact.sha256.clone()).or_default();
            if stored.len() as u64 != chunk.offset {
                return Err(Status::invalid_argument(format!("there are {} bytes", stored.len())));
            }
            stored.extend_from_slice(&chunk.content);
            taken += chunk.content.len();
            if limit.is_some_and(|limit| taken >= limit) {
                return Err(Status::unknown("the connection broke"));
            }
        }
        let mut state = self.0.lock().expect("nobody panicked with it");
        let artifact = artifact.ok_or_else(|| Status::invalid_argument("nothing"))?;
        let hash: String =
            Sha256::digest(&state.artifacts[&artifact.sha256]).iter().map(|b| format!("{b:02x}")).collect();
        if hash != artifact.sha256 || artifact.bytes != state.artifacts[&hash].len() as u64 {
            return Err(Status::invalid_argument("these are other bytes"));
        }
        state.complete.push(artifact);
        Ok(())
    }
}

type Chunks<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl nimbus_server::Nimbus for Service {
    type DownloadArtifactStream = Chunks<ArtifactChunk>;
    type LogsStream = Chunks<LogChunk>;

    async fn find_artifact(
        &self,
        request: Request<FindArtifactRequest>,
    ) -> Result<Response<FindArtifactReply>, Status> {
        let (request, state) = self.asked(request)?;
        let is_complete = state.complete.iter().any(|of| of.sha256 == request.sha256);
        let bytes = state.artifacts.get(&request.sha256).map_or(0, |stored| stored.len() as u64);
        Ok(Response::new(FindArtifactReply { is_complete, bytes }))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<ArtifactChunk>>,
    ) -> Result<Response<UploadArtifactReply>, Status> {
        self.take(request.into_inner()).await?;
        Ok(Response::new(UploadArtifactReply {}))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let (request, mut state) = self.asked(request)?;
        state.submitted.push(request);
        if !state.submit_refusals.is_empty() {
            return Err(state.submit_refusals.remove(0));
        }
        Ok(Response::new(SubmitReply { topology_id: "words-1".into(), notes: state.notes.clone() }))
    }

    async fn check(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let mut state = self.0.lock().expect("nobody panicked with it");
        state.checked.push(request.into_inner());
        match state.check_refusal.clone() {
            Some(refusal) => Err(refusal),
            None => Ok(Response::new(SubmitReply::default())),
        }
    }

    async fn compare(&self, request: Request<CompareRequest>) -> Result<Response<CompareReply>, Status> {
        let mut state = self.0.lock().expect("nobody panicked with it");
        state.compared.extend(request.into_inner().spec);
        match state.comparisons.len() {
            // The last one stays.
            0 => Err(Status::unimplemented("")),
            1 => state.comparisons[0].clone().map(Response::new),
            _ => state.comparisons.remove(0).map(Response::new),
        }
    }

    async fn set_owner(&self, request: Request<SetOwnerRequest>) -> Result<Response<ChangeReply>, Status> {
        self.change(request)
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<ChangeReply>, Status> {
        self.change(request)
    }

    async fn activate(&self, request: Request<NameRequest>) -> Result<Response<ChangeReply>, Status> {
        self.change(request)
    }

    async fn deactivate(&self, request: Request<NameRequest>) -> Result<Response<ChangeReply>, Status> {
        self.change(request)
    }

    async fn rebalance(&self, request: Request<RebalanceRequest>) -> Result<Response<ChangeReply>, Status> {
        self.change(request)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        let (_, state) = self.asked(request)?;
        Ok(Response::new(ListReply { topologies: state.topologies.clone(), ended: state.ended.clone() }))
    }

    async fn describe(&self, request: Request<NameRequest>) -> Result<Response<DescribeReply>, Status> {
        let (request, state) = self.asked(request)?;
        let unknown = || Status::not_found(format!("no topology named `{}`; there are words", request.name));
        state.described.clone().map(Response::new).ok_or_else(unknown)
    }

    async fn errors(&self, request: Request<NameRequest>) -> Result<Response<ErrorsReply>, Status> {
        let (_, state) = self.asked(request)?;
        let (errors, worker_ends, notes) = (state.errors.clone(), state.worker_ends.clone(), state.notes.clone());
        Ok(Response::new(ErrorsReply { errors, worker_ends, notes }))
    }

    async fn supervisors(&self, request: Request<SupervisorsRequest>) -> Result<Response<SupervisorsReply>, Status> {
        let (_, state) = self.asked(request)?;
        Ok(Response::new(SupervisorsReply { supervisors: state.supervisors.clone() }))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let (request, state) = self.asked(request)?;
        let chunks = tokio_stream::iter(state.log.clone().into_iter().map(Ok));
        // A log that is followed has no end.
        Ok(Response::new(if request.follow {
            Box::pin(chunks.chain(tokio_stream::pending()))
        } else {
            Box::pin(chunks)
        }))
    }

    async fn download_artifact(
        &self,
        _: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        Err(Status::unimplemented("no command asks for it"))
    }

    async fn report(&self, _: Request<SupervisorReport>) -> Result<Response<ReportReply>, Status> {
        Err(Status::unimplemented("no command asks for it"))
    }

    async fn fetch_artifact(&self, _: Request<FetchArtifactRequest>) -> Result<Response<FetchArtifactReply>, Status> {
        Err(Status::unimplemented("no command asks for it"))
    }
}
