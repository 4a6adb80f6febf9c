//! The supervisor of both workers: hands out the plan, changes its order, takes in reports.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{Stream, stream};
use galerna_protocol::supervisor_server::{self, SupervisorServer};
use galerna_protocol::{
    ArtifactChunk, AssignedWorker, Assignment, DownloadArtifactRequest, LocateReply, LocateRequest, LogChunk, Order,
    ReadLogRequest, Server, SupervisorMessage, TaskRange, TaskReport, TopologySpec, WorkerId, WorkerMessage,
    WorkerPlan, WorkerReport, WorkerState, supervisor_message, worker_message,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

pub(super) const TOPOLOGY: &str = "bench-1";
pub(super) const ID: &str = "bench";
/// How long workers may take to do as they are told.
const PATIENCE: Duration = Duration::from_secs(30);

/// The last report of each slot.
type Reports = BTreeMap<u32, WorkerReport>;

/// See the module.
pub(super) struct Supervisor {
    /// `host:port`.
    pub(super) address: String,
    plan: watch::Sender<WorkerPlan>,
    reports: watch::Receiver<Reports>,
    _serving: JoinSet<()>,
}

impl Supervisor {
    /// Serves a plan: each of these slots runs tasks.
    pub(super) async fn start(workers: impl Iterator<Item = (u32, Range<u32>)>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let worker = |(slot, tasks): (u32, Range<u32>)| AssignedWorker {
            id: Some(WorkerId::new(ID, slot)),
            host: "127.0.0.1".to_owned(),
            supervisor_address: address.clone(),
            executors: tasks.map(|task| TaskRange::new(task, task)).collect(),
        };
        let assignment = Assignment { generation: 1, workers: workers.map(worker).collect(), handovers: Vec::new() };
        let mut plan = WorkerPlan {
            topology_id: TOPOLOGY.to_owned(),
            assignment: Some(assignment),
            version: 1,
            ..WorkerPlan::default()
        };
        plan.set_order(Order::Run);
        let (plan, plans) = watch::channel(plan);
        let (report_sender, reports) = watch::channel(Reports::new());
        let service = SupervisorServer::new(Service { plans, reports: report_sender });
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let served = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
            if let Err(error) = served.await {
                eprintln!("error: workers are served no more: {error}");
            }
        });
        Ok(Self { address, plan, reports, _serving: serving })
    }

    /// Gives all workers an order.
    pub(super) fn order(&self, order: Order) {
        self.plan.send_modify(|plan| {
            plan.set_order(order);
            plan.version += 1;
        });
    }

    /// Waits until these workers report a state; what their tasks have counted then, by task.
    pub(super) async fn until(&mut self, slots: &[u32], state: WorkerState) -> Result<Vec<TaskReport>> {
        let are_there =
            |reports: &Reports| slots.iter().all(|slot| reports.get(slot).is_some_and(|it| it.state() == state));
        let waited = timeout(PATIENCE, self.reports.wait_for(are_there)).await;
        let reports = waited.with_context(|| format!("workers are not {state:?} after {PATIENCE:?}"))??.clone();
        for (slot, report) in &reports {
            ensure!(report.failure.is_empty(), "worker {slot} failed: {}", report.failure);
            ensure!(report.errors.is_empty(), "worker {slot} has errors: {:?}", report.errors);
        }
        let mut tasks: Vec<TaskReport> = reports.into_values().flat_map(|report| report.tasks).collect();
        tasks.sort_by_key(|report| report.task);
        Ok(tasks)
    }
}

struct Service {
    plans: watch::Receiver<WorkerPlan>,
    reports: watch::Sender<Reports>,
}

/// One worker's tie.
struct Tie {
    told: Streaming<WorkerMessage>,
    plans: watch::Receiver<WorkerPlan>,
    reports: watch::Sender<Reports>,
    /// What was submitted, until it was told.
    spec: Option<TopologySpec>,
}

impl Tie {
    /// What the worker is told next; nothing when it has left.
    async fn next(&mut self) -> Option<SupervisorMessage> {
        let message = |message| Some(SupervisorMessage { message: Some(message) });
        if let Some(spec) = self.spec.take() {
            self.plans.mark_changed();
            return message(supervisor_message::Message::Spec(spec));
        }
        loop {
            tokio::select! {
                biased;
                told = self.told.message() => match told {
                    Ok(Some(told)) => self.take(told),
                    Ok(None) | Err(_) => return None,
                },
                changed = self.plans.changed() => {
                    changed.ok()?;
                    let plan = self.plans.borrow_and_update().clone();
                    return message(supervisor_message::Message::Plan(plan));
                }
            }
        }
    }

    fn take(&self, told: WorkerMessage) {
        if let Some(worker_message::Message::Report(report)) = told.message
            && let Some(id) = &report.id
        {
            let slot = id.slot;
            self.reports.send_modify(|reports| {
                reports.insert(slot, report);
            });
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl supervisor_server::Supervisor for Service {
    type AttachStream = Answers<SupervisorMessage>;
    type ReadLogStream = Answers<LogChunk>;
    type DownloadArtifactStream = Answers<ArtifactChunk>;

    async fn attach(&self, request: Request<Streaming<WorkerMessage>>) -> Result<Response<Self::AttachStream>, Status> {
        let tie = Tie {
            told: request.into_inner(),
            plans: self.plans.clone(),
            reports: self.reports.clone(),
            spec: Some(TopologySpec { name: ID.to_owned(), ..TopologySpec::default() }),
        };
        let messages = stream::unfold(tie, |mut tie| async move {
            let message = tie.next().await?;
            Some((Ok(message), tie))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn locate(&self, request: Request<LocateRequest>) -> Result<Response<LocateReply>, Status> {
        let address = format!("127.0.0.1:{}", request.into_inner().slot);
        Ok(Response::new(LocateReply { address, incarnation: 1 }))
    }

    async fn read_log(&self, _: Request<ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        Err(Status::unimplemented("there is no log"))
    }

    async fn download_artifact(
        &self,
        _: Request<DownloadArtifactRequest>,
    ) -> Result<Response<Self::DownloadArtifactStream>, Status> {
        Err(Status::unimplemented("there is no artifact"))
    }
}
