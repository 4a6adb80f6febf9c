//! Sends what a worker has logged, and what it goes on to log.

use std::time::Duration;

use galerna_protocol::{LogChunk, ReadLogRequest, WorkerId};
use tokio::sync::mpsc;
use tonic::{Response, Status};

use super::{Answers, Service};
use crate::logs::{LogReader, Reading, path_of};

/// How soon new lines are seen.
const EACH: Duration = Duration::from_millis(100);

/// Opens a log.
pub(super) fn read(service: &Service, request: ReadLogRequest) -> Result<Response<Answers<LogChunk>>, Status> {
    let ReadLogRequest { topology_id, slot, follow, last_lines } = request;
    if !galerna_coordination::keys::is_name(&topology_id) {
        return Err(Status::invalid_argument(format!("`{topology_id:.200}` is no topology's id")));
    }
    let path = path_of(&service.shared.folders.logs(), &topology_id, slot);
    let unreadable = |error| Status::internal(format!("{} cannot be read: {error}", path.display()));
    let reader = LogReader::open(&path, last_lines).map_err(unreadable)?;
    let may_come = follow && service.views.borrow().has(&topology_id);
    if !reader.has_file() && !may_come {
        let supervisor = &service.shared.options.id;
        return Err(Status::not_found(format!("supervisor {supervisor} has no log of {topology_id} in slot {slot}")));
    }
    let worker = WorkerId::new(service.shared.options.id.clone(), slot);
    let views = service.views.clone();
    let may_grow = move || follow && views.borrow().has(&topology_id);
    Ok(service.stream(|out| send(reader, worker, may_grow, out)))
}

async fn send(
    mut reader: LogReader,
    worker: WorkerId,
    may_grow: impl Fn() -> bool,
    out: mpsc::Sender<Result<LogChunk, Status>>,
) {
    loop {
        // Asked first: what was written until it was over is read then.
        let goes_on = may_grow();
        let chunk = match reader.read() {
            Ok(Reading::Lines(content)) => Ok(content),
            Ok(Reading::End) if goes_on => {
                tokio::time::sleep(EACH).await;
                continue;
            }
            Ok(Reading::End) => {
                let content = reader.take_rest();
                if !content.is_empty() {
                    let _ = out.send(Ok(LogChunk { worker: Some(worker), content, ..LogChunk::default() })).await;
                }
                return;
            }
            Err(error) => Err(Status::internal(format!("the log cannot be read: {error}"))),
        };
        let is_over = chunk.is_err();
        let chunk = chunk.map(|content| LogChunk { worker: Some(worker.clone()), content, ..LogChunk::default() });
        if out.send(chunk).await.is_err() || is_over {
            return;
        }
    }
}
