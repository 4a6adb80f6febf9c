//! Workers that have too much memory, and kernels that kill for it.

use std::fs;
use std::path::PathBuf;

use galerna_protocol::{EndCause, SupervisorReport, WorkerReport, WorkerState};
use galerna_supervisor::{Options, Supervisor, WorkerMemory};
use rustix::process::Signal;

use crate::support::{Cluster, STAYS, eventually, is_alive, signal};

const MIB: u64 = 1 << 20;
/// Grows without end; should nobody end it, it fails by itself before the machine does.
const GROWS: &str = "#!/bin/sh\nulimit -v 2000000\necho 'reading all of it'\nexec tail /dev/zero\n";
/// Has some 80 MiB.
const HAS_MUCH: &str =
    "#!/bin/sh\nx=$(head -c 80000000 /dev/zero | tr '\\0' x)\necho has it\nwhile :; do sleep 0.05; done\n";
/// One that grows in a child, whose parent stays small.
const HAS_CHILD_THAT_GROWS: &str =
    "#!/bin/sh\nulimit -v 2000000\ntail /dev/zero &\nwait\nwhile :; do sleep 0.1; done\n";

/// A container of version 2 with 1000 MiB.
struct Container(PathBuf);

impl Container {
    fn new(cluster: &Cluster) -> Self {
        let container = Self(cluster.data("container"));
        container.write("proc/self/cgroup", "0::/\n");
        let mount = "881 880 0:28 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        container.write("proc/self/mountinfo", mount);
        container.write("sys/fs/cgroup/memory.max", &(1000 * MIB).to_string());
        container.write("sys/fs/cgroup/memory.stat", "inactive_file 0\n");
        container.kills(0);
        container.uses(100);
        container
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    fn uses(&self, mib: u64) {
        self.write("sys/fs/cgroup/memory.current", &(mib * MIB).to_string());
    }

    fn kills(&self, kills: u64) {
        self.write("sys/fs/cgroup/memory.events", &format!("oom 9\noom_kill {kills}\n"));
    }
}

async fn started(cluster: &Cluster, options: Options) -> Supervisor {
    cluster.launch(options, cluster.store.clone()).await.expect("it starts")
}

/// The report of a worker that is gone.
async fn gone(cluster: &Cluster, incarnation: u64) -> WorkerReport {
    let is_it = |it: &&WorkerReport| it.incarnation == incarnation && it.state() == WorkerState::Gone;
    cluster.nimbus.wait_for(|report| report.workers.iter().find(is_it).cloned()).await
}

#[tokio::test]
async fn a_worker_over_its_share_is_ended_launched_anew_and_reported_from_the_first_time_on() {
    let cluster = Cluster::start().await;
    let options = Options { worker_memory: WorkerMemory::Limit(64 * MIB), ..cluster.options("s") };
    let supervisor = started(&cluster, options).await;
    cluster.assign(GROWS).await;
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    assert_eq!((failure.topology_id.as_str(), failure.slot), ("t-1", 7));
    assert!(failure.message.starts_with("it had "), "{}", failure.message);
    let over = "MiB, over its share of 64 MiB (--worker-memory), and was ended";
    assert!(failure.message.contains(over), "{}", failure.message);
    assert!(failure.message.ends_with("reading all of it"), "{}", failure.message);
    let ended = cluster.incarnation(0, WorkerState::Gone).await;
    let end = ended.end.expect("it stays on record");
    assert!(end.reason.contains(over) && end.unix_ms > 0 && end.cause() == EndCause::OutOfMemory, "{end:?}");
    cluster.incarnation(ended.incarnation, WorkerState::Starting).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn what_the_children_of_a_worker_have_is_its_own() {
    let cluster = Cluster::start().await;
    // 64 MiB for a slot: what the supervisor needs itself, and one slot.
    let options = Options { memory_mb: Some(96.0), slots: 1, ..cluster.options("s") };
    let supervisor = started(&cluster, options).await;
    assert_eq!(supervisor.resources().1, 96.0);
    cluster.assign(HAS_CHILD_THAT_GROWS).await;
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    let over = "over its share of 64 MiB (a slot's part of all; --worker-memory sets another), and was ended";
    assert!(failure.message.contains(over), "{}", failure.message);
    supervisor.stop().await;
}

#[tokio::test]
async fn the_worker_that_has_most_goes_before_the_kernel_ends_the_container() {
    let cluster = Cluster::start().await;
    let container = Container::new(&cluster);
    let (system, worker_memory) = (container.0.clone(), WorkerMemory::Unlimited);
    let supervisor = started(&cluster, Options { system, worker_memory, ..cluster.options("s") }).await;
    cluster.assign(HAS_MUCH).await;
    cluster.submit("t-2", ("s", 8), STAYS).await;
    let small = |report: &SupervisorReport| report.workers.iter().find(|it| it.topology_id == "t-2").cloned();
    let small = cluster.nimbus.wait_for(small).await;
    let log = cluster.data("s").join("logs/t-1/7.log");
    eventually("it has its memory", || fs::read_to_string(&log).is_ok_and(|log| log.contains("has it"))).await;
    container.uses(955);
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    container.uses(100);
    assert_eq!(failure.topology_id, "t-1");
    let told = "955 MiB of the container's limit of 1000 MiB were in use; it had ";
    assert!(failure.message.starts_with(told), "{}", failure.message);
    assert!(failure.message.contains("was ended before the kernel ends the container"), "{}", failure.message);
    assert!(is_alive(small.pid), "the small one was not what filled it");
    supervisor.stop().await;
}

#[tokio::test]
async fn a_worker_killed_by_the_kernel_is_told_from_one_that_anybody_killed() {
    let cluster = Cluster::start().await;
    let container = Container::new(&cluster);
    let options = || Options { system: container.0.clone(), ..cluster.options("s") };
    let supervisor = started(&cluster, options()).await;
    assert_eq!(supervisor.resources().1, 1000.0);
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    signal(first.pid, Signal::KILL);
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    assert_eq!(
        gone(&cluster, first.incarnation).await.exit.lines().next(),
        Some("was ended by signal 9; its last lines:")
    );

    container.kills(1);
    signal(second.pid, Signal::KILL);
    let gone = gone(&cluster, second.incarnation).await;
    assert_eq!(gone.end.expect("nobody had ordered it").cause(), EndCause::OutOfMemory);
    let exit = gone.exit;
    assert!(exit.starts_with("was killed by the kernel for memory (100 MiB of 1000 MiB were in use"), "{exit}");
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    assert!(failure.message.starts_with("was killed by the kernel"), "{}", failure.message);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_container_killed_for_memory_is_recognized_by_its_successor() {
    let cluster = Cluster::start().await;
    let container = Container::new(&cluster);
    let options = || Options { system: container.0.clone(), ..cluster.options("s") };
    let supervisor = started(&cluster, options()).await;
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    container.uses(940);
    let trace = cluster.data("s").join("memory.json");
    eventually("it is on disk that most is in use", || trace.exists()).await;
    // Everything in a container is killed at once.
    drop(supervisor);
    signal(first.pid, Signal::KILL);
    eventually("the worker is gone", || !is_alive(first.pid)).await;

    container.uses(10);
    let supervisor = started(&cluster, options()).await;
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    let told = "the container was probably killed for memory: 940 of 1000 MiB were in use ";
    assert!(failure.message.starts_with(told), "{}", failure.message);
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    assert!(gone(&cluster, first.incarnation).await.exit.starts_with(told));

    // A stop that is none of a kill's leaves no trace.
    container.uses(940);
    eventually("it is on disk again", || trace.exists()).await;
    supervisor.stop().await;
    assert!(!trace.exists() && !is_alive(second.pid));
}
