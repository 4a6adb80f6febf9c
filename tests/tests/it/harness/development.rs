//! The cluster of `galerna dev`: everything but its workers in one process.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::client::Client;
use super::daemon::{Daemon, Recipe};
use super::processes;
use super::setup::own_loopback;
use galerna_tests::bound::{bound, secs, within};

/// A `dev` that runs. Dropping it kills it and its workers.
#[derive(Debug)]
pub(crate) struct Development {
    daemon: Daemon,
    pub(crate) client: Client,
    mark: String,
    folder: TempDir,
}

impl Development {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("galerna-").tempdir()?;
        let mark = processes::mark(folder.path());
        let nimbus = format!("{}:6627", own_loopback());
        let daemon = Daemon::start(Recipe {
            name: "dev".to_owned(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_test-topologies")),
            arguments: ["dev", "--listen", &nimbus].map(str::to_owned).into(),
            log: folder.path().join("dev.log"),
            mark: mark.clone(),
            namespace: None,
        })?;
        let development = Self { daemon, client: Client { nimbus }, mark, folder };
        within(bound(secs(3)), "`dev` comes up", async || {
            ensure!(development.daemon.exit()?.is_none(), "`dev` has ended: {}", development.daemon.log());
            let answer = development.client.run(["list"]).await?;
            Ok(if answer.code == Some(0) { Ok(()) } else { Err(answer.errors) })
        })
        .await?;
        Ok(development)
    }

    /// A folder for what a test keeps.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it as Ctrl-C does; then nothing of it is left.
    pub(crate) async fn ends_well(self) -> Result<()> {
        self.daemon.terminate()?;
        let exit = self.daemon.ends(bound(secs(8))).await?;
        ensure!(exit.success(), "`dev` ended with {exit}: {}", self.daemon.log());
        let left = processes::marked(&self.mark);
        ensure!(left.is_empty(), "`dev` has ended, but processes {left:?} still run");
        Ok(())
    }
}

impl Drop for Development {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        processes::kill_marked(&self.mark);
    }
}
