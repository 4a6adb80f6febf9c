//! Waiting for the name of a topology that still drains.

use std::time::Duration;

use galerna_protocol::{CompareReply, CompareRequest, Comparison, SubmitRequest};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::cli::failure::Failure;
use crate::cli::io::Io;
use crate::cli::nimbus::{Client, Nimbus};

/// Interval between two checks whether the name is free.
const LOOK: Duration = Duration::from_millis(200);
/// Time beyond the drain deadline for the removal, because the leader may change.
const GRACE: Duration = Duration::from_secs(15);

/// Waits for the end of a killed topology of the same name. Returns immediately if the name is free, or its topology runs.
///
/// # Errors
/// Nimbus refuses or stays unavailable, or the topology outlives the drain deadline by far.
pub(super) async fn wait_until_free(
    nimbus: &Nimbus<'_>,
    request: &SubmitRequest,
    io: &mut Io<'_>,
) -> Result<(), Failure> {
    let mut draining: Option<(String, Instant)> = None;
    loop {
        let found = match compare(nimbus, request).await {
            Err(status)
                if status.code() == Code::Unavailable
                    && draining.as_ref().is_some_and(|(_, until)| is_before(*until)) =>
            {
                sleep(LOOK).await;
                continue;
            }
            found => found?,
        };
        if found.comparison() != Comparison::Ending {
            return Ok(());
        }
        match &draining {
            Some((id, until)) if *id == found.topology_id => {
                if !is_before(*until) {
                    return Err(Failure::new(
                        "timeout",
                        format!("{id} was killed and has not ended in time; `describe {id}` may say why"),
                    ));
                }
            }
            _ => {
                let left = Duration::from_millis(found.drain_ms);
                io.say(&format!(
                    "waiting: {} was killed and may drain for up to {} s more",
                    found.topology_id,
                    left.as_millis().div_ceil(1000)
                ));
                draining = Some((found.topology_id, Instant::now() + left + GRACE));
            }
        }
        sleep(LOOK).await;
    }
}

/// Whether a submission was refused because a topology of this name drains, or has ended since.
pub(super) async fn is_draining(nimbus: &Nimbus<'_>, request: &SubmitRequest, refusal: &Status) -> bool {
    refusal.code() == Code::AlreadyExists
        && compare(nimbus, request)
            .await
            .is_ok_and(|found| matches!(found.comparison(), Comparison::Ending | Comparison::Absent))
}

fn is_before(until: Instant) -> bool {
    Instant::now() < until
}

async fn compare(nimbus: &Nimbus<'_>, request: &SubmitRequest) -> Result<CompareReply, Status> {
    let request = CompareRequest { spec: request.spec.clone() };
    let compare = async |mut client: Client| client.compare(request.clone()).await;
    Ok(nimbus.call(compare).await?.into_inner())
}
