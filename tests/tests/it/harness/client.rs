//! What the tests ask a cluster: over gRPC where they poll, by the command line as its users do.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_coordination::keys::{Keys, Leader};
use galerna_coordination::{EtcdOptions, EtcdStore, Store};
use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::{
    ChangeReply, Channel, DescribeReply, ListRequest, NameRequest, RebalanceRequest, SupervisorSummary,
    SupervisorsRequest, TopologySummary, connect,
};
use tokio::process::Command;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::cluster::Cluster;
use galerna_tests::bound::secs;

/// No answer takes longer, whatever has happened.
const LONGEST_ANSWER: Duration = secs(10);

/// What a command has printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// The command line of somebody who knows where Nimbus is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// `HOST:PORT`, several separated by commas.
    pub(crate) nimbus: String,
}

impl Client {
    /// Runs the topology program, as users do: `client.run(["list"])`.
    pub(crate) async fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Answer> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_test-topologies"));
        command.args(arguments).env("GALERNA_NIMBUS", &self.nimbus).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(secs(60), command.output()).await.context("the command takes more than a minute")??;
        Ok(Answer {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs the topology program, which must succeed: what it has printed.
    pub(crate) async fn succeed(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        let Answer { code, output, errors } = self.run(arguments).await?;
        ensure!(code == Some(0), "the command ended with {code:?}: {errors}");
        Ok(output)
    }
}

impl Cluster {
    /// The command line of this cluster's users.
    pub(crate) fn client(&self) -> Client {
        Client { nimbus: self.nimbus_addresses.join(",") }
    }

    /// Runs a command, as users do.
    pub(crate) async fn run(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Answer> {
        self.client().run(arguments).await
    }

    /// Runs a command, which must succeed.
    pub(crate) async fn succeed(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<String> {
        self.client().succeed(arguments).await
    }

    /// A Nimbus that can be reached.
    pub(crate) async fn nimbus(&self) -> Result<NimbusClient<Channel>, Status> {
        let mut reason = Status::unavailable("there is no nimbus");
        for address in &self.nimbus_addresses {
            match timeout(secs(2), connect(address)).await {
                Ok(Ok(channel)) => return Ok(NimbusClient::new(channel)),
                Ok(Err(status)) => reason = status,
                Err(_) => reason = Status::unavailable(format!("{address} does not answer")),
            }
        }
        Err(reason)
    }

    pub(crate) async fn describe(&self, name: &str) -> Result<DescribeReply, Status> {
        let mut nimbus = self.nimbus().await?;
        bounded(nimbus.describe(NameRequest { name: name.to_owned() })).await
    }

    pub(crate) async fn list(&self) -> Result<Vec<TopologySummary>, Status> {
        let mut nimbus = self.nimbus().await?;
        Ok(bounded(nimbus.list(ListRequest::default())).await?.topologies)
    }

    pub(crate) async fn rebalance(&self, request: RebalanceRequest) -> Result<ChangeReply, Status> {
        let mut nimbus = self.nimbus().await?;
        bounded(nimbus.rebalance(request)).await
    }

    pub(crate) async fn known_supervisors(&self) -> Result<Vec<SupervisorSummary>, Status> {
        let mut nimbus = self.nimbus().await?;
        Ok(bounded(nimbus.supervisors(SupervisorsRequest {})).await?.supervisors)
    }

    /// Which Nimbus leads, by its number among the cluster's.
    pub(crate) async fn leader(&self) -> Result<Option<usize>> {
        let Some(entry) = self.store()?.get(&Keys::new("default").leader()).await? else { return Ok(None) };
        let leader: Leader = serde_json::from_slice(&entry.value)?;
        self.nimbus_at(&leader.address).map(Some)
    }

    /// The store, as the daemons see it.
    pub(crate) fn store(&self) -> Result<EtcdStore> {
        let endpoints = vec![format!("http://{}", self.etcd_address)];
        Ok(EtcdStore::new(EtcdOptions { endpoints, ..EtcdOptions::default() })?)
    }
}

async fn bounded<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    match timeout(LONGEST_ANSWER, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded(format!("nimbus has not answered within {LONGEST_ANSWER:?}"))),
    }
}
