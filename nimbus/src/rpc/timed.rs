//! Times calls: a service around a service.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Code, Status};

use crate::core::Core;

/// The methods that there are: whatever else is called is `unknown`, so that nobody outside makes series.
const METHODS: [&str; 18] = [
    "FindArtifact",
    "UploadArtifact",
    "DownloadArtifact",
    "Submit",
    "Check",
    "Compare",
    "SetOwner",
    "Kill",
    "Activate",
    "Deactivate",
    "Rebalance",
    "List",
    "Describe",
    "Errors",
    "Supervisors",
    "Logs",
    "Report",
    "FetchArtifact",
];

/// Does what another service does, and notes how long each answer took to begin.
#[derive(Clone, Debug)]
pub(crate) struct Timed<S> {
    service: S,
    core: Arc<Core>,
}

impl<S> Timed<S> {
    pub(crate) fn new(service: S, core: Arc<Core>) -> Self {
        Self { service, core }
    }
}

impl<S: NamedService> NamedService for Timed<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<Body>> for Timed<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = method(request.uri().path());
        let (began, core) = (Instant::now(), Arc::clone(&self.core));
        let answer = self.service.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // What has failed says so at once; what goes well says so when all is told.
            let code = Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code());
            core.measured.calls.note([method, code_name(code)], began.elapsed());
            Ok(answer)
        })
    }
}

fn method(path: &str) -> &'static str {
    let called = path.rsplit('/').next().unwrap_or_default();
    METHODS.into_iter().find(|method| *method == called).unwrap_or("unknown")
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
