//! What the parts of one supervisor share.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use galerna_coordination::{DataLock, Revision};
use galerna_protocol::{LaunchFailure, SupervisorReport, WorkerReport};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::artifacts::Artifacts;
use crate::health::Health;
use crate::machine::{self, Cgroups, Limit};
use crate::memory::{Guarded, Shares, Traces};
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
    /// Tells its disks apart.
    pub(crate) disk: String,
    /// Points of CPU and mebibytes of memory that are announced.
    pub(crate) resources: (f64, f64),
    pub(crate) groups: Cgroups,
    /// The container's limit of memory.
    pub(crate) memory_limit: Option<Limit>,
    pub(crate) shares: Shares,
    traces: Mutex<Traces>,
    /// How an earlier start has ended, if that was probably for memory.
    pub(crate) earlier_end: Option<String>,
    pub(crate) artifacts: Artifacts,
    reports: Mutex<Reports>,
    writing: Mutex<()>,
    failures: Mutex<Vec<LaunchFailure>>,
    /// Told when Nimbus should hear of something at once.
    pub(crate) news: Notify,
    /// The registration that holds at present, or did last.
    session: AtomicI64,
    /// The store's revision at the newest registration; 0 before the first.
    pub(crate) registered: watch::Sender<Revision>,
    pub(crate) health: Health,
    /// When it goes at the latest, once it is leaving, by the wall clock.
    pub(crate) leave_by: watch::Sender<Option<i64>>,
    /// The processes that run.
    pub(crate) workers: watch::Sender<Vec<Guarded>>,
    _lock: DataLock,
}

impl Shared {
    pub(crate) fn new(
        options: Options,
        folders: Folders,
        listens: SocketAddr,
        artifacts: Artifacts,
        lock: DataLock,
    ) -> std::io::Result<Self> {
        let reports = Reports::load(folders.reports());
        let disk = disk_of(&folders.disk())?;
        let started_unix_ms = options.clock.now_ms();
        let groups = Cgroups::find(&options.system);
        let memory_limit = machine::memory_limit(&options.system, &groups);
        let (cpu, memory_mb) = machine::resources(&options.system, &groups);
        let said = options.memory_mb.map(|mib| (mib * 1024.0 * 1024.0) as u64);
        let bound = said.into_iter().chain(memory_limit.as_ref().map(|limit| limit.bytes)).min();
        Ok(Self {
            started_unix_ms,
            disk,
            resources: (options.cpu.unwrap_or(cpu), options.memory_mb.unwrap_or(memory_mb)),
            shares: Shares::new(options.worker_memory, bound, options.slots),
            groups,
            memory_limit,
            earlier_end: Traces::of_earlier(&folders.memory(), started_unix_ms),
            traces: Mutex::new(Traces::new(folders.memory())),
            options,
            folders,
            listens,
            artifacts,
            reports: Mutex::new(reports),
            writing: Mutex::default(),
            failures: Mutex::default(),
            news: Notify::new(),
            session: AtomicI64::new(0),
            registered: watch::Sender::new(0),
            health: Health::default(),
            leave_by: watch::Sender::new(None),
            workers: watch::Sender::default(),
            _lock: lock,
        })
    }

    pub(crate) fn reports(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn traces(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a worker is gone that nobody here has killed, if the kernel did it for memory.
    pub(crate) fn of_kill(&self, now: Instant) -> Option<String> {
        let kills = self.groups.kills();
        self.traces().of_kill(kills, now)
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

    /// Everything that Nimbus is told, once it is on disk. It blocks.
    pub(crate) fn written_report(&self) -> SupervisorReport {
        // One writes at a time, so that no file becomes older.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (writes, workers) = {
            let mut reports = self.reports();
            (reports.take_writes(), reports.all())
        };
        writes.carry_out();
        self.report_with(workers)
    }

    /// Everything that Nimbus is told.
    pub(crate) fn report(&self) -> SupervisorReport {
        self.report_with(self.reports().all())
    }

    fn report_with(&self, workers: Vec<WorkerReport>) -> SupervisorReport {
        SupervisorReport {
            supervisor: self.options.id.clone(),
            session: self.session.load(Ordering::Relaxed),
            workers,
            failures: self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            started_unix_ms: self.started_unix_ms,
            disk: self.disk.clone(),
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

/// The number of a disk, which is made up when there is none yet.
fn disk_of(path: &Path) -> std::io::Result<String> {
    if let Some(disk) = crate::files::read_json::<String>(path) {
        return Ok(disk);
    }
    // What maps are seeded with is as random as anything that std has.
    let part = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), path);
    let disk = format!("{:016x}{:016x}", part(), part());
    crate::files::write_json(path, &disk)?;
    Ok(disk)
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

    /// What tells this disk from others.
    pub(crate) fn disk(&self) -> PathBuf {
        self.0.join("disk.json")
    }

    /// How full the memory was, while it was nearly full.
    pub(crate) fn memory(&self) -> PathBuf {
        self.0.join("memory.json")
    }

    /// What the store said last.
    pub(crate) fn view(&self) -> PathBuf {
        self.0.join("view.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_keeps_its_number_and_another_has_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = |name: &str| disk_of(&folder.path().join(name)).expect("written");
        let first = disk("a");
        assert_eq!((first.len(), disk("a")), (32, first.clone()));
        assert_ne!(disk("b"), first);
    }
}
