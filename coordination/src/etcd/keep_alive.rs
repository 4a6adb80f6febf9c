//! Keeps a lease alive: a sign of life three times in its time, each by itself, so that it does not
//! matter which connection, or which member of etcd, it goes to.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Error};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::connection::{Connection, LONGEST_CALL};
use super::error::is_not_found;
use crate::store::LeaseId;

/// How soon a sign of life is given again after nobody has answered.
const RETRY: Duration = Duration::from_millis(200);

pub(super) async fn keep_alive(
    connection: Arc<Connection>,
    id: LeaseId,
    ttl: Duration,
    alive_until: watch::Sender<Instant>,
    lost: watch::Sender<bool>,
) {
    let mut is_answered = true;
    loop {
        sleep(if is_answered { ttl / 3 } else { RETRY }).await;
        let sent = Instant::now();
        match connection.attempt(LONGEST_CALL.min(ttl / 2), |client| still_there(client, id)).await {
            Ok(true) => {
                is_answered = true;
                alive_until.send_replace(sent + ttl);
            }
            Ok(false) => {
                lost.send_replace(true);
                return;
            }
            Err(error) => {
                if is_answered {
                    warn!(%error, lease = format!("{:x}", id.0), "a lease cannot be kept alive; trying on");
                }
                is_answered = false;
            }
        }
    }
}

/// Whether the lease is there; its time then begins anew.
async fn still_there(client: Client, id: LeaseId) -> Result<bool, Error> {
    match client.lease_client().keep_alive(id.0).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
