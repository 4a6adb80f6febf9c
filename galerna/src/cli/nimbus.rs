//! Calls to Nimbus, wherever one answers.

use std::future::Future;

use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::{Channel, LONGEST_MESSAGE};
use tonic::{Code, Status};

use super::args::Cluster;
use super::failure::Failure;

/// The Nimbus daemons of a cluster.
pub(super) struct Nimbus<'a> {
    addresses: &'a [String],
}

/// A connection to one of them.
pub(super) type Client = NimbusClient<Channel>;

impl<'a> Nimbus<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        Self { addresses: &cluster.nimbus }
    }

    /// The one at this address.
    #[cfg(feature = "dev")]
    pub(super) fn at(address: &'a String) -> Self {
        Self { addresses: std::slice::from_ref(address) }
    }

    /// Calls the first one that is available.
    pub(super) async fn call<T>(&self, call: impl AsyncFn(Client) -> Result<T, Status>) -> Result<T, Status> {
        let mut reasons = Vec::new();
        for address in self.addresses {
            let answer = match galerna_protocol::connect(address).await {
                Ok(channel) => call(NimbusClient::new(channel).max_decoding_message_size(LONGEST_MESSAGE)).await,
                Err(status) => Err(status),
            };
            match answer {
                Err(status) if status.code() == Code::Unavailable => reasons.push(reason(address, &status)),
                answer => return answer,
            }
        }
        Err(Status::unavailable(reasons.join("; ")))
    }
}

/// Why one is not available, with its address.
fn reason(address: &str, status: &Status) -> String {
    match status.message() {
        message if message.contains(address) => message.to_owned(),
        message => format!("{address}: {message}"),
    }
}

/// Runs a command that talks to a cluster.
pub(super) fn block_on<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::start(&error))?.block_on(command)
}

/// What Nimbus, or the way to it, refused.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument => "invalid_argument",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::FailedPrecondition => "failed_precondition",
            Code::PermissionDenied | Code::Unauthenticated => "permission_denied",
            Code::ResourceExhausted => "resource_exhausted",
            Code::Aborted => "aborted",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::Unavailable => "unavailable",
            Code::Unimplemented => "unimplemented",
            _ => "internal",
        };
        let message = match status.message() {
            "" => status.code().description().to_lowercase(),
            message => message.to_owned(),
        };
        Self::new(code, message)
    }
}
