//! What a cluster consists of, and how it comes up.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::cluster::Cluster;
use super::daemon::{Daemon, Recipe};
use super::network::Network;
use super::processes;
use galerna_tests::bound::{secs, within};

/// One cluster at a time: they are measured.
static TURN: Mutex<()> = Mutex::const_new(());

/// The leases of daemons, in seconds.
pub(crate) const LEASE: u64 = 2;
/// The port of etcd, at each cluster's address.
const ETCD_PORT: u16 = 2379;
/// The port of the first Nimbus; each further one has the next.
const NIMBUS_PORT: u16 = 6627;
/// The port of the first supervisor.
const SUPERVISOR_PORT: u16 = 7000;
/// From one supervisor's port to the next one's: its slots lie between.
const SUPERVISOR_PORTS: u16 = 50;
/// The port of the first Nimbus for metrics and health; each further one has the next.
const NIMBUS_HTTP_PORT: u16 = 9627;

/// A cluster that is still to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    nimbuses: usize,
    supervisors: usize,
    slots: u16,
    /// How many seconds a supervisor may take until its tasks run elsewhere, once told to stop.
    leave_within: u64,
    /// How many seconds a worker may send no heartbeat.
    worker_timeout: u64,
    has_namespaces: bool,
}

impl Setup {
    pub(crate) fn supervisors(supervisors: usize) -> Self {
        Self { nimbuses: 1, supervisors, slots: 4, leave_within: 0, worker_timeout: 30, has_namespaces: false }
    }

    pub(crate) fn nimbuses(self, nimbuses: usize) -> Self {
        Self { nimbuses, ..self }
    }

    /// How many slots each supervisor has.
    pub(crate) fn slots(self, slots: u16) -> Self {
        Self { slots, ..self }
    }

    /// Supervisors that are told to stop have their tasks moved away first, in so many seconds at most. Others stop
    /// at once.
    pub(crate) fn leave_within(self, leave_within: u64) -> Self {
        Self { leave_within, ..self }
    }

    /// Workers that send no heartbeat for so many seconds are killed.
    pub(crate) fn worker_timeout(self, worker_timeout: u64) -> Self {
        Self { worker_timeout, ..self }
    }

    /// Each supervisor in a network namespace of its own.
    pub(crate) fn in_namespaces(self) -> Self {
        Self { has_namespaces: true, ..self }
    }

    /// Starts it, and waits until every supervisor is known.
    pub(crate) async fn start(self) -> Result<Cluster> {
        let turn = TURN.lock().await;
        processes::sweep();
        let folder = tempfile::Builder::new().prefix("galerna-").tempdir()?;
        let network = if self.has_namespaces { Some(Network::new(self.supervisors)?) } else { None };
        let host = network.as_ref().map_or_else(own_loopback, |network| network.host().to_owned());
        let plan = Plan { setup: self, folder: folder.path(), host: &host, network: network.as_ref() };
        let etcd = Daemon::start(plan.etcd())?;
        within(secs(20), "etcd comes up", async || {
            Ok(TcpStream::connect((host.as_str(), ETCD_PORT)).await.map(|_| ()))
        })
        .await?;
        let nimbuses = (0..self.nimbuses).map(|index| Daemon::start(plan.nimbus(index))).collect::<Result<_>>()?;
        let supervisors = (0..self.supervisors)
            .map(|index| Daemon::start(plan.supervisor(index, &plan.supervisor_name(index))))
            .collect::<Result<_>>()?;
        let cluster = Cluster {
            nimbus_addresses: (0..self.nimbuses).map(|index| plan.nimbus_address(index)).collect(),
            nimbus_https: (0..self.nimbuses).map(|index| plan.nimbus_http(index)).collect(),
            supervisor_https: (0..self.supervisors).map(|index| plan.supervisor_http(index)).collect(),
            etcd_address: plan.etcd_address(),
            mark: processes::mark(folder.path()),
            etcd,
            nimbuses,
            supervisors,
            host: host.clone(),
            is_over: AtomicBool::new(false),
            network,
            folder,
            _turn: turn,
        };
        cluster.knows_supervisors(self.supervisors, secs(20)).await.context("the cluster did not come up")?;
        Ok(cluster)
    }

    /// A further supervisor, under any name.
    pub(crate) fn further_supervisor(self, cluster: &Cluster, index: usize, name: &str) -> Result<Daemon> {
        let plan = Plan { setup: self, folder: cluster.folder.path(), host: &cluster.host, network: None };
        Daemon::start(plan.supervisor(index, name))
    }

    /// The number of a slot of one of the supervisors.
    pub(crate) fn slot(supervisor: usize, slot: u16) -> u16 {
        supervisor_port(supervisor) + 1 + slot
    }
}

/// How long a cluster takes to notice that someone is gone.
pub(crate) const fn lease() -> Duration {
    secs(LEASE)
}

/// Where a supervisor serves metrics and health: behind its slots.
fn supervisor_http_port(index: usize) -> u16 {
    supervisor_port(index) + SUPERVISOR_PORTS - 1
}

fn supervisor_port(index: usize) -> u16 {
    SUPERVISOR_PORT + SUPERVISOR_PORTS * index as u16
}

/// A loopback address that no other cluster has.
pub(super) fn own_loopback() -> String {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let pid = process::id();
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}", 64 + (pid >> 8) % 64, pid % 256, cluster.max(1))
}

/// Makes the daemons' recipes.
struct Plan<'a> {
    setup: Setup,
    folder: &'a Path,
    host: &'a str,
    network: Option<&'a Network>,
}

impl Plan<'_> {
    fn etcd_address(&self) -> String {
        format!("{}:{ETCD_PORT}", self.host)
    }

    fn nimbus_address(&self, index: usize) -> String {
        format!("{}:{}", self.host, NIMBUS_PORT + index as u16)
    }

    fn nimbus_http(&self, index: usize) -> String {
        format!("{}:{}", self.host, NIMBUS_HTTP_PORT + index as u16)
    }

    fn supervisor_host(&self, index: usize) -> &str {
        self.network.map_or(self.host, |network| network.member(index))
    }

    fn supervisor_http(&self, index: usize) -> String {
        format!("{}:{}", self.supervisor_host(index), supervisor_http_port(index))
    }

    fn supervisor_name(&self, index: usize) -> String {
        format!("node-{}", index + 1)
    }

    fn etcd(&self) -> Recipe {
        let clients = format!("http://{}", self.etcd_address());
        let peers = format!("http://{}:{}", self.host, ETCD_PORT + 1);
        let data = self.folder.join("etcd");
        let arguments = [
            ("--name", "etcd".to_owned()),
            ("--data-dir", data.display().to_string()),
            ("--listen-client-urls", clients.clone()),
            ("--advertise-client-urls", clients),
            ("--listen-peer-urls", peers.clone()),
            ("--initial-advertise-peer-urls", peers.clone()),
            ("--initial-cluster", format!("etcd={peers}")),
            ("--log-level", "warn".to_owned()),
        ];
        self.recipe("etcd", PathBuf::from("etcd"), &arguments, None)
    }

    fn nimbus(&self, index: usize) -> Recipe {
        let name = format!("nimbus-{}", index + 1);
        let arguments = [
            ("--etcd", format!("http://{}", self.etcd_address())),
            ("--listen", self.nimbus_address(index)),
            ("--http", self.nimbus_http(index)),
            ("--data", self.folder.join(&name).display().to_string()),
            ("--lease", LEASE.to_string()),
        ];
        self.recipe(&name, PathBuf::from(env!("CARGO_BIN_EXE_test-nimbus")), &arguments, None)
    }

    fn supervisor(&self, index: usize, id: &str) -> Recipe {
        let host = self.supervisor_host(index);
        // A second one of the same name has a folder of its own.
        let name = format!("supervisor-{}", index + 1);
        let arguments = [
            ("--etcd", format!("http://{}", self.etcd_address())),
            ("--listen", format!("{host}:{}", supervisor_port(index))),
            ("--http", self.supervisor_http(index)),
            ("--advertise", host.to_owned()),
            ("--data", self.folder.join(&name).display().to_string()),
            ("--slots", self.setup.slots.to_string()),
            ("--id", id.to_owned()),
            ("--lease", LEASE.to_string()),
            ("--leave-within", self.setup.leave_within.to_string()),
            ("--worker-timeout", self.setup.worker_timeout.to_string()),
        ];
        let namespace = self.network.map(|network| network.namespace(index).to_owned());
        self.recipe(&name, PathBuf::from(env!("CARGO_BIN_EXE_test-supervisor")), &arguments, namespace)
    }

    fn recipe(&self, name: &str, program: PathBuf, arguments: &[(&str, String)], namespace: Option<String>) -> Recipe {
        let arguments = arguments.iter().flat_map(|(option, value)| [(*option).to_owned(), value.clone()]).collect();
        Recipe {
            name: name.to_owned(),
            program,
            arguments,
            log: self.folder.join(format!("{name}.log")),
            mark: processes::mark(self.folder),
            namespace,
        }
    }
}
