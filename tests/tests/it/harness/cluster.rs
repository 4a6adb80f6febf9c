//! A cluster that runs.

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::sync::MutexGuard;

use super::daemon::Daemon;
use super::network::Network;
use super::processes;
use galerna_tests::bound::{bound, secs, within};

/// A cluster that runs. Dropping it kills all that belongs to it; unless it has
/// [ended well](Self::ends_well) before, its logs are printed.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) etcd: Daemon,
    pub(crate) nimbuses: Vec<Daemon>,
    pub(crate) supervisors: Vec<Daemon>,
    pub(crate) network: Option<Network>,
    pub(super) nimbus_addresses: Vec<String>,
    /// Where metrics and health are served.
    pub(crate) nimbus_https: Vec<String>,
    pub(crate) supervisor_https: Vec<String>,
    pub(super) etcd_address: String,
    /// Where etcd and Nimbus listen, and supervisors too unless they have namespaces.
    pub(crate) host: String,
    pub(super) mark: String,
    pub(super) is_over: AtomicBool,
    pub(super) folder: TempDir,
    pub(super) _turn: MutexGuard<'static, ()>,
}

/// How many lines of each log are shown.
const LINES_SHOWN: usize = 60;

impl Cluster {
    /// A folder for what a test keeps.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until Nimbus knows this many supervisors.
    pub(crate) async fn knows_supervisors(&self, count: usize, bound: Duration) -> Result<()> {
        within(bound, &format!("nimbus knows {count} supervisors"), async || {
            self.no_daemon_has_died()?;
            Ok(match self.known_supervisors().await {
                Ok(known) if known.len() == count => Ok(()),
                Ok(known) => Err(format!("it knows {}", known.len())),
                Err(status) => Err(status.to_string()),
            })
        })
        .await
    }

    /// Which of the supervisors has this id.
    pub(crate) fn supervisor(&self, id: &str) -> Result<&Daemon> {
        let index = id.strip_prefix("node-").and_then(|number| number.parse::<usize>().ok());
        index
            .and_then(|number| self.supervisors.get(number - 1))
            .with_context(|| format!("there is no supervisor {id}"))
    }

    /// Which Nimbus has this address.
    pub(crate) fn nimbus_at(&self, address: &str) -> Result<usize> {
        let place = self.nimbus_addresses.iter().position(|own| own == address);
        place.with_context(|| format!("no nimbus of this cluster is at {address}"))
    }

    /// A daemon that runs must do so until a test ends it.
    pub(crate) fn no_daemon_has_died(&self) -> Result<()> {
        for daemon in self.daemons().filter(|daemon| daemon.is_expected_to_run()) {
            if let Some(exit) = daemon.exit()? {
                anyhow::bail!("{} has ended by itself: {exit}", daemon.name());
            }
        }
        Ok(())
    }

    /// Asks all daemons to end, and has seen that they do and leave nothing behind.
    pub(crate) async fn ends_well(self) -> Result<()> {
        self.no_daemon_has_died()?;
        for daemon in self.supervisors.iter().chain(&self.nimbuses).filter(|daemon| daemon.is_expected_to_run()) {
            daemon.terminate()?;
            let exit = daemon.ends(bound(secs(8))).await?;
            ensure!(exit.success(), "{} was asked to end, and said {exit}", daemon.name());
        }
        let etcd = self.etcd.pid().ok();
        let left: Vec<u32> = processes::marked(&self.mark).into_iter().filter(|pid| Some(*pid) != etcd).collect();
        ensure!(left.is_empty(), "all daemons have ended, but processes {left:?} still run");
        for log in self.logs() {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let panic = text.lines().find(|line| line.contains("panicked at"));
            ensure!(panic.is_none(), "{} says: {}", log.display(), panic.unwrap_or_default());
        }
        self.is_over.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What the workers of a supervisor have logged.
    pub(crate) fn worker_logs(&self, supervisor: &str) -> String {
        let folder = supervisor.replace("node-", "supervisor-");
        let is_its = |log: &&PathBuf| log.components().any(|part| part.as_os_str() == folder.as_str());
        self.logs().iter().filter(is_its).filter_map(|log| fs::read_to_string(log).ok()).collect()
    }

    fn daemons(&self) -> impl Iterator<Item = &Daemon> {
        [&self.etcd].into_iter().chain(&self.nimbuses).chain(&self.supervisors)
    }

    /// All logs: those of the daemons, and of workers in their folders.
    fn logs(&self) -> Vec<PathBuf> {
        let mut logs = Vec::new();
        let mut folders = vec![self.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "log") {
                    logs.push(path);
                }
            }
        }
        logs.sort();
        logs
    }

    fn show_logs(&self) {
        let mut text = String::new();
        for log in self.logs() {
            let content = fs::read(&log).unwrap_or_default();
            let content = String::from_utf8_lossy(&content);
            let lines: Vec<&str> = content.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            text += &format!("---- the end of {}\n{}\n", log.display(), shown.join("\n"));
        }
        let _ = stderr().write_all(text.as_bytes());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Whoever could start others goes first.
        for daemon in self.supervisors.iter().chain(&self.nimbuses).chain([&self.etcd]) {
            let _ = daemon.kill();
        }
        processes::kill_marked(&self.mark);
        if !self.is_over.load(Ordering::Relaxed) {
            self.show_logs();
        }
    }
}
