//! Where a peer is to be found.

use std::time::Duration;

use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{LocateRequest, connect};
use tokio::time::timeout;
use tonic::Status;

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Place {
    /// Its host and its slot's port.
    pub(in crate::cluster) address: String,
    /// Its supervisor's, who knows if it is not there.
    pub(in crate::cluster) supervisor: String,
    pub(in crate::cluster) request: LocateRequest,
}

impl Place {
    /// Where the supervisor says that the peer is.
    pub(super) async fn located(&self) -> Result<String, Status> {
        let ask = async {
            let mut supervisor = SupervisorClient::new(connect(&self.supervisor).await?);
            Ok::<_, Status>(supervisor.locate(self.request.clone()).await?.into_inner().address)
        };
        match timeout(Duration::from_secs(1), ask).await {
            Ok(Ok(address)) if !address.is_empty() => Ok(address),
            // The address that it should have is the best guess.
            _ => Ok(self.address.clone()),
        }
    }
}
