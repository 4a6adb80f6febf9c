//! What users ask Galerna, from outside of Kubernetes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::{asked_within, bound, secs};
use serde_json::Value;

use super::command::{Answer, Shell, output};
use super::forward::Forward;
use super::namespace::Namespace;
use super::topology::State;

/// The command line, and ways to Nimbus.
#[derive(Debug)]
pub(crate) struct Client {
    /// What is run, and sent along with its topologies.
    program: PathBuf,
    forwards: Vec<Forward>,
}

/// The port of Nimbus.
const NIMBUS: u16 = 6627;
/// A question that takes longer was asked of somebody who is gone.
const LONGEST_ANSWER: Duration = secs(6);
/// What sends a program along takes longer.
const LONGEST_ORDER: Duration = secs(90);

impl Client {
    /// By a way to each of these, of which any may be gone.
    pub(super) async fn by(program: &Path, namespace: &Namespace, targets: &[String]) -> Result<Self> {
        let forwards = targets.iter().map(|target| Forward::keep(namespace, target, NIMBUS)).collect::<Result<_>>()?;
        let client = Self { program: program.to_owned(), forwards };
        asked_within(secs(30), "nimbus is reached by port-forward", async || {
            let answer = client.ask(&["list"]).await?;
            Ok(if answer.is_good() { Ok(()) } else { Err(answer.errors) })
        })
        .await?;
        Ok(client)
    }

    /// The same program, by another way.
    pub(super) async fn by_other_way(&self, namespace: &Namespace, target: &str) -> Result<Self> {
        Self::by(&self.program, namespace, &[target.to_owned()]).await
    }

    async fn run(&self, words: &[&str], limit: Duration) -> Result<Answer> {
        let program = self.program.display().to_string();
        let words: Vec<&str> = [program.as_str()].into_iter().chain(words.iter().copied()).collect();
        let addresses: Vec<&str> = self.forwards.iter().map(|forward| forward.address.as_str()).collect();
        let mut command = Shell::default().command(&words);
        command.env("GALERNA_NIMBUS", addresses.join(","));
        let answer = output(command, &words, limit, None).await;
        if answer.is_err() {
            // Ways to a pod that has ended do so themselves, but not those to a node that has vanished.
            self.forwards.iter().for_each(Forward::renew);
        }
        answer
    }

    /// Asks something, once.
    async fn ask(&self, words: &[&str]) -> Result<Answer> {
        // An answer that does not come is none.
        Ok(self.run(words, LONGEST_ANSWER).await.unwrap_or_else(|error| Answer {
            code: None,
            output: String::new(),
            errors: format!("{error:#}"),
        }))
    }

    /// Orders something, which must succeed: what was printed.
    pub(crate) async fn order(&self, words: &[&str]) -> Result<Answer> {
        let answer = self.run(words, LONGEST_ORDER).await?;
        let Answer { code, output, errors } = &answer;
        ensure!(answer.is_good(), "`{}` ended with {code:?}: {errors}{output}", words.join(" "));
        Ok(answer)
    }

    /// Orders something again until it is taken.
    pub(crate) async fn order_until_taken(&self, words: &[&str]) -> Result<()> {
        asked_within(secs(60), &format!("`{}` is taken", words.join(" ")), async || {
            let answer = self.ask(words).await?;
            Ok(if answer.is_good() { Ok(()) } else { Err(answer.errors) })
        })
        .await
    }

    /// The object that a question is answered with.
    pub(crate) async fn json(&self, words: &[&str]) -> Result<Result<Value, String>> {
        let words: Vec<&str> = words.iter().chain(&["--output", "json"]).copied().collect();
        let answer = self.ask(&words).await?;
        if !answer.is_good() {
            return Ok(Err(format!("{}{}", answer.errors.trim(), answer.output.trim())));
        }
        Ok(Ok(serde_json::from_str(&answer.output).with_context(|| format!("no JSON: {}", answer.output))?))
    }

    /// Name and id of all topologies, once they are told. A topology that is replaced has another id.
    pub(crate) async fn listed(&self) -> Result<BTreeMap<String, String>> {
        let listed = asked_within(secs(30), "nimbus lists topologies", async || self.json(&["list"]).await).await?;
        let text = |topology: &Value, key: &str| topology[key].as_str().unwrap_or_default().to_owned();
        let topologies = listed.as_array().into_iter().flatten();
        Ok(topologies.map(|topology| (text(topology, "name"), text(topology, "id"))).collect())
    }

    /// Waits until a topology is described so that `condition` holds, which else says how it stands.
    pub(crate) async fn stands(
        &self,
        name: &str,
        limit: Duration,
        what: &str,
        condition: impl Fn(&State) -> Result<(), String>,
    ) -> Result<State> {
        asked_within(limit, &format!("{name}: {what}"), async || {
            let answer = self.json(&["describe", name]).await?;
            Ok(answer.map(State).and_then(|state| condition(&state).map(|()| state)))
        })
        .await
    }

    /// Waits until all tasks of a topology run.
    pub(crate) async fn is_whole(&self, name: &str, limit: Duration) -> Result<State> {
        self.stands(name, limit, "all tasks run", State::what_is_missing).await
    }

    /// Kills a topology, and waits until nothing of it is listed.
    pub(crate) async fn kill(&self, name: &str) -> Result<()> {
        self.order_until_taken(&["kill", name, "-w", "0"]).await?;
        self.is_gone(name).await
    }

    /// Waits until nothing of a topology is listed.
    pub(crate) async fn is_gone(&self, name: &str) -> Result<()> {
        asked_within(bound(secs(5)), &format!("{name} is listed no more"), async || {
            let listed = self.listed().await?;
            Ok(if listed.contains_key(name) { Err(format!("{listed:?}")) } else { Ok(()) })
        })
        .await
    }
}
