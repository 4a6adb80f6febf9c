//! The stream between a worker and its supervisor: plans one way, reports the other.

use std::time::Duration;

use galerna_protocol::supervisor_message::Message as Telling;
use galerna_protocol::worker_message::Message as Told;
use galerna_protocol::{SupervisorMessage, WorkerHello, WorkerMessage};
use tokio::sync::{mpsc, oneshot};
use tonic::{Response, Status, Streaming};

use super::{Answers, Service};
use crate::keeper::{Attached, Command};
use crate::reports::Key;
use crate::shared::Shared;

/// How long a worker may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets a worker in that was launched here.
pub(super) async fn attach(
    service: &Service,
    mut told: Streaming<WorkerMessage>,
) -> Result<Response<Answers<SupervisorMessage>>, Status> {
    let first = tokio::time::timeout(PATIENCE, told.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("nothing was said; expected a hello"))??;
    let Some(Told::Hello(hello)) = first.and_then(|message| message.message) else {
        return Err(Status::invalid_argument("the first message is no hello"));
    };
    let key = Key { topology: hello.topology_id.clone(), slot: hello.slot, incarnation: hello.incarnation };
    let attached = ask(service, hello).await?;
    let shared = service.shared.clone();
    Ok(service.stream(|out| async move { converse(&shared, &key, attached, told, out).await }))
}

async fn ask(service: &Service, hello: WorkerHello) -> Result<Attached, Status> {
    let stopping = || Status::unavailable("this supervisor is stopping");
    let (answer, answered) = oneshot::channel();
    service.commands.send(Command::Attach { hello, answer }).await.map_err(|_| stopping())?;
    answered.await.map_err(|_| stopping())?
}

/// Until the worker goes. Whether its process is gone is seen elsewhere.
async fn converse(
    shared: &Shared,
    key: &Key,
    attached: Attached,
    mut told: Streaming<WorkerMessage>,
    out: mpsc::Sender<Result<SupervisorMessage, Status>>,
) {
    let Attached { spec, mut plans } = attached;
    // The queue is empty: this does not wait.
    if out.send(Ok(saying(Telling::Spec((*spec).clone())))).await.is_err() {
        return;
    }
    plans.mark_changed();
    let mut has_news = false;
    let mut is_planned = true;
    loop {
        tokio::select! {
            biased;
            changed = plans.changed(), if is_planned && !has_news => {
                // Its process has ended; what it said last may still be on its way.
                is_planned = changed.is_ok();
                has_news = changed.is_ok();
            }
            permit = out.reserve(), if has_news => {
                let Ok(permit) = permit else { return };
                let plan = plans.borrow_and_update().clone();
                permit.send(Ok(saying(Telling::Plan(plan))));
                has_news = false;
            }
            message = told.message() => match message {
                Ok(Some(message)) => listen(shared, key, message),
                Ok(None) | Err(_) => return,
            },
        }
    }
}

fn listen(shared: &Shared, key: &Key, message: WorkerMessage) {
    match message.message {
        Some(Told::Report(report)) => {
            if shared.reports().take(key, report) {
                shared.news.notify_one();
            }
        }
        Some(Told::Heartbeat(_)) => shared.reports().note_heartbeat(key),
        Some(Told::Fenced(why)) => {
            let Key { topology, slot, incarnation } = key;
            tracing::info!("incarnation {incarnation} of {topology} in slot {slot} was replaced: {why:.500}");
        }
        // A second hello says nothing new.
        Some(Told::Hello(_)) | None => {}
    }
}

fn saying(message: Telling) -> SupervisorMessage {
    SupervisorMessage { message: Some(message) }
}
