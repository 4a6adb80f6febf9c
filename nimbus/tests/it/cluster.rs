//! A cluster for tests: nimbuses that run, clients, and supervisors that only register and report.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use galerna_coordination::keys::{Desired, Keys, Registration};
use galerna_coordination::{Lease, MemoryStore, Store, Transaction, UnixClock, get_json};
use galerna_nimbus::{Nimbus, Options};
use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::{
    Artifact, ArtifactChunk, Assignment, Channel, ComponentSpec, DescribeReply, InputSpec, LaunchFailure, NameRequest,
    Platform, StreamSpec, SubmitReply, SubmitRequest, SupervisorReport, TopologySpec, WorkerId, WorkerReport,
    WorkerState,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tonic::Status;

use crate::elf;

pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// Longer than anything takes: only a failure waits for so long.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) type Client = NimbusClient<Channel>;

pub(crate) struct Cluster {
    pub(crate) store: MemoryStore,
    pub(crate) keys: Keys,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { store: MemoryStore::new(), keys: Keys::new("default"), folder: tempfile::tempdir()? })
    }

    /// Starts a nimbus with a client of the store of its own.
    pub(crate) async fn nimbus(&self, id: &str, store: &MemoryStore) -> Result<Nimbus> {
        self.nimbus_with_lease(id, store, LEASE).await
    }

    /// One that is patient for as many leases.
    pub(crate) async fn nimbus_with_lease(&self, id: &str, store: &MemoryStore, lease: Duration) -> Result<Nimbus> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let options = Options { id: id.into(), data: self.data(id), lease, ..Options::default() };
        Ok(Nimbus::start(options, Arc::new(store.clone()), listener).await?)
    }

    /// Where this nimbus keeps artifacts.
    pub(crate) fn data(&self, nimbus: &str) -> PathBuf {
        self.folder.path().join(nimbus)
    }

    /// One nimbus, which leads, and a client of it.
    pub(crate) async fn start(&self) -> Result<(Nimbus, Client)> {
        let nimbus = self.nimbus("n1", &self.store).await?;
        eventually("it leads", async || Ok(nimbus.is_leading().then_some(()))).await?;
        let client = client(&nimbus).await?;
        Ok((nimbus, client))
    }

    pub(crate) async fn assignment(&self, id: &str) -> Result<Option<Assignment>> {
        Ok(get_json(&self.store, &self.keys.assignment(id)).await?.map(|(assignment, _)| assignment))
    }

    pub(crate) async fn assigned(&self, id: &str) -> Result<Assignment> {
        eventually("it is assigned", async || self.assignment(id).await).await
    }

    pub(crate) async fn desired(&self, id: &str) -> Result<Option<Desired>> {
        Ok(get_json(&self.store, &self.keys.desired(id)).await?.map(|(desired, _)| desired))
    }

    /// A supervisor with this many slots, which reports to this nimbus.
    pub(crate) async fn supervisor(&self, id: &str, slots: u32, nimbus: &Nimbus) -> Result<Supervisor> {
        self.supervisor_at(id, 6700, slots, nimbus).await
    }

    /// One that is reached at this port.
    pub(crate) async fn supervisor_at(&self, id: &str, port: u16, slots: u32, nimbus: &Nimbus) -> Result<Supervisor> {
        let platform = Platform { os: "linux".into(), architecture: "x86_64".into(), libc: "glibc 2.36".into() };
        let registration = Registration {
            host: "127.0.0.1".into(),
            port,
            slots: (6701..=6700 + slots).collect(),
            platform,
            session: id.into(),
            ..Registration::default()
        };
        let lease = self.store.lease(LEASE).await?;
        let put = Transaction::new().put_json_leased(self.keys.supervisor(id), &registration, lease.id)?;
        self.store.commit(put).await?;
        let report = SupervisorReport { supervisor: id.into(), ..Default::default() };
        let report = Arc::new(Mutex::new(report));
        let mut task = JoinSet::new();
        let silence = task.spawn(keep_reporting(nimbus.address().to_owned(), Arc::clone(&report)));
        let key = self.keys.supervisor(id);
        Ok(Supervisor {
            id: id.into(),
            key,
            registration,
            report,
            lease,
            store: self.store.clone(),
            silence,
            _task: task,
        })
    }
}

async fn keep_reporting(address: String, report: Arc<Mutex<SupervisorReport>>) {
    loop {
        if let Ok(channel) = galerna_protocol::connect(&address).await {
            let mut client = NimbusClient::new(channel);
            loop {
                let report = report.lock().expect("nobody panics with it").clone();
                if client.report(report).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A supervisor that reports what the test says.
pub(crate) struct Supervisor {
    pub(crate) id: String,
    key: String,
    registration: Registration,
    report: Arc<Mutex<SupervisorReport>>,
    lease: Lease,
    store: MemoryStore,
    silence: AbortHandle,
    _task: JoinSet<()>,
}

impl Supervisor {
    fn change(&self, change: impl FnOnce(&mut SupervisorReport)) {
        change(&mut self.report.lock().expect("nobody panics with it"));
    }

    /// Its worker is like that from now on; other incarnations stay as they were.
    pub(crate) fn reports(&self, worker: WorkerReport) {
        self.change(|report| {
            report.workers.retain(|one| (&one.id, one.incarnation) != (&worker.id, worker.incarnation));
            report.workers.push(worker);
        });
    }

    /// Registers anew, with a change.
    pub(crate) async fn registers(&mut self, change: impl FnOnce(&mut Registration)) -> Result<()> {
        change(&mut self.registration);
        let put = Transaction::new().put_json_leased(self.key.clone(), &self.registration, self.lease.id)?;
        self.store.commit(put).await?;
        Ok(())
    }

    /// Says that it goes, `after` from now at the latest.
    pub(crate) async fn says_that_it_leaves(&mut self, after: Duration) -> Result<()> {
        let leave_by_unix_ms = UnixClock::system().now_ms() + i64::try_from(after.as_millis())?;
        self.registers(|one| (one.is_leaving, one.leave_by_unix_ms) = (true, leave_by_unix_ms)).await
    }

    /// Has this disk: it registers and reports so.
    pub(crate) async fn has_disk(&mut self, disk: &str) -> Result<()> {
        self.change(|report| report.disk = disk.into());
        self.registers(|one| one.disk = disk.into()).await
    }

    pub(crate) fn fails(&self, failure: LaunchFailure) {
        self.change(|report| report.failures.push(failure));
    }

    /// Reports no more, though it stays registered.
    pub(crate) fn falls_silent(&self) {
        self.silence.abort();
    }

    /// Dies: its registration ends with its lease.
    pub(crate) fn die(self) {
        drop(self.lease);
    }

    /// Leaves: its registration ends at once.
    pub(crate) async fn leave(self) -> Result<()> {
        Ok(self.store.revoke(self.lease).await?)
    }
}

/// A report of a worker.
pub(crate) fn worker(topology: &str, id: &WorkerId, state: WorkerState, generation: u64) -> WorkerReport {
    WorkerReport {
        topology_id: topology.into(),
        id: Some(id.clone()),
        incarnation: 1,
        state: state.into(),
        generation,
        settled_generation: generation,
        started_unix_ms: 1,
        ..Default::default()
    }
}

/// The workers of an assignment.
pub(crate) fn workers(assignment: &Assignment) -> Vec<WorkerId> {
    assignment.workers.iter().filter_map(|worker| worker.id.clone()).collect()
}

pub(crate) async fn client(nimbus: &Nimbus) -> Result<Client> {
    Ok(NimbusClient::new(galerna_protocol::connect(nimbus.address()).await?))
}

/// What `ask` tells, as soon as it tells something.
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if tokio::time::Instant::now() > deadline {
            bail!("waited in vain until {what}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) fn artifact(content: &[u8]) -> Artifact {
    let sha256 = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Artifact { sha256, bytes: content.len() as u64, program: "words".into(), is_debug: false }
}

/// The chunks of an upload, from `offset` on, in pieces of 100 bytes.
pub(crate) fn upload_of(artifact: &Artifact, content: &[u8], offset: usize) -> Vec<ArtifactChunk> {
    let mut chunks =
        vec![ArtifactChunk { artifact: Some(artifact.clone()), offset: offset as u64, ..Default::default() }];
    let mut at = offset;
    for piece in content[offset..].chunks(100) {
        chunks.push(ArtifactChunk { artifact: None, offset: at as u64, content: piece.to_vec().into() });
        at += piece.len();
    }
    chunks
}

pub(crate) async fn upload(
    client: &mut Client,
    artifact: &Artifact,
    content: &[u8],
    offset: usize,
) -> Result<(), Status> {
    client.upload_artifact(tokio_stream::iter(upload_of(artifact, content, offset))).await.map(|_| ())
}

/// `words` (a spout of 2 tasks) and `count` (a bolt of 4).
pub(crate) fn spec(name: &str, workers: u32, artifact: &Artifact) -> TopologySpec {
    let component = |id: &str, first_task, tasks| ComponentSpec {
        id: id.into(),
        is_spout: first_task == 1,
        first_task,
        tasks,
        executors: 2,
        streams: vec![StreamSpec { id: "default".into(), ..Default::default() }],
        ..Default::default()
    };
    let mut count = component("count", 3, 4);
    count.inputs = vec![InputSpec { from: "words".into(), stream: "default".into(), grouping: "shuffle".into() }];
    TopologySpec {
        name: name.into(),
        config: format!(r#"{{"topology.workers":{workers},"db.password":"hidden"}}"#),
        components: vec![component("words", 1, 2), count],
        artifact: Some(artifact.clone()),
        ..Default::default()
    }
}

/// Uploads a program and submits a topology.
pub(crate) async fn submit(client: &mut Client, name: &str, workers: u32) -> Result<SubmitReply> {
    let content = elf::program(elf::X86_64, Some("GLIBC_2.34"), "words");
    let artifact = artifact(&content);
    upload(client, &artifact, &content, 0).await?;
    let request = SubmitRequest { spec: Some(spec(name, workers, &artifact)), is_inactive: false };
    Ok(client.submit(request).await?.into_inner())
}

/// All workers of an assignment that run at this supervisor are like that.
pub(crate) fn all_report(supervisor: &Supervisor, id: &str, assignment: &Assignment, state: WorkerState) {
    for slot in workers(assignment).iter().filter(|slot| slot.supervisor == supervisor.id) {
        supervisor.reports(worker(id, slot, state, assignment.generation));
    }
}

pub(crate) async fn describe(client: &Client, name: &str) -> Result<DescribeReply, Status> {
    Ok(client.clone().describe(NameRequest { name: name.into() }).await?.into_inner())
}

pub(crate) async fn status(client: &Client, name: &str) -> Result<String> {
    Ok(describe(client, name).await?.summary.context("it has a summary")?.status)
}

/// How many workers each supervisor runs.
pub(crate) fn spread(assignment: &Assignment) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for worker in workers(assignment) {
        *spread.entry(worker.supervisor).or_default() += 1;
    }
    spread
}
