//! What comes of a constructed view, and of a nimbus that runs.

use galerna_coordination::keys::{Desired, Keys, Member, Registration, Status};
use galerna_coordination::metrics::Exposition;
use galerna_coordination::{Entry, Event, Listing, MemoryStore};
use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::{
    AssignedWorker, Assignment, ComponentSpec, Handover, ListRequest, NameRequest, TaskRange, TopologySpec, WorkerId,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::view::View;
use crate::{Nimbus, Options};

fn entry(key: String, value: &impl Serialize) -> Entry {
    Entry { key, value: serde_json::to_vec(value).expect("JSON"), created: 1, modified: 1 }
}

/// Two supervisors, of which one leaves; a topology that runs, one that moves, one that has finished.
fn view() -> View {
    let keys = Keys::new("c");
    let registration = |first: u32, is_leaving| Registration {
        slots: (first..first + 4).collect(),
        is_leaving,
        ..Registration::default()
    };
    let component = ComponentSpec { id: "a".to_owned(), executors: 3, tasks: 3, first_task: 1, ..Default::default() };
    let spec = |name: &str| TopologySpec {
        name: name.to_owned(),
        components: vec![component.clone()],
        ..TopologySpec::default()
    };
    let worker = |supervisor: &str, slot| AssignedWorker {
        id: Some(WorkerId::new(supervisor, slot)),
        executors: vec![TaskRange::new(1, 1), TaskRange::new(2, 2)],
        ..AssignedWorker::default()
    };
    let desired = |status, workers| Desired { status, workers, ..Desired::default() };
    let mut assignment =
        Assignment { generation: 7, workers: vec![worker("s", 1), worker("t", 11)], handovers: Vec::new() };
    let mut entries = vec![
        entry(keys.member("n"), &Member::default()),
        entry(keys.supervisor("s"), &registration(1, false)),
        entry(keys.supervisor("t"), &registration(11, true)),
        entry(keys.spec("runs-1"), &spec("runs")),
        entry(keys.desired("runs-1"), &desired(Status::Active, 9)),
        entry(keys.assignment("runs-1"), &assignment),
        entry(keys.spec("moves-2"), &spec("moves")),
        entry(keys.desired("moves-2"), &desired(Status::Active, 1)),
        entry(keys.spec("ends-3"), &spec("ends")),
        entry(keys.desired("ends-3"), &desired(Status::Finished, 2)),
    ];
    assignment.handovers = vec![Handover::default()];
    assignment.workers = vec![worker("lost", 5)];
    entries.push(entry(keys.assignment("moves-2"), &assignment));
    let mut view = View::default();
    view.apply(&keys, Event::Snapshot(Listing { revision: 1, entries }), Instant::now());
    view
}

#[test]
fn leader_tells_slots_topologies_and_what_is_lacking() {
    let mut families = Families::default();
    cluster::add(&mut families, &view(), &[("moves-2".to_owned(), "no room".to_owned())].into());
    let read = Exposition::read(&families.into_text()).expect("it keeps to the rules");
    for (name, label, value, expected) in [
        ("galerna_cluster_nimbuses", "", "", 1.0),
        ("galerna_cluster_supervisors", "state", "active", 1.0),
        ("galerna_cluster_supervisors", "state", "leaving", 1.0),
        ("galerna_cluster_slots", "state", "used", 2.0),
        ("galerna_cluster_slots", "state", "free", 3.0),
        ("galerna_cluster_slots", "state", "leaving", 3.0),
        ("galerna_cluster_topologies", "status", "ACTIVE", 1.0),
        ("galerna_cluster_topologies", "status", "REBALANCING", 1.0),
        ("galerna_cluster_topologies", "status", "FINISHED", 1.0),
        ("galerna_cluster_topologies", "status", "KILLED", 0.0),
        ("galerna_topology_workers_wanted", "topology_id", "runs-1", 3.0),
        ("galerna_topology_workers_assigned", "topology", "runs", 2.0),
        ("galerna_topology_executors_wanted", "topology", "runs", 3.0),
        ("galerna_topology_executors_assigned", "topology", "runs", 4.0),
        ("galerna_topology_generation", "topology", "runs", 7.0),
        ("galerna_topology_unplaced", "topology", "runs", 0.0),
        ("galerna_topology_unplaced", "topology", "moves", 1.0),
        ("galerna_topology_workers_wanted", "topology", "ends", 0.0),
        ("galerna_topology_executors_assigned", "topology", "ends", 0.0),
    ] {
        let labels = [(label, value)];
        let labels = if label.is_empty() { &[][..] } else { &labels };
        assert_eq!(read.sum(name, labels), Some(expected), "{name} {label} {value}");
    }
}

#[tokio::test]
async fn running_nimbus_becomes_ready_times_what_it_does_and_exports_only_what_is_described() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("it listens");
    let options = Options { data: folder.path().to_owned(), ..Options::default() };
    let nimbus = Nimbus::start(options, Arc::new(MemoryStore::new()), listener).await.expect("it starts");
    let observed = nimbus.observed();
    let is_ready = async {
        while !observed.readiness().iter().all(|check| check.finding.is_ok()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), is_ready).await.expect("it becomes ready");
    let lines: Vec<String> = observed.readiness().iter().map(|check| check.line()).collect();
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("[+] store: reached", "[+] leader: this nimbus leads"));
    assert!(observed.liveness().iter().all(|check| check.passes()));
    let channel = galerna_protocol::connect(nimbus.address()).await.expect("connected");
    let mut client = NimbusClient::new(channel);
    client.list(ListRequest::default()).await.expect("answered");
    client.describe(NameRequest { name: "nobody".to_owned() }).await.expect_err("there is none");
    let read = Exposition::read(&observed.metrics()).expect("it keeps to the rules");
    let known: BTreeMap<String, String> =
        metrics().iter().map(|metric| (metric.name.to_owned(), metric.kind.to_string())).collect();
    for (name, kind) in read.families() {
        assert_eq!(known.get(&name), Some(&kind), "{name}");
    }
    assert_eq!(read.sum("galerna_nimbus_is_leader", &[]), Some(1.0));
    let calls = |method, code| read.sum("galerna_nimbus_rpc_seconds_count", &[("method", method), ("code", code)]);
    assert_eq!(calls("List", "ok"), Some(1.0));
    assert_eq!(calls("Describe", "not_found"), Some(1.0));
    assert!(read.sum("galerna_store_operation_seconds_count", &[("outcome", "ok")]).is_some_and(|count| count >= 2.0));
    assert!(read.sum("galerna_nimbus_reconcile_seconds_count", &[]).is_some_and(|count| count >= 1.0));
    assert_eq!(read.sum("galerna_build_info", &[("daemon", "nimbus")]), Some(1.0));
    nimbus.stop().await;
    // Somebody may still ask.
    let read = Exposition::read(&observed.metrics()).expect("it keeps to the rules");
    assert_eq!(read.sum("galerna_nimbus_is_leader", &[]), Some(0.0));
    assert_eq!(read.sum("galerna_cluster_nimbuses", &[]), None);
}
