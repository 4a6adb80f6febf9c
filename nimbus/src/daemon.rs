//! The daemon: starts all parts of a nimbus, and ends them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use galerna_coordination::keys::{Keys, Leader, Member};
use galerna_coordination::metrics::MeasuredStore;
use galerna_coordination::{DataLock, Election, Event, Lease, Observed, Store, StoreError, Transaction};
use galerna_protocol::nimbus_server::NimbusServer;
use galerna_protocol::{LONGEST_MESSAGE, Server, VersionCheck};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic_health::ServingStatus;

use crate::blobs::FolderStore;
use crate::core::Core;
use crate::health::{Health, Observable};
use crate::metrics::Measured;
use crate::options::Options;
use crate::rpc::{Rpc, Timed};
use crate::view::View;
use crate::{keeper, reconcile};

/// How long calls under way may take to end when the daemon stops.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// How long is waited before something is tried again that the store did not do.
const RETRY: Duration = Duration::from_millis(500);

/// Why a nimbus could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its folder cannot be used.
    #[error("the data folder cannot be used")]
    Data(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another nimbus uses its folder.
    #[error("another nimbus is running on the data folder {0}; give this one another --data")]
    DataTaken(String),
    /// Its listener cannot be used.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
}

/// A nimbus that runs.
///
/// Dropping it ends it as a crash would; [`stop`](Self::stop) has another lead at once.
#[derive(Debug)]
pub struct Nimbus {
    core: Arc<Core>,
    local_address: SocketAddr,
    tasks: JoinSet<()>,
    server: JoinSet<()>,
    /// Has the membership given back.
    stopping: CancellationToken,
    /// The last to go: until then the folder is in use.
    _lock: DataLock,
}

impl Nimbus {
    /// Starts a nimbus that listens there. It comes up while the store cannot be reached, too, and says
    /// so to whoever asks.
    ///
    /// # Errors
    /// When its folder or the listener cannot be used, or another nimbus uses that folder.
    pub async fn start(options: Options, store: Arc<dyn Store>, listener: TcpListener) -> Result<Self, StartError> {
        let local_address = listener.local_addr().map_err(StartError::Listener)?;
        let lock = match DataLock::take(&options.data).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(StartError::DataTaken(options.data.display().to_string())),
            Err(error) => return Err(StartError::Data(Box::new(error))),
        };
        let artifacts = options.data.join("artifacts");
        let blobs = FolderStore::open(artifacts, options.artifact_limit, Default::default())
            .map_err(|error| StartError::Data(Box::new(error)))?;
        let host =
            if options.advertise.is_empty() { local_address.ip().to_string() } else { options.advertise.clone() };
        let address = galerna_protocol::host_port(&host, local_address.port());
        let id = if options.id.is_empty() { address.clone() } else { options.id.clone() };
        let keys = Keys::new(&options.cluster);
        let measured = Measured::default();
        let store: Arc<dyn Store> = Arc::new(MeasuredStore::new(store, Arc::clone(&measured.store)));
        let candidate = Leader { id: id.clone(), address: address.clone() };
        // It stands when what living topologies need is here.
        let election = Election::observe(Arc::clone(&store), &keys, candidate, options.lease);
        let stopped = CancellationToken::new();
        let core = Arc::new(Core {
            id,
            address,
            keys,
            store,
            blobs: Arc::new(blobs),
            view: watch::Sender::new(View::default()),
            standing: election.standing(),
            election: Mutex::new(Some(election)),
            reports: Mutex::default(),
            rates: Mutex::default(),
            shortfalls: Mutex::new(BTreeMap::new()),
            lacks: Mutex::default(),
            needs: Mutex::default(),
            wake: Notify::new(),
            stopped: stopped.clone(),
            leader_channel: Mutex::default(),
            health: Health::default(),
            measured,
            options,
        });
        let (health, health_service) = tonic_health::server::health_reporter();
        let stopping = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_store(Arc::clone(&core)));
        tasks.spawn(keep_membership(Arc::clone(&core), stopping.clone()));
        tasks.spawn(reconcile::run(Arc::clone(&core)));
        tasks.spawn(keeper::run(Arc::clone(&core)));
        tasks.spawn(tell_health(Arc::clone(&core), health));
        let service = NimbusServer::new(Rpc { core: Arc::clone(&core) }).max_decoding_message_size(LONGEST_MESSAGE);
        let router = Server::builder()
            .add_service(health_service)
            .add_service(Timed::new(InterceptedService::new(service, VersionCheck::new()), Arc::clone(&core)));
        let mut server = JoinSet::new();
        let incoming = TcpListenerStream::new(listener);
        server.spawn(async move {
            let ended = router.serve_with_incoming_shutdown(incoming, stopped.cancelled_owned()).await;
            if let Err(error) = ended {
                tracing::error!(%error, "the server has failed");
            }
        });
        tracing::info!(id = core.id, address = core.address, cluster = core.options.cluster, "nimbus has started");
        Ok(Self { core, local_address, tasks, server, stopping, _lock: lock })
    }

    /// Where it listens.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// `host:port` where others reach it.
    pub fn address(&self) -> &str {
        &self.core.address
    }

    /// Whether it leads at this moment.
    pub fn is_leading(&self) -> bool {
        self.core.leadership().is_some()
    }

    /// What it lets be seen of itself.
    pub fn observed(&self) -> Arc<dyn Observed> {
        Arc::new(Observable(Arc::clone(&self.core)))
    }

    /// Ends it, within a few seconds: it steps down, so that another leads at once.
    pub async fn stop(mut self) {
        self.core.stopped.cancel();
        self.stopping.cancel();
        let election = crate::core::lock(&self.core.election).take();
        let resigned = async {
            if let Some(election) = election {
                election.resign().await;
            }
        };
        // Whatever takes longer is cut off: its lease ends by itself.
        let _ = tokio::time::timeout(STOP_WAIT, resigned).await;
        let _ = tokio::time::timeout(STOP_WAIT, self.server.join_next()).await;
        self.server.shutdown().await;
        // The membership is given back by its task; the others would run for ever.
        let _ = tokio::time::timeout(STOP_WAIT, self.tasks.join_next()).await;
        self.tasks.shutdown().await;
    }
}

impl Drop for Nimbus {
    fn drop(&mut self) {
        // Connections that are still open hold the rest: it must neither lead nor answer any more.
        self.core.stopped.cancel();
        crate::core::lock(&self.core.election).take();
    }
}

/// Keeps the view up to date.
async fn follow_store(core: Arc<Core>) {
    loop {
        let mut watch = core.store.watch(core.keys.root());
        while let Some(event) = watch.events.recv().await {
            if event == Event::Disconnected {
                core.measured.store.note_disconnect();
            }
            core.view.send_modify(|view| view.apply(&core.keys, event, Instant::now()));
        }
        core.view.send_modify(|view| view.unbroken_since = None);
        tokio::time::sleep(RETRY).await;
    }
}

/// Stands among the members for as long as the daemon runs.
async fn keep_membership(core: Arc<Core>, stopping: CancellationToken) {
    loop {
        let joined = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            joined = join(&core) => joined,
        };
        let Ok(lease) = joined else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        let mut lost = lease.lost.clone();
        let is_lost = async {
            // An error means that nobody looks after it any more.
            let _ = lost.wait_for(|is_lost| *is_lost).await;
        };
        tokio::select! {
            biased;
            () = stopping.cancelled() => {
                if let Err(error) = core.store.revoke(lease).await {
                    tracing::debug!(%error, "the membership ends by itself");
                }
                return;
            }
            () = is_lost => {}
        }
    }
}

async fn join(core: &Core) -> Result<Lease, StoreError> {
    let lease = core.store.lease(core.options.lease).await?;
    let member = Member { address: core.address.clone() };
    let transaction = Transaction::new().put_json_leased(core.keys.member(&core.id), &member, lease.id)?;
    core.store.commit(transaction).await?;
    Ok(lease)
}

/// Says that the daemon serves, once the store was reached.
async fn tell_health(core: Arc<Core>, health: tonic_health::server::HealthReporter) {
    let service = "galerna.v1.Nimbus";
    for name in ["", service] {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    let mut view = core.view.subscribe();
    if view.wait_for(|view| view.unbroken_since.is_some()).await.is_ok() {
        for name in ["", service] {
            health.set_service_status(name, ServingStatus::Serving).await;
        }
    }
    // The reporter must live: the service forgets everything with it.
    std::future::pending::<()>().await;
}
