//! What the parts of one supervisor share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use galerna_coordination::{DataLock, Revision};
use galerna_protocol::{LaunchFailure, SupervisorReport, WorkerReport};
use tokio::sync::{Notify, watch};

use crate::artifacts::Artifacts;
use crate::health::Health;
use crate::options::Options;
use crate::reports::Reports;

/// Shared by all tasks of one supervisor; it holds the lock of the data folder until the last has ended.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) folders: Folders,
    /// Where its RPC listens.
    pub(crate) listens: SocketAddr,
    pub(crate) started_unix_ms: i64,
    pub(crate) artifacts: Artifacts,
    reports: Mutex<Reports>,
    failures: Mutex<Vec<LaunchFailure>>,
    /// Told when Nimbus should hear of something at once.
    pub(crate) news: Notify,
    /// The registration that holds at present, or did last.
    session: AtomicI64,
    /// The store's revision at the newest registration; 0 before the first.
    pub(crate) registered: watch::Sender<Revision>,
    pub(crate) health: Health,
    _lock: DataLock,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        folders: Folders,
        listens: SocketAddr,
        artifacts: Artifacts,
        lock: DataLock,
    ) -> Self {
        let reports = Reports::load(folders.reports());
        Self {
            started_unix_ms: options.clock.now_ms(),
            options,
            folders,
            listens,
            artifacts,
            reports: Mutex::new(reports),
            failures: Mutex::default(),
            news: Notify::new(),
            session: AtomicI64::new(0),
            registered: watch::Sender::new(0),
            health: Health::default(),
            _lock: lock,
        }
    }

    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these be the failures that Nimbus hears of.
    pub(crate) fn set_failures(&self, failures: Vec<LaunchFailure>) {
        let mut known = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != failures {
            *known = failures;
            self.news.notify_one();
        }
    }

    pub(crate) fn set_session(&self, session: i64) {
        self.session.store(session, Ordering::Relaxed);
    }

    /// Everything that Nimbus is told.
    pub(crate) fn report(&self) -> SupervisorReport {
        let workers: Vec<WorkerReport> = self.reports().all();
        SupervisorReport {
            supervisor: self.options.id.clone(),
            session: self.session.load(Ordering::Relaxed),
            workers,
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            started_unix_ms: self.started_unix_ms,
            ..SupervisorReport::default()
        }
    }

    /// `host:port` where its own workers reach it.
    pub(crate) fn address_for_workers(&self) -> SocketAddr {
        let host = match self.listens.ip() {
            IpAddr::V4(host) if host.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(host) if host.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            host => host,
        };
        SocketAddr::new(host, self.listens.port())
    }
}

/// Where things lie in the data folder.
#[derive(Clone, Debug)]
pub(crate) struct Folders(PathBuf);

impl Folders {
    pub(crate) fn new(data: PathBuf) -> Self {
        Self(data)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.0
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.0.join("artifacts")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(crate) fn reports(&self) -> PathBuf {
        self.0.join("reports")
    }

    /// What runs in the slots.
    pub(crate) fn workers(&self) -> PathBuf {
        self.0.join("workers")
    }

    /// The last incarnation that was given.
    pub(crate) fn incarnation(&self) -> PathBuf {
        self.0.join("incarnation.json")
    }

    /// The registrations that were this daemon's.
    pub(crate) fn sessions(&self) -> PathBuf {
        self.0.join("sessions.json")
    }

    /// What the store said last.
    pub(crate) fn view(&self) -> PathBuf {
        self.0.join("view.json")
    }
}
