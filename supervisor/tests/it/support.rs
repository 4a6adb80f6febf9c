//! A small cluster: a store in memory, a Nimbus that only listens, supervisors and scripts.

mod nimbus;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use galerna_coordination::keys::{Desired, Keys, Leader, Registration, Status};
use galerna_coordination::{MemoryStore, Store, Transaction};
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::supervisor_message::Message;
use galerna_protocol::worker_message::Message as Telling;
use galerna_protocol::{
    Artifact, AssignedWorker, Assignment, Channel, SupervisorMessage, TopologySpec, WorkerHeartbeat, WorkerHello,
    WorkerId, WorkerMessage, WorkerReport, WorkerState, connect,
};
use galerna_supervisor::{Options, StartError, Supervisor};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub(crate) use nimbus::Nimbus;

/// Whatever is waited for comes in this time, or the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Runs until it is asked to end, and then ends well.
pub(crate) const STAYS: &str = "#!/bin/sh\ntrap 'exit 0' TERM\necho up\nwhile :; do sleep 0.02; done\n";
/// Ends at once.
pub(crate) const FAILS: &str = "#!/bin/sh\necho 'cannot reach the queue'\necho 'at queue:5672' >&2\nexit 1\n";

pub(crate) struct Cluster {
    pub(crate) store: MemoryStore,
    pub(crate) keys: Keys,
    pub(crate) nimbus: Nimbus,
    pub(crate) folder: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let nimbus = Nimbus::start().await;
        let keys = Keys::new("default");
        let store = MemoryStore::new();
        let leader = Leader { id: "n".to_owned(), address: nimbus.address.clone() };
        let transaction = Transaction::new().put_json(keys.leader(), &leader).expect("JSON");
        store.commit(transaction).await.expect("committed");
        Self { store, keys, nimbus, folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn data(&self, id: &str) -> PathBuf {
        self.folder.path().join(id)
    }

    pub(crate) fn options(&self, id: &str) -> Options {
        let lease = Duration::from_secs(2);
        Options { id: id.to_owned(), data: self.data(id), lease, ..Options::default() }
    }

    pub(crate) async fn supervisor(&self, id: &str) -> Supervisor {
        self.launch(self.options(id), self.store.clone()).await.expect("it starts")
    }

    pub(crate) async fn launch(&self, options: Options, store: MemoryStore) -> Result<Supervisor, StartError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Supervisor::start(options, Arc::new(store), listener).await
    }

    /// Submits a script as topology `t-1` and assigns it to slot 7 of supervisor `s`.
    pub(crate) async fn assign(&self, script: &str) -> Artifact {
        self.submit("t-1", ("s", 7), script).await
    }

    /// Submits a script as a topology and assigns it to a slot.
    pub(crate) async fn submit(&self, topology: &str, to: (&str, u32), script: &str) -> Artifact {
        let artifact = self.nimbus.keep(script.as_bytes());
        let spec = TopologySpec { name: "t".to_owned(), artifact: Some(artifact.clone()), ..TopologySpec::default() };
        let transaction = Transaction::new().put_json(self.keys.spec(topology), &spec).expect("JSON");
        let transaction = transaction.put_json(self.keys.desired(topology), &Desired::default()).expect("JSON");
        self.store.commit(transaction).await.expect("committed");
        self.move_to(topology, to).await;
        artifact
    }

    /// Assigns a topology to this slot alone.
    pub(crate) async fn move_to(&self, topology: &str, (supervisor, slot): (&str, u32)) {
        let worker = AssignedWorker { id: Some(WorkerId::new(supervisor, slot)), ..AssignedWorker::default() };
        let assignment = Assignment { generation: 1, workers: vec![worker], handovers: Vec::new() };
        let transaction = Transaction::new().put_json(self.keys.assignment(topology), &assignment).expect("JSON");
        self.store.commit(transaction).await.expect("committed");
    }

    /// What a supervisor has registered, if it has.
    pub(crate) async fn registration(&self, id: &str) -> Option<Registration> {
        let entry = self.store.get(&self.keys.supervisor(id)).await.expect("read");
        entry.map(|entry| entry.json().expect("JSON"))
    }

    /// Waits until what a supervisor has registered is as it should be.
    pub(crate) async fn registers(&self, id: &str, what: &str, holds: impl Fn(&Registration) -> bool) -> Registration {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.registration(id).await {
                Some(registration) if holds(&registration) => return registration,
                other => assert!(tokio::time::Instant::now() < until, "never: {what}: {other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Another supervisor, that only stands in the store.
    pub(crate) async fn add_other(&self, id: &str) {
        let transaction = Transaction::new().put_json(self.keys.supervisor(id), &Registration::default());
        self.store.commit(transaction.expect("JSON")).await.expect("committed");
    }

    pub(crate) async fn desire(&self, status: Status) {
        let desired = Desired { status, ..Desired::default() };
        let transaction = Transaction::new().put_json(self.keys.desired("t-1"), &desired).expect("JSON");
        self.store.commit(transaction).await.expect("committed");
    }

    pub(crate) async fn delete(&self, key: String) {
        self.store.commit(Transaction::new().delete(key)).await.expect("committed");
    }

    /// The newest incarnation, once it is above `above` and stands so.
    pub(crate) async fn incarnation(&self, above: u64, state: WorkerState) -> WorkerReport {
        self.nimbus
            .wait_for(|report| {
                let found = report.workers.iter().filter(|it| it.incarnation > above && it.state() == state);
                found.max_by_key(|it| it.incarnation).cloned()
            })
            .await
    }
}

/// A worker's end of the stream.
pub(crate) struct Worker {
    pub(crate) say: mpsc::Sender<WorkerMessage>,
    told: Streaming<SupervisorMessage>,
}

pub(crate) async fn client(supervisor: &Supervisor) -> SupervisorClient<Channel> {
    SupervisorClient::new(connect(&supervisor.address().to_string()).await.expect("connected"))
}

impl Worker {
    pub(crate) async fn attach(supervisor: &Supervisor, incarnation: u64) -> Result<Self, tonic::Status> {
        Self::attach_as(supervisor, ("t-1", 7), incarnation).await
    }

    /// Attaches as the worker of a topology in a slot.
    pub(crate) async fn attach_as(
        supervisor: &Supervisor,
        (topology, slot): (&str, u32),
        incarnation: u64,
    ) -> Result<Self, tonic::Status> {
        let (say, said) = mpsc::channel(8);
        let address = "127.0.0.1:4711".to_owned();
        let hello = WorkerHello { topology_id: topology.to_owned(), slot, incarnation, pid: 1, address };
        let hello = WorkerMessage { message: Some(Telling::Hello(hello)) };
        say.send(hello).await.expect("there is room");
        let told = client(supervisor).await.attach(ReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, told })
    }

    pub(crate) async fn report(&self, report: WorkerReport) {
        let message = WorkerMessage { message: Some(Telling::Report(report)) };
        self.say.send(message).await.expect("it is taken");
    }

    pub(crate) async fn beat(&self) {
        let message = WorkerMessage { message: Some(Telling::Heartbeat(WorkerHeartbeat {})) };
        self.say.send(message).await.expect("it is taken");
    }

    pub(crate) async fn next(&mut self) -> Message {
        let next = tokio::time::timeout(PATIENCE, self.told.message()).await.expect("in time");
        next.expect("no error").expect("no end").message.expect("a message")
    }
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).expect("a number");
    rustix::process::kill_process(pid, signal).expect("it is there");
}

/// Whether a process is there, and not only waiting to be buried.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat[stat.rfind(')').expect("a name")..].starts_with(") Z"))
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < until, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
