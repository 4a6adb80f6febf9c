//! What the tests share: one cluster, its images, and a release that goes from test to test.

use std::env;

use anyhow::{Context, Result};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::cluster::{Choice, Cluster};
use super::images::{Images, Source};
use super::namespace::Namespace;
use super::release::Release;
use super::report::say;
use super::runner::{Needs, Test};
use super::undo::Undo;

/// All of it, made when it is first asked for.
#[derive(Debug)]
pub(crate) struct World {
    choice: Choice,
    is_whole: bool,
    source: Source,
    cluster: OnceCell<Result<Cluster, String>>,
    images: OnceCell<Result<Images, String>>,
    /// The release that the last test has left in order.
    spare: Mutex<Option<Release>>,
    /// The namespaces of the test that runs.
    used: Mutex<Vec<Namespace>>,
    undo: Undo,
}

impl World {
    pub(super) fn new() -> Self {
        let is_whole = env::var("GALERNA_KUBE_TESTS").is_ok_and(|value| value == "all");
        Self {
            choice: Choice::of_environment(),
            is_whole,
            source: Source::of_environment(is_whole),
            cluster: OnceCell::new(),
            images: OnceCell::new(),
            spare: Mutex::default(),
            used: Mutex::default(),
            undo: Undo::default(),
        }
    }

    /// Why a test cannot or should not run here, if so.
    pub(super) fn why_not(&self, test: &Test) -> Option<String> {
        if let Choice::None(reason) = &self.choice {
            Some(reason.clone())
        } else if test.is_long && !self.is_whole {
            Some("only with GALERNA_KUBE_TESTS=all".to_owned())
        } else if test.needs == Needs::Tools && !self.choice.has_tools() {
            Some(
                "KUBECONFIG names a cluster whose volumes and nodes are not at hand, as those of kube-up are"
                    .to_owned(),
            )
        } else {
            None
        }
    }

    pub(crate) async fn cluster(&self) -> Result<&Cluster> {
        once(&self.cluster, async || Cluster::of(&self.choice, &self.undo).await).await
    }

    pub(crate) fn undo(&self) -> &Undo {
        &self.undo
    }

    pub(crate) async fn images(&self) -> Result<&Images> {
        let cluster = self.cluster().await?;
        once(&self.images, async || Images::of(cluster, &self.source).await).await
    }

    /// A namespace for one test.
    pub(crate) async fn namespace(&self) -> Result<Namespace> {
        let namespace = Namespace::create(self.cluster().await?, &self.undo).await?;
        self.used.lock().await.push(namespace.clone());
        Ok(namespace)
    }

    /// Galerna, with all pods ready and no topology: as another test has left it, or new.
    pub(crate) async fn galerna(&self) -> Result<Release> {
        let release = match self.spare.lock().await.take() {
            Some(release) => {
                self.used.lock().await.push(release.namespace.clone());
                release
            }
            None => {
                let (cluster, images, namespace) =
                    (self.cluster().await?, self.images().await?, self.namespace().await?);
                let begun = Instant::now();
                let release = Release::install(cluster, images, namespace).await.context("cannot install galerna")?;
                say(&format!("installed in {:.1?}", begun.elapsed()));
                release
            }
        };
        release.is_ready().await?;
        Ok(release)
    }

    /// Nothing but an empty cluster: a release that others left is removed.
    pub(crate) async fn is_empty(&self) -> Result<()> {
        match self.spare.lock().await.take() {
            Some(release) => release.namespace.delete().await,
            None => Ok(()),
        }
    }

    /// Leaves a release to the next test.
    pub(crate) async fn leave(&self, release: Release) -> Result<()> {
        release.is_ready().await?;
        self.used.lock().await.retain(|namespace| namespace.name != release.namespace.name);
        *self.spare.lock().await = Some(release);
        Ok(())
    }

    /// A test is over: what it used and did not leave is told, if it failed, and removed.
    pub(super) async fn tidy(&self, has_failed: bool) -> Result<()> {
        for namespace in std::mem::take(&mut *self.used.lock().await) {
            if has_failed {
                say(&format!("what namespace {} was like:\n{}", namespace.name, namespace.story().await));
            }
            namespace.delete().await?;
        }
        Ok(())
    }
}

/// Makes something the first time. What has failed is not tried again: no test would fare better.
async fn once<T>(cell: &OnceCell<Result<T, String>>, make: impl AsyncFnOnce() -> Result<T>) -> Result<&T> {
    let made = cell.get_or_init(async || make().await.map_err(|error| format!("{error:#}"))).await;
    made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}
