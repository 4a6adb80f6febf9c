//! Merges what the workers of a topology log.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::stream::{self, SelectAll, StreamExt};
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{LONGEST_MESSAGE, LogChunk, LogsRequest, ReadLogRequest, WorkerId};
use tonic::{Code, Status};

use super::Streamed;
use super::find::Found;
use crate::core::{Core, lock};

impl Core {
    pub(super) async fn logs(&self, request: &LogsRequest) -> Result<Streamed<LogChunk>, Status> {
        let name = &request.name;
        let (id, notes, workers) = match self.find(name)? {
            Found::Living(topology) => (topology.id.clone(), None, self.logged_workers(&topology.id)),
            Found::Ended(past) => (past.id, Some(past.notes), self.reached(past.record.workers.iter().cloned())),
        };
        let has_ended = notes.is_some();
        if workers.is_empty() {
            return Err(Status::failed_precondition(match has_ended {
                true => format!("`{id}` has ended, and it is not known which workers ran it"),
                false => format!("no worker of `{name}` has run yet; see `describe {name}`"),
            }));
        }
        let opened = workers.into_iter().map(|(worker, address)| {
            let request = ReadLogRequest {
                topology_id: id.clone(),
                slot: worker.slot,
                follow: request.follow,
                last_lines: request.last_lines,
            };
            open(worker, address, request)
        });
        let opened: Vec<Streamed<LogChunk>> = join_all(opened).await.into_iter().flatten().collect();
        if opened.is_empty() && has_ended {
            return Err(Status::not_found(format!(
                "the logs of `{id}` are gone: supervisors keep those of the last topologies for a day after their end"
            )));
        }
        let notes = notes.unwrap_or_default().into_iter().map(|note| Ok(LogChunk { note, ..LogChunk::default() }));
        let merged: SelectAll<Streamed<LogChunk>> = opened.into_iter().collect();
        Ok(Box::pin(stream::iter(notes).chain(merged)))
    }

    /// Workers that run, or have run, where their supervisors are reached.
    fn logged_workers(&self, topology: &str) -> BTreeMap<WorkerId, Option<String>> {
        let mut workers: Vec<WorkerId> = {
            let view = self.view.borrow();
            let assigned = view.assignments.get(topology).into_iter().flat_map(|one| &one.value.workers);
            assigned.filter_map(|worker| worker.id.clone()).collect()
        };
        workers.extend(lock(&self.reports).of(topology).filter_map(|report| report.id.clone()));
        self.reached(workers)
    }

    /// These workers, each once, and where their supervisors are reached, if they are there.
    fn reached(&self, workers: impl IntoIterator<Item = WorkerId>) -> BTreeMap<WorkerId, Option<String>> {
        let view = self.view.borrow();
        let address = |id: &WorkerId| view.supervisors.get(&id.supervisor).map(|one| one.value.address());
        let workers = workers.into_iter().map(|id| {
            let address = address(&id);
            (id, address)
        });
        workers.collect()
    }
}

/// Opens the log of a worker; `None` if the supervisor has no log. An unreadable log becomes a line of output, so that
/// the other logs are still read.
async fn open(worker: WorkerId, address: Option<String>, request: ReadLogRequest) -> Option<Streamed<LogChunk>> {
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
            Some(Box::pin(lines))
        }
        // It has not logged anything yet, or its log was removed.
        Err(error) if error.code() == Code::NotFound => None,
        Err(error) => Some(Box::pin(stream::iter([Ok(unreadable(&worker, &error))]))),
    }
}

fn unreadable(worker: &WorkerId, error: &Status) -> LogChunk {
    let content = format!("(the log of {worker} cannot be read: {})\n", error.message());
    LogChunk { worker: Some(worker.clone()), content: content.into_bytes(), ..LogChunk::default() }
}
