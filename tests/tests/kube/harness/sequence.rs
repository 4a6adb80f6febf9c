//! The topology of the sequence check, under load on Kubernetes.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use galerna_tests::fault::Fault;

use super::release::{Release, SHARED};
use super::running::Running;

/// The topology of the sequence check, with settings, still to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    name: String,
    settings: Vec<String>,
}

impl Sequence {
    pub(crate) fn named(name: &str) -> Self {
        let sequence = Self { name: name.to_owned(), settings: Vec::new() };
        sequence.with("name", name).with("workers", 3)
    }

    /// Sets what the topology's file leaves open: `workers`, `rate`, `timeout`, `delay`, `pass`.
    #[allow(clippy::needless_pass_by_value, reason = "settings are written in place")]
    pub(crate) fn with(mut self, setting: &str, value: impl Display) -> Self {
        self.settings.push(format!("{setting}={value}"));
        self
    }

    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/sequence.yaml")
    }

    /// Applies it, as users do, and waits until tuples go all ways at a rate that is known.
    pub(crate) async fn flows<'r>(&self, release: &'r Release) -> Result<Running<'r>> {
        let shared = release.shared.as_ref().context("the volumes of this cluster cannot be seen from here")?;
        let submitted = Fault::begins();
        let file = Self::file().display().to_string();
        let folder = format!("folder={SHARED}/{}", self.name);
        let mut words = vec!["apply", &file, "--wait", "--timeout", "60", "--set", &folder];
        words.extend(self.settings.iter().flat_map(|setting| ["--set", setting]));
        release.client.order(&words).await?;
        let mut running = Running::new(release, self.name.clone(), shared.join(&self.name));
        running.flows(submitted).await?;
        Ok(running)
    }
}
