//! Merges what the workers of a topology log.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::stream::{self, SelectAll, StreamExt};
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{LONGEST_MESSAGE, LogChunk, LogsRequest, ReadLogRequest, WorkerId};
use tonic::{Code, Status};

use super::Streamed;
use crate::core::{Core, lock};

impl Core {
    pub(super) async fn logs(&self, request: &LogsRequest) -> Result<Streamed<LogChunk>, Status> {
        let topology = self.named(&request.name)?;
        let workers = self.logged_workers(&topology.id);
        if workers.is_empty() {
            let name = &request.name;
            return Err(Status::failed_precondition(format!(
                "no worker of `{name}` has run yet; see `describe {name}`"
            )));
        }
        let opened = workers.into_iter().map(|(worker, address)| {
            let request = ReadLogRequest {
                topology_id: topology.id.clone(),
                slot: worker.slot,
                follow: request.follow,
                last_lines: request.last_lines,
            };
            open(worker, address, request)
        });
        let merged: SelectAll<Streamed<LogChunk>> = join_all(opened).await.into_iter().collect();
        Ok(Box::pin(merged))
    }

    /// Workers that run, or have run, where their supervisors are reached.
    fn logged_workers(&self, topology: &str) -> BTreeMap<WorkerId, Option<String>> {
        let view = self.view.borrow();
        let assigned = view.assignments.get(topology).into_iter().flat_map(|one| &one.value.workers);
        let mut workers: BTreeMap<WorkerId, Option<String>> = BTreeMap::new();
        for id in assigned.filter_map(|worker| worker.id.clone()) {
            workers.insert(id, None);
        }
        for id in lock(&self.reports).of(topology).filter_map(|report| report.id.clone()) {
            workers.insert(id, None);
        }
        for (id, address) in &mut workers {
            let registration = view.supervisors.get(&id.supervisor);
            *address = registration.map(|one| one.value.address());
        }
        workers
    }
}

/// What a worker logs. That it cannot be read is told in its place, so that the others are read on.
async fn open(worker: WorkerId, address: Option<String>, request: ReadLogRequest) -> Streamed<LogChunk> {
    let read = async {
        let address = address.ok_or_else(|| Status::unavailable("its supervisor is not there"))?;
        let client = SupervisorClient::new(galerna_protocol::connect(&address).await?);
        let lines = client.max_decoding_message_size(LONGEST_MESSAGE).read_log(request).await?;
        Ok::<_, Status>(lines.into_inner())
    };
    match read.await {
        Ok(lines) => {
            let from = worker.clone();
            let lines = lines.map(move |chunk| {
                Ok(match chunk {
                    Ok(chunk) => LogChunk { worker: chunk.worker.or_else(|| Some(from.clone())), ..chunk },
                    Err(error) => unreadable(&from, &error),
                })
            });
            Box::pin(lines)
        }
        // It has not logged anything yet, or its log was removed.
        Err(error) if error.code() == Code::NotFound => Box::pin(stream::empty()),
        Err(error) => Box::pin(stream::iter([Ok(unreadable(&worker, &error))])),
    }
}

fn unreadable(worker: &WorkerId, error: &Status) -> LogChunk {
    let content = format!("(the log of {worker} cannot be read: {})\n", error.message());
    LogChunk { worker: Some(worker.clone()), content: content.into_bytes() }
}
