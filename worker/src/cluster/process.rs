//! A worker process from its start to its exit.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use galerna_protocol::link_server::LinkServer;
use galerna_protocol::{Server, Signals, TopologySpec, WorkerHello, WorkerId, WorkerReport};
use galerna_topology_api::{Resources, Topology};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::TcpListenerStream;

use super::LONGEST_PACKET;
use super::attach::Tie;
use super::incoming::Incoming;
use super::log_file::LogFile;
use super::steward::{Event, Events, Identity, Leave, Steward};
use crate::clock::WallClock;
use crate::crew::{Crew, start_hook};
use crate::exchange::Exchange;
use crate::graph::Graph;
use crate::lane::Budget;
use crate::panics::{Panic, guarded};
use crate::run::RunShared;

/// How a worker is launched.
#[derive(Clone, Debug)]
pub struct Options {
    /// `host:port` of its supervisor.
    pub supervisor: String,
    /// The supervisor's id.
    pub id: String,
    /// The id of its topology.
    pub topology: String,
    /// The number of its slot.
    pub slot: u32,
    /// Which launch in that supervisor it is.
    pub incarnation: u64,
    /// Where to accept links; at any port if this one is taken.
    pub listen: String,
    /// The host that others reach it at.
    pub advertise: String,
    /// Where everything that it prints goes.
    pub log: Option<PathBuf>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// It was replaced.
    Fenced,
    /// It cannot go on; it has logged why.
    Failed,
}

/// How long a last report may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs a worker until it is told to end, was replaced, or cannot go on. `build` makes the topology
/// of what was submitted.
///
/// User code may still block a thread when this returns: the caller should exit the process.
pub fn run(options: Options, build: impl FnOnce(&TopologySpec) -> Result<Topology, String> + Send + 'static) -> Ended {
    let log = match options.log.as_deref().map(LogFile::adopt).transpose() {
        Ok(log) => log,
        Err(error) => return failed(&format!("cannot open the log: {error}")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("galerna-control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start the runtime: {error}")),
    };
    let leave = runtime.block_on(serve(options, log, build));
    runtime.shutdown_background();
    match leave {
        Ok(Leave::Told) => Ended::Told,
        Ok(Leave::Fenced(reason)) => {
            tracing::warn!("this worker was replaced: {reason}");
            Ended::Fenced
        }
        Ok(Leave::Failed(reason)) | Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> Ended {
    tracing::error!("{reason}");
    Ended::Failed
}

/// A listener at the slot's port, or at any if that is taken.
async fn listen(wanted: &str) -> Result<TcpListener, String> {
    let address: SocketAddr = wanted.parse().map_err(|_| format!("`{wanted}` is no address to listen at"))?;
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            let other = SocketAddr::new(address.ip(), 0);
            let listener =
                TcpListener::bind(other).await.map_err(|error| format!("cannot listen at {other}: {error}"))?;
            let port = listener.local_addr().map_or(0, |address| address.port());
            tracing::warn!("cannot listen at {address} ({error}): port {port} is used instead");
            Ok(listener)
        }
    }
}

async fn serve(
    options: Options,
    log: Option<LogFile>,
    build: impl FnOnce(&TopologySpec) -> Result<Topology, String> + Send + 'static,
) -> Result<Leave, String> {
    let listener = listen(&options.listen).await?;
    let port = listener.local_addr().map_err(|error| error.to_string())?.port();
    let address = galerna_protocol::host_port(&options.advertise, port);
    let (events, mut event_receiver) = Events::new();
    let (report_sender, reports) = watch::channel(WorkerReport::default());
    let (spec_sender, spec) = oneshot::channel();
    let hello = WorkerHello {
        topology_id: options.topology.clone(),
        slot: options.slot,
        incarnation: options.incarnation,
        pid: std::process::id(),
        address: address.clone(),
    };
    let tie =
        Tie { supervisor: options.supervisor.clone(), hello, events: events.clone(), reports, spec: Some(spec_sender) };
    let mut tied = JoinSet::new();
    tied.spawn(tie.hold());
    let mut around = JoinSet::new();
    around.spawn(watch_signals(events.clone()));
    if let Some(log) = log {
        around.spawn(keep_log(log));
    }
    let spec = tokio::select! {
        biased;
        spec = spec => spec.map_err(|_| "the supervisor told no topology".to_owned())?,
        leave = early_end(&mut event_receiver) => return Ok(leave),
    };
    let artifact = spec.artifact.clone().unwrap_or_default().sha256;
    let topology = tokio::task::spawn_blocking(move || build(&spec)).await.map_err(|error| error.to_string())??;
    let id = WorkerId::new(options.id.as_str(), options.slot);
    let me = Identity { topology: options.topology.clone(), id, incarnation: options.incarnation, address, artifact };
    let (task_events, task_receiver) = mpsc::unbounded_channel();
    let crew = crew(topology, &options, RunShared::new(WallClock::system(), task_events))?;
    let (hooks, incoming) = (crew.topology.clone(), Incoming { events: events.clone() });
    around.spawn(accept_links(listener, incoming));
    let leave = Steward::new(me, crew, events).run(event_receiver, task_receiver, report_sender).await;
    // The sender of reports is gone, so the tie ends when the last one was taken.
    let _ = timeout(LAST_WORDS, tied.join_next()).await;
    around.abort_all();
    for hook in hooks.worker_hooks() {
        if let Err(Panic(message)) = guarded(|| hook.shutdown()) {
            tracing::error!("a worker hook {message}");
        }
    }
    Ok(leave)
}

/// Why a worker ends that does not know its topology yet.
async fn early_end(events: &mut mpsc::UnboundedReceiver<Event>) -> Leave {
    loop {
        match events.recv().await {
            Some(Event::Fenced(reason)) => return Leave::Fenced(reason),
            Some(Event::Stop) | None => return Leave::Told,
            Some(_) => {}
        }
    }
}

pub(super) async fn accept_links(listener: TcpListener, incoming: Incoming) {
    let links = LinkServer::new(incoming).max_decoding_message_size(2 * LONGEST_PACKET);
    let served = Server::builder().add_service(links).serve_with_incoming(TcpListenerStream::new(listener)).await;
    if let Err(error) = served {
        tracing::error!("links are accepted no more: {error}");
    }
}

fn crew(topology: Topology, options: &Options, run: RunShared) -> Result<Crew, String> {
    let info = Arc::new(topology.info(options.topology.as_str()));
    let resources: Arc<Resources> = Arc::default();
    for hook in topology.worker_hooks() {
        start_hook(hook.as_ref(), &info, &resources).map_err(|error| format!("a worker hook failed: {error}"))?;
    }
    let graph = Arc::new(Graph::new(&topology));
    Ok(Crew {
        exchange: Arc::new(Exchange::new(graph.clone(), options.incarnation as u32, Budget::of(topology.config()))),
        graph,
        topology,
        info,
        run: Arc::new(run),
        resources,
        seed: fastrand::u64(..),
        tap: None,
        has_threads: true,
        parks: true,
    })
}

async fn keep_log(log: LogFile) {
    let mut look = interval(Duration::from_secs(1));
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = log.rotate_if_full() {
            tracing::warn!("the log cannot be rotated: {error}");
        }
    }
}

async fn watch_signals(events: Events) {
    // A worker that cannot listen is ended the hard way.
    let Ok(mut signals) = Signals::listen() else { return };
    signals.next().await;
    events.send(Event::Stop);
}
