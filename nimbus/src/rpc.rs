//! Answers what clients, supervisors and other nimbuses ask. What needs the leader is answered here
//! only if this nimbus leads, else by it.

mod artifacts;
mod change;
mod compare;
mod find;
mod logs;
mod now;
mod submit;
mod tell;
mod timed;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use galerna_protocol::nimbus_server::Nimbus;
use galerna_protocol::{
    ArtifactChunk, ChangeReply, CompareReply, CompareRequest, DescribeReply, DownloadArtifactRequest, ErrorsReply,
    FetchArtifactReply, FetchArtifactRequest, FindArtifactReply, FindArtifactRequest, KillRequest, ListReply,
    ListRequest, LogChunk, LogsRequest, NameRequest, RebalanceRequest, ReportReply, SetOwnerRequest, SubmitReply,
    SubmitRequest, SupervisorReport, SupervisorsReply, SupervisorsRequest, UploadArtifactReply,
};
use tonic::{Request, Response, Status, Streaming};

use crate::core::Core;
use crate::leader::{Place, forwarded};

pub(crate) use change::{STATUS_NAMES, status_name};
pub(crate) use timed::Timed;

/// How long the leader may take to answer a call.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    pub(crate) core: Arc<Core>,
}

/// The leadership by right of which the call is answered here; else what the leader answers is returned.
macro_rules! lead {
    ($core:expr, $request:ident, $method:ident, $wait:expr) => {
        match $core.place(&$request).await? {
            Place::Here(leadership) => leadership,
            Place::There(mut leader) => {
                let answer = tokio::time::timeout($wait, leader.$method(forwarded($request))).await;
                return answer
                    .unwrap_or_else(|_| Err(Status::unavailable("the nimbus that leads does not answer; try again")));
            }
        }
    };
}

#[tonic::async_trait]
impl Nimbus for Rpc {
    type DownloadArtifactStream = Streamed<ArtifactChunk>;
    type LogsStream = Streamed<LogChunk>;

    async fn find_artifact(
        &self,
        request: Request<FindArtifactRequest>,
    ) -> Result<Response<FindArtifactReply>, Status> {
        self.core.find_artifact(&request.get_ref().sha256).await.map(Response::new)
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<ArtifactChunk>>,
    ) -> Result<Response<UploadArtifactReply>, Status> {
        self.core.upload_artifact(request.into_inner()).await?;
        Ok(Response::new(UploadArtifactReply {}))
    }

    async fn download_artifact(
        &self,
        request: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Streamed<ArtifactChunk>>, Status> {
        self.core.download_artifact(request.get_ref()).await.map(Response::new)
    }

    async fn fetch_artifact(
        &self,
        request: Request<FetchArtifactRequest>,
    ) -> Result<Response<FetchArtifactReply>, Status> {
        self.core.fetch_artifact(&request.into_inner()).await?;
        Ok(Response::new(FetchArtifactReply {}))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let wait = self.core.options.replication_wait * 2 + ANSWER_WAIT;
        let leadership = lead!(self.core, request, submit, wait);
        self.core.submit(&leadership, request.into_inner()).await.map(Response::new)
    }

    async fn check(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitReply>, Status> {
        let wait = self.core.options.replication_wait * 2 + ANSWER_WAIT;
        lead!(self.core, request, check, wait);
        self.core.check(request.into_inner()).await.map(Response::new)
    }

    async fn compare(&self, request: Request<CompareRequest>) -> Result<Response<CompareReply>, Status> {
        lead!(self.core, request, compare, ANSWER_WAIT);
        self.core.compare(request.get_ref()).map(Response::new)
    }

    async fn set_owner(&self, request: Request<SetOwnerRequest>) -> Result<Response<ChangeReply>, Status> {
        let leadership = lead!(self.core, request, set_owner, ANSWER_WAIT);
        self.core.set_owner(&leadership, request.get_ref()).await.map(Response::new)
    }

    async fn kill(&self, request: Request<KillRequest>) -> Result<Response<ChangeReply>, Status> {
        let leadership = lead!(self.core, request, kill, ANSWER_WAIT);
        self.core.kill(&leadership, request.get_ref()).await.map(Response::new)
    }

    async fn activate(&self, request: Request<NameRequest>) -> Result<Response<ChangeReply>, Status> {
        let leadership = lead!(self.core, request, activate, ANSWER_WAIT);
        self.core.set_active(&leadership, &request.get_ref().name, true).await.map(Response::new)
    }

    async fn deactivate(&self, request: Request<NameRequest>) -> Result<Response<ChangeReply>, Status> {
        let leadership = lead!(self.core, request, deactivate, ANSWER_WAIT);
        self.core.set_active(&leadership, &request.get_ref().name, false).await.map(Response::new)
    }

    async fn rebalance(&self, request: Request<RebalanceRequest>) -> Result<Response<ChangeReply>, Status> {
        let leadership = lead!(self.core, request, rebalance, ANSWER_WAIT);
        self.core.rebalance(&leadership, request.get_ref()).await.map(Response::new)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        lead!(self.core, request, list, ANSWER_WAIT);
        Ok(Response::new(self.core.list(*request.get_ref())))
    }

    async fn describe(&self, request: Request<NameRequest>) -> Result<Response<DescribeReply>, Status> {
        lead!(self.core, request, describe, ANSWER_WAIT);
        self.core.describe(&request.get_ref().name).map(Response::new)
    }

    async fn errors(&self, request: Request<NameRequest>) -> Result<Response<ErrorsReply>, Status> {
        lead!(self.core, request, errors, ANSWER_WAIT);
        self.core.errors(&request.get_ref().name).map(Response::new)
    }

    async fn supervisors(&self, request: Request<SupervisorsRequest>) -> Result<Response<SupervisorsReply>, Status> {
        lead!(self.core, request, supervisors, ANSWER_WAIT);
        Ok(Response::new(self.core.supervisors()))
    }

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Streamed<LogChunk>>, Status> {
        match self.core.place(&request).await? {
            Place::Here(_) => self.core.logs(request.get_ref()).await.map(Response::new),
            Place::There(mut leader) => {
                let lines = leader.logs(forwarded(request)).await?.into_inner();
                Ok(Response::new(Box::pin(lines)))
            }
        }
    }

    async fn report(&self, request: Request<SupervisorReport>) -> Result<Response<ReportReply>, Status> {
        // Reports are taken while the store is lost, too: counts go on.
        match self.core.place_without_store(&request).await? {
            Place::Here(_) => {
                self.core.take_report(request.into_inner());
                self.core.wake.notify_one();
                Ok(Response::new(ReportReply {}))
            }
            Place::There(mut leader) => {
                let answer = tokio::time::timeout(ANSWER_WAIT, leader.report(forwarded(request))).await;
                answer.unwrap_or_else(|_| Err(Status::unavailable("the nimbus that leads does not answer")))
            }
        }
    }
}
