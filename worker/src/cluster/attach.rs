//! The tie between a worker and its supervisor: says who it is, hears what was submitted and what is
//! planned, reports. A tie that breaks is made anew, for ever; the worker goes on meanwhile.

use std::time::Duration;

use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{
    LONGEST_MESSAGE, SupervisorMessage, TopologySpec, WorkerHeartbeat, WorkerHello, WorkerMessage, WorkerReport,
    connect, supervisor_message, worker_message,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::steward::{Event, Events};

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Time between two heartbeats until the first report. Reports follow each other as closely.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// What a worker needs to be tied to its supervisor.
pub(super) struct Tie {
    /// `host:port`.
    pub(super) supervisor: String,
    pub(super) hello: WorkerHello,
    pub(super) events: Events,
    pub(super) reports: watch::Receiver<WorkerReport>,
    /// Gets what was submitted, once.
    pub(super) spec: Option<oneshot::Sender<TopologySpec>>,
}

impl Tie {
    /// Keeps the tie up until the reports end: the last one is sent, and taken, before this returns. A
    /// supervisor that is away just then may come back: how long that is waited for, the caller decides.
    pub(super) async fn hold(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let began = tokio::time::Instant::now();
            match self.attach().await {
                Ok(()) => return,
                Err(status) if status.code() == Code::PermissionDenied => {
                    self.events.send(Event::Fenced(status.message().to_owned()));
                    if self.reports.has_changed().is_err() {
                        return;
                    }
                }
                Err(status) => tracing::debug!("the supervisor is away: {}", status.message()),
            }
            if began.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attach(&mut self) -> Result<(), Status> {
        let mut client =
            SupervisorClient::new(connect(&self.supervisor).await?).max_decoding_message_size(LONGEST_MESSAGE);
        let (messages, receiver) = mpsc::channel(4);
        let message = |message| WorkerMessage { message: Some(message) };
        let _ = messages.send(message(worker_message::Message::Hello(self.hello.clone()))).await;
        let mut plans = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // To build the topology may take user code minutes; there is nothing to report until then.
            let is_starting = self.reports.borrow().id.is_none();
            tokio::select! {
                biased;
                told = plans.message() => match told? {
                    Some(told) => self.take(told),
                    None => return Err(Status::unavailable("the supervisor has closed the connection")),
                },
                _ = heartbeat.tick(), if is_starting => {
                    let _ = messages.send(message(worker_message::Message::Heartbeat(WorkerHeartbeat {}))).await;
                }
                changed = self.reports.changed() => {
                    let report = self.reports.borrow_and_update().clone();
                    // Before the first plan there is nothing to report.
                    if report.id.is_some() {
                        let _ = messages.send(message(worker_message::Message::Report(report))).await;
                    }
                    if changed.is_err() {
                        drop(messages);
                        return drained(plans).await;
                    }
                }
            }
        }
    }

    fn take(&mut self, told: SupervisorMessage) {
        match told.message {
            Some(supervisor_message::Message::Plan(plan)) => self.events.send(Event::Plan(plan)),
            Some(supervisor_message::Message::Spec(spec)) => {
                if let Some(waiting) = self.spec.take() {
                    let _ = waiting.send(spec);
                }
            }
            None => {}
        }
    }
}

/// Waits until the supervisor has taken everything and closes its side.
async fn drained(mut plans: Streaming<SupervisorMessage>) -> Result<(), Status> {
    let _ = tokio::time::timeout(LONGEST_WAIT, async { while let Ok(Some(_)) = plans.message().await {} }).await;
    Ok(())
}
