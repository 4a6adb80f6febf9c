//! A namespace of the tests, and what is in it.

use anyhow::{Context, Result};
use galerna_tests::bound::{asked_within, secs};
use serde_json::Value;

use super::cluster::Cluster;
use super::command::{Answer, Shell, last_lines, succeeded};
use super::undo::Undo;

/// A namespace of a new name, under the `restricted` profile.
#[derive(Clone, Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) shell: Shell,
    undo: Undo,
}

/// How many lines of each container's log are shown.
const LINES_SHOWN: &str = "60";
/// How many of the latest events.
const EVENTS_SHOWN: usize = 80;

impl Namespace {
    pub(super) async fn create(cluster: &Cluster, undo: &Undo) -> Result<Self> {
        let manifest = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "generateName": "galerna-test-",
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    // Whoever makes something whose pods would be refused is told so.
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            },
        });
        let words = ["kubectl", "create", "-f", "-", "-o", "jsonpath={.metadata.name}"];
        let name = cluster.shell.run_fed(&words, &manifest.to_string()).await?;
        if !cluster.is_own {
            undo.remember(&name, &cluster.shell, ["kubectl", "delete", "namespace", &name, "--timeout=120s"]);
        }
        let namespace = Self { name, shell: cluster.shell.clone(), undo: undo.clone() };
        asked_within(secs(20), "the namespace has its service account", async || {
            let answer = namespace.try_kubectl(&["get", "serviceaccount", "default"]).await?;
            Ok(if answer.is_good() { Ok(()) } else { Err(answer.errors) })
        })
        .await?;
        Ok(namespace)
    }

    /// Removes it with all that is in it.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.shell.run(&["kubectl", "delete", "namespace", &self.name, "--timeout=100s"]).await?;
        self.undo.forget(&self.name);
        Ok(())
    }

    fn words<'a>(&'a self, program: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        [program, "-n", &self.name].into_iter().chain(words.iter().copied()).collect()
    }

    pub(crate) async fn try_kubectl(&self, words: &[&str]) -> Result<Answer> {
        self.shell.answer(&self.words("kubectl", words)).await
    }

    pub(crate) async fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.shell.run(&self.words("kubectl", words)).await
    }

    pub(crate) async fn try_helm(&self, words: &[&str]) -> Result<Answer> {
        self.shell.answer_within(secs(300), &self.words("helm", words)).await
    }

    pub(crate) async fn helm(&self, words: &[&str]) -> Result<String> {
        succeeded(&self.words("helm", words), self.try_helm(words).await?)
    }

    /// Has the API server take what is described.
    pub(crate) async fn apply(&self, manifest: &str) -> Result<Answer> {
        self.shell.feed(&self.words("kubectl", &["apply", "-f", "-"]), manifest).await
    }

    /// What `kubectl get … -o json` says.
    pub(crate) async fn get(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = ["get"].iter().chain(words).chain(&["-o", "json"]).copied().collect();
        let json = self.kubectl(&words).await?;
        serde_json::from_str(&json).with_context(|| format!("`{}` gave no JSON", words.join(" ")))
    }

    /// The pods of a part of Galerna: `nimbus`, `supervisor` or `etcd`.
    pub(crate) async fn pods(&self, part: &str) -> Result<Vec<Pod>> {
        let label = format!("app.kubernetes.io/component={part}");
        Ok(pods(&self.get(&["pods", "-l", &label]).await?))
    }

    pub(crate) async fn pod(&self, name: &str) -> Result<Pod> {
        Ok(Pod(self.get(&["pod", name]).await?))
    }

    /// All pods that there are.
    pub(crate) async fn all_pods(&self) -> Result<Vec<Pod>> {
        Ok(pods(&self.get(&["pods"]).await?))
    }

    /// What a pod answers to a request at this port, by way of the API server.
    pub(crate) async fn request(&self, pod: &str, port: u16, path: &str) -> Result<Answer> {
        let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy{path}", self.name);
        self.shell.answer(&["kubectl", "get", "--raw", &path]).await
    }

    /// All that may explain a failure: pods, events and logs.
    pub(crate) async fn story(&self) -> String {
        let events = "custom-columns=AT:.lastTimestamp,OF:.involvedObject.name,WHY:.reason,WHAT:.message";
        let listings: [&[&str]; 2] = [
            &["get", "pods,statefulset,job,pvc", "-o", "wide"],
            &["get", "events", "--sort-by=.lastTimestamp", "-o", events],
        ];
        let mut story = String::new();
        for words in listings {
            let lines = last_lines(&self.told(words).await, EVENTS_SHOWN);
            story += &format!("---- kubectl {}{lines}\n", words.join(" "));
        }
        for pod in self.all_pods().await.unwrap_or_default() {
            let name = pod.name();
            for more in [&["--previous"] as &[&str], &[]] {
                if !more.is_empty() && pod.restarts() == 0 {
                    continue;
                }
                let mut words = vec!["logs", name, "--all-containers", "--tail", LINES_SHOWN];
                words.extend(more);
                story += &format!("---- kubectl {}\n{}\n", words.join(" "), self.told(&words).await);
            }
            if !pod.is_ready() && !pod.is_done() {
                story +=
                    &format!("---- kubectl describe pod {name}\n{}\n", self.told(&["describe", "pod", name]).await);
            }
        }
        story
    }

    async fn told(&self, words: &[&str]) -> String {
        match self.try_kubectl(words).await {
            Ok(answer) => answer.output + &answer.errors,
            Err(error) => format!("{error:#}"),
        }
    }
}

fn pods(list: &Value) -> Vec<Pod> {
    list["items"].as_array().into_iter().flatten().cloned().map(Pod).collect()
}

/// A pod, as the API server describes it.
#[derive(Clone, Debug)]
pub(crate) struct Pod(pub(crate) Value);

impl Pod {
    pub(crate) fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// What changes when it is made anew under its name.
    pub(crate) fn uid(&self) -> &str {
        self.0["metadata"]["uid"].as_str().unwrap_or_default()
    }

    pub(crate) fn node(&self) -> &str {
        self.0["spec"]["nodeName"].as_str().unwrap_or_default()
    }

    /// The image of its first container.
    pub(crate) fn image(&self) -> &str {
        self.0["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_ready(&self) -> bool {
        let conditions = self.0["status"]["conditions"].as_array();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        self.0["metadata"]["deletionTimestamp"].is_null() && conditions.into_iter().flatten().any(is_ready)
    }

    /// Whether it was to do something, and did.
    pub(crate) fn is_done(&self) -> bool {
        self.0["status"]["phase"] == "Succeeded"
    }

    /// How often its containers were started again.
    pub(crate) fn restarts(&self) -> u64 {
        let containers = self.0["status"]["containerStatuses"].as_array();
        containers.into_iter().flatten().filter_map(|container| container["restartCount"].as_u64()).sum()
    }
}
