//! Galerna, installed by its chart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{asked_within, secs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::client::Client;
use super::cluster::Cluster;
use super::images::{Image, Images};
use super::namespace::{Namespace, Pod};

/// A release named `galerna` in a namespace of its own.
#[derive(Debug)]
pub(crate) struct Release {
    pub(crate) namespace: Namespace,
    pub(crate) client: Client,
    values: Mutex<Value>,
    folder: TempDir,
    /// Where the claim that all supervisors share is seen on this machine, if it can be.
    pub(super) shared: Option<PathBuf>,
}

/// Where supervisors have the shared claim.
pub(super) const SHARED: &str = "/sequence";
/// The claim's name, and its volume's.
const CLAIM: &str = "sequence";
/// One for each node of our own cluster.
const SUPERVISORS: u64 = 3;
/// The parts of Galerna, each a StatefulSet.
pub(crate) const PARTS: [&str; 3] = ["etcd", "nimbus", "supervisor"];
/// How long Kubernetes may take until all pods are there again.
const PODS_BACK: Duration = secs(90);

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/galerna")
}

impl Release {
    /// Installs it into an empty namespace, and waits until all pods are ready.
    pub(super) async fn install(cluster: &Cluster, images: &Images, namespace: Namespace) -> Result<Self> {
        let shared = match &cluster.volumes {
            Some(volumes) => Some(volumes.folder_of(&claim(&namespace).await?)?),
            None => None,
        };
        let values = values(images, shared.is_some());
        let folder = tempfile::tempdir()?;
        let words = ["install", "galerna", "--wait", "--timeout", "180s"];
        helm(&namespace, folder.path(), &values, &words).await?;
        let pods = [0, 1].map(|pod| format!("pod/galerna-nimbus-{pod}"));
        let client = Client::by(&images.program, &namespace, &pods).await?;
        Ok(Self { namespace, client, values: Mutex::new(values), folder, shared })
    }

    /// A command line that goes by way of the service, as the chart's notes tell.
    pub(crate) async fn client_by_service(&self) -> Result<Client> {
        self.client.by_other_way(&self.namespace, "service/galerna-nimbus").await
    }

    /// Changes some values, and waits until all pods are ready: what helm has said.
    pub(crate) async fn upgrade(&self, change: impl FnOnce(&mut Value)) -> Result<String> {
        let mut values = self.values.lock().await;
        change(&mut values);
        let words = ["upgrade", "galerna", "--wait", "--timeout", "240s"];
        helm(&self.namespace, self.folder.path(), &values, &words).await
    }

    /// The pods of all its parts.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>> {
        let mut pods = Vec::new();
        for part in PARTS {
            pods.extend(self.namespace.pods(part).await?);
        }
        Ok(pods)
    }

    /// Waits until all pods that there should be are ready.
    pub(crate) async fn is_ready(&self) -> Result<Vec<Pod>> {
        let mut wanted = BTreeMap::new();
        for part in PARTS {
            let set = self.namespace.get(&["statefulset", &format!("galerna-{part}")]).await?;
            wanted.insert(part, set["spec"]["replicas"].as_u64().context("a StatefulSet without replicas")?);
        }
        asked_within(PODS_BACK, "all pods are ready", async || {
            let mut ready = Vec::new();
            for (part, count) in &wanted {
                let pods = self.namespace.pods(part).await?;
                let standing = || pods.iter().map(|pod| format!("{}: {}; ", pod.name(), pod.0["status"]["phase"]));
                let are_ready = pods.len() as u64 == *count && pods.iter().all(Pod::is_ready);
                if !are_ready {
                    return Ok(Err(format!("{count} of {part} are wanted: {}", standing().collect::<String>())));
                }
                ready.extend(pods);
            }
            Ok(Ok(ready))
        })
        .await
    }

    /// The nimbus that leads, by its pod's name: asked of etcd itself.
    pub(crate) async fn leader(&self) -> Result<String> {
        let words = ["exec", "galerna-etcd-0", "--", "etcdctl", "get", "--prefix", "/galerna/", "--keys-only"];
        let environment = ["exec", "galerna-etcd-0", "--", "etcdctl", "get", "--print-value-only"];
        let keys = self.namespace.kubectl(&words).await?;
        let key = keys.lines().find(|key| key.ends_with("/nimbus/leader")).context("nobody leads")?;
        let value = self.namespace.kubectl(&environment.iter().chain(&[key]).copied().collect::<Vec<_>>()).await?;
        let value: Value = serde_json::from_str(value.trim())?;
        let id = value["id"].as_str().with_context(|| format!("the leader has no id: {value}"))?;
        Ok(id.to_owned())
    }

    /// How often containers were started again, by pod.
    pub(crate) async fn restarts(&self) -> Result<BTreeMap<String, u64>> {
        Ok(self.pods().await?.iter().map(|pod| (pod.name().to_owned(), pod.restarts())).collect())
    }
}

async fn helm(namespace: &Namespace, folder: &Path, values: &Value, words: &[&str]) -> Result<String> {
    let file = folder.join("values.json");
    fs::write(&file, values.to_string())?;
    let (file, chart) = (file.display().to_string(), chart().display().to_string());
    let words: Vec<&str> = [words[0], words[1], chart.as_str(), "-f", file.as_str()]
        .into_iter()
        .chain(words[2..].iter().copied())
        .collect();
    let answer = namespace.try_helm(&words).await?;
    ensure!(answer.is_good(), "helm {} ended with {:?}: {}", words[0], answer.code, answer.errors);
    // Among them would be those of the Pod Security profile.
    ensure!(!answer.errors.to_lowercase().contains("warning"), "helm warns: {}", answer.errors);
    Ok(answer.output)
}

/// What the tests set; the rest is as the chart has it.
fn values(images: &Images, is_shared: bool) -> Value {
    let mut values = json!({
        "image": image(&images.galerna),
        "etcd": {"image": image(&images.etcd)},
        "nimbus": {"replicas": 2},
        "supervisor": {"replicas": SUPERVISORS, "slots": 2},
    });
    if is_shared {
        values["supervisor"]["extraVolumes"] = json!([{"name": CLAIM, "persistentVolumeClaim": {"claimName": CLAIM}}]);
        values["supervisor"]["extraVolumeMounts"] = json!([{"name": CLAIM, "mountPath": SHARED}]);
    }
    values
}

fn image(image: &Image) -> Value {
    json!({"repository": image.repository, "tag": image.tag})
}

/// Makes the claim that all supervisors share: where its volume is on the nodes.
async fn claim(namespace: &Namespace) -> Result<String> {
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let answer = namespace.apply(&manifest.to_string()).await?;
    ensure!(answer.is_good(), "the shared claim: {}", answer.errors);
    let volume = asked_within(secs(30), "the shared claim is bound", async || {
        let claim = namespace.get(&["pvc", CLAIM]).await?;
        Ok(claim["spec"]["volumeName"].as_str().map(str::to_owned).ok_or_else(|| claim["status"].to_string()))
    })
    .await?;
    let volume = namespace.get(&["pv", &volume]).await?;
    let path = volume["spec"]["hostPath"]["path"].as_str();
    Ok(path.with_context(|| format!("the volume is no folder of the nodes: {volume}"))?.to_owned())
}
