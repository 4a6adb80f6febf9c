//! A supervisor from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::Keys;
use galerna_coordination::metrics::MeasuredStore;
use galerna_coordination::{DataLock, Observed, Store, StoreError};
use galerna_protocol::supervisor_server::SupervisorServer;
use galerna_protocol::{LONGEST_MESSAGE, Server, VersionCheck};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;

use crate::artifacts::Artifacts;
use crate::error::StartError;
use crate::health::Observable;
use crate::keeper::{Command, Keeper};
use crate::leaving;
use crate::memory;
use crate::options::Options;
use crate::registration::Registrar;
use crate::reporting;
use crate::service::Service;
use crate::shared::{Folders, Shared};
use crate::view::{View, restore, watch_store};

/// How long open streams may take to end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// A supervisor that runs. Dropped, it ends as if it were killed: its workers run on.
#[derive(Debug)]
pub struct Supervisor {
    shared: Arc<Shared>,
    views: watch::Receiver<Arc<View>>,
    commands: mpsc::Sender<Command>,
    /// Each is stopped by itself, in order.
    registrar: JoinSet<Option<StartError>>,
    reporter: JoinSet<()>,
    others: JoinSet<()>,
    give_name_back: CancellationToken,
    last_report: CancellationToken,
    stop: CancellationToken,
    streams: TaskTracker,
    _stop_when_dropped: DropGuard,
}

impl Supervisor {
    /// Starts a supervisor, which serves on `listener` and does what `store` says. If the store cannot be
    /// reached, it goes on with what it knew before.
    ///
    /// # Errors
    /// If its name or its folder is taken by another, or it cannot use its folder.
    pub async fn start(options: Options, store: Arc<dyn Store>, listener: TcpListener) -> Result<Self, StartError> {
        let listens = listener.local_addr().map_err(StartError::Listener)?;
        check(&options, listens)?;
        let shared = Arc::new(open(options, listens).await?);
        let store: Arc<dyn Store> = Arc::new(MeasuredStore::new(store, Arc::clone(&shared.health.store)));
        let keys = Keys::new(&shared.options.cluster);
        let mut registrar = Registrar::new(Arc::clone(&shared), Arc::clone(&store), &keys);
        let lease = match registrar.register().await {
            Ok(lease) => Some(lease),
            Err(StartError::Store(error @ StoreError::Unavailable(_))) => {
                tracing::warn!("{error}; going on with what was known, and trying again");
                None
            }
            Err(error) => return Err(error),
        };
        let stop = CancellationToken::new();
        let (publish, views) = watch::channel(Arc::new(restore(&shared)));
        let (commands, asked) = mpsc::channel(64);
        let mut supervisor = Self {
            views: views.clone(),
            commands: commands.clone(),
            registrar: JoinSet::new(),
            reporter: JoinSet::new(),
            others: JoinSet::new(),
            give_name_back: CancellationToken::new(),
            last_report: CancellationToken::new(),
            streams: TaskTracker::new(),
            _stop_when_dropped: stop.clone().drop_guard(),
            stop: stop.clone(),
            shared: Arc::clone(&shared),
        };
        let guard = memory::watch(Arc::clone(&shared), shared.workers.subscribe(), commands.clone());
        let service = Service {
            shared: Arc::clone(&shared),
            views: views.clone(),
            commands,
            streams: supervisor.streams.clone(),
            stop: stop.clone(),
        };
        supervisor.others.spawn(Keeper::new(Arc::clone(&shared), views.clone(), asked).run());
        supervisor.others.spawn(watch_store(Arc::clone(&shared), store, keys, publish));
        supervisor.others.spawn(guard);
        supervisor.others.spawn(serve(service, listener, stop));
        supervisor.registrar.spawn(registrar.keep(lease, supervisor.give_name_back.clone()));
        supervisor.reporter.spawn(reporting::report(shared, views, supervisor.last_report.clone()));
        Ok(supervisor)
    }

    /// Its name.
    pub fn id(&self) -> &str {
        &self.shared.options.id
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.listens
    }

    /// What it lets be seen of itself. It keeps the data folder locked.
    pub fn observed(&self) -> Arc<dyn Observed> {
        Arc::new(Observable { shared: Arc::clone(&self.shared), views: self.views.clone() })
    }

    /// Whether it surely stands in the store.
    pub fn is_registered(&self) -> bool {
        self.shared.health.registration().is_ok()
    }

    /// Whether it was told to [`leave`](Self::leave).
    pub fn is_leaving(&self) -> bool {
        self.shared.leave_by.borrow().is_some()
    }

    /// What it announces: points of CPU (100 are a core), and mebibytes of memory.
    pub fn resources(&self) -> (f64, f64) {
        self.shared.resources
    }

    /// Says that it is about to go, and waits until it may: until its tasks have been moved away by Nimbus, until
    /// no other supervisor is there that could take them, and no longer than `within`. It is given nothing new
    /// meanwhile. [`stop`](Self::stop) it then.
    ///
    /// # Errors
    /// If it cannot go on.
    ///
    /// # Cancel safety
    /// It may be dropped; what was said stays said.
    pub async fn leave(&mut self, within: Duration) -> Result<(), StartError> {
        let leaving = leaving::leave(Arc::clone(&self.shared), self.views.clone(), within);
        tokio::select! {
            biased;
            error = self.failed() => Err(error),
            () = leaving => Ok(()),
        }
    }

    /// Waits until it cannot go on: another daemon got its name while the store was away at the start, or
    /// a part of it has ended by a fault of its own.
    ///
    /// # Cancel safety
    /// It may be dropped.
    pub async fn failed(&mut self) -> StartError {
        let ended = |end: Option<Result<(), tokio::task::JoinError>>| {
            let reason = match end {
                Some(Err(error)) => error.to_string(),
                _ => "without a reason".to_owned(),
            };
            StartError::Ended(reason)
        };
        tokio::select! {
            biased;
            end = self.registrar.join_next() => match end {
                Some(Ok(Some(error))) => error,
                Some(Err(error)) => StartError::Ended(error.to_string()),
                _ => StartError::Ended("its registration".to_owned()),
            },
            end = self.reporter.join_next() => ended(end),
            end = self.others.join_next() => ended(end),
        }
    }

    /// Stops: workers are ended unless they are to run on, Nimbus gets a last report, and the name is free.
    pub async fn stop(mut self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop { done }).await.is_ok() {
            // It bounds itself.
            let _ = stopped.await;
        }
        self.last_report.cancel();
        while self.reporter.join_next().await.is_some() {}
        self.give_name_back.cancel();
        while self.registrar.join_next().await.is_some() {}
        self.stop.cancel();
        self.streams.close();
        let _ = tokio::time::timeout(LAST_WAIT, self.streams.wait()).await;
        self.others.shutdown().await;
        // Nobody looks any more: this was a proper end, however full it was.
        self.shared.traces().clear();
    }
}

fn check(options: &Options, listens: SocketAddr) -> Result<(), StartError> {
    if !galerna_coordination::keys::is_name(&options.id) {
        return Err(StartError::BadName(options.id.clone()));
    }
    let most = u32::from(u16::MAX - listens.port());
    if options.slots > most {
        return Err(StartError::TooManySlots { slots: options.slots, port: listens.port(), most });
    }
    Ok(())
}

/// Opens the data folder, if nobody else has.
async fn open(mut options: Options, listens: SocketAddr) -> Result<Shared, StartError> {
    let path = options.data.display().to_string();
    let folder_error = |source| StartError::Folder { path: path.clone(), source };
    // Workers run elsewhere, so the path must not depend on where this runs.
    let data = std::path::absolute(&options.data).map_err(folder_error)?;
    let Some(lock) = DataLock::take(&data).await.map_err(folder_error)? else {
        return Err(StartError::FolderTaken(data.display().to_string()));
    };
    let folders = Folders::new(data);
    let artifacts = Artifacts::new(folders.artifacts()).map_err(folder_error)?;
    options.data = folders.data().to_owned();
    Shared::new(options, folders, listens, artifacts, lock).map_err(folder_error)
}

async fn serve(service: Service, listener: TcpListener, stop: CancellationToken) {
    let (health, health_service) = tonic_health::server::health_reporter();
    type Checked = InterceptedService<SupervisorServer<Service>, VersionCheck>;
    health.set_serving::<Checked>().await;
    let server = SupervisorServer::new(service).max_decoding_message_size(LONGEST_MESSAGE);
    let router =
        Server::builder().add_service(health_service).add_service(InterceptedService::new(server, VersionCheck::new()));
    let connections = futures_util::stream::unfold(listener, |listener| async {
        let connection = accept(&listener).await;
        Some((Ok::<_, std::io::Error>(connection), listener))
    });
    if let Err(error) = router.serve_with_incoming_shutdown(connections, stop.cancelled()).await {
        tracing::error!("the server has ended: {error}");
    }
}

/// The next connection, however many cannot be accepted.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // It works without, only slower.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
