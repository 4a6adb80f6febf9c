//! Submitting the topology of the sequence check.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::client::Answer;
use super::cluster::Cluster;
use super::running::Running;
use galerna_tests::fault::Fault;

/// The topology of the sequence check, with settings, still to be submitted.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    name: String,
    settings: Vec<String>,
}

impl Sequence {
    pub(crate) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), settings: vec![format!("name={name}")] }
    }

    pub(crate) fn workers(workers: usize) -> Self {
        Self::named("sequence").with("workers", workers)
    }

    /// Sets what the topology's file leaves open: `workers`, `rate`, `timeout`, `delay`, `pass`.
    #[allow(clippy::needless_pass_by_value, reason = "settings are written in place")]
    pub(crate) fn with(mut self, setting: &str, value: impl Display) -> Self {
        self.settings.push(format!("{setting}={value}"));
        self
    }

    /// The name that it is submitted under.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its files stand.
    fn folder(&self, cluster: &Cluster) -> PathBuf {
        cluster.folder().join("sequences").join(&self.name)
    }

    /// The file that describes it.
    pub(crate) fn file() -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/topologies/sequence.yaml"))
    }

    /// Gives its file and settings to a command, and tells what that said.
    async fn call(&self, cluster: &Cluster, command: &str, options: &[&str]) -> Result<Answer> {
        let folder = self.folder(cluster);
        fs::create_dir_all(&folder)?;
        let mut arguments = vec![command.to_owned(), Self::file().display().to_string()];
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        for setting in self.settings.iter().cloned().chain([format!("folder={}", folder.display())]) {
            arguments.extend(["--set".to_owned(), setting]);
        }
        cluster.run(arguments).await
    }

    /// Submits it, and tells what the command said.
    pub(crate) async fn try_submit(&self, cluster: &Cluster) -> Result<Answer> {
        self.call(cluster, "submit", &[]).await
    }

    /// Applies it and waits until it runs: what the command printed.
    pub(crate) async fn apply(&self, cluster: &Cluster) -> Result<String> {
        let answer = self.call(cluster, "apply", &["--wait", "--timeout", "40"]).await?;
        anyhow::ensure!(answer.code == Some(0), "apply ended with {:?}: {}", answer.code, answer.errors);
        Ok(answer.output)
    }

    /// Submits it.
    pub(crate) async fn submit<'c>(&self, cluster: &'c Cluster) -> Result<Running<'c>> {
        let submitted = Fault::begins();
        let answer = self.try_submit(cluster).await?;
        anyhow::ensure!(answer.code == Some(0), "submit ended with {:?}: {}", answer.code, answer.errors);
        self.runs_since(cluster, submitted)
    }

    /// What is to be known of it from then on.
    pub(crate) fn runs_since<'c>(&self, cluster: &'c Cluster, submitted: Fault) -> Result<Running<'c>> {
        cluster.no_daemon_has_died().context("after submitting")?;
        Ok(Running::new(cluster, self.name.clone(), self.folder(cluster), submitted))
    }
}
