//! Workers attach, hear what is wanted of them, and report.

use galerna_coordination::keys::Status;
use galerna_protocol::supervisor_message::Message;
use galerna_protocol::{LocateRequest, Order, TaskReport, WorkerReport, WorkerState};
use tonic::Code;

use crate::support::{Cluster, STAYS, Worker, client, eventually, is_alive, signal};

fn counted(acked: u64) -> WorkerReport {
    let tasks = vec![TaskReport { task: 1, acked, ..TaskReport::default() }];
    WorkerReport { state: WorkerState::Running.into(), tasks, generation: 1, ..WorkerReport::default() }
}

async fn order(worker: &mut Worker) -> Order {
    match worker.next().await {
        Message::Plan(plan) => plan.order(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_assigned_worker_runs_hears_each_new_plan_and_is_ended_when_it_is_no_longer_assigned() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    let launched = cluster.incarnation(0, WorkerState::Starting).await;
    let mut worker = Worker::attach(&supervisor, launched.incarnation).await.expect("it was launched");
    assert!(matches!(worker.next().await, Message::Spec(spec) if spec.name == "t"));
    assert_eq!(order(&mut worker).await, Order::Run);
    worker.report(counted(5)).await;
    let reported = cluster.incarnation(0, WorkerState::Running).await;
    assert_eq!((reported.pid, reported.tasks[0].acked), (launched.pid, 5));

    let located = client(&supervisor).await.locate(LocateRequest { topology_id: "t-1".to_owned(), slot: 7 }).await;
    let located = located.expect("it attached").into_inner();
    assert_eq!((located.address.as_str(), located.incarnation), ("127.0.0.1:4711", launched.incarnation));

    cluster.desire(Status::Inactive).await;
    assert_eq!(order(&mut worker).await, Order::Pause);
    cluster.delete(cluster.keys.assignment("t-1")).await;
    let gone = cluster.incarnation(0, WorkerState::Gone).await;
    assert!(!gone.may_lack_counts && gone.exit.contains("code 0"), "{gone:?}");
    assert_eq!((gone.tasks[0].acked, gone.end, gone.unexpected_ends), (5, None, 0), "it was told to end");
    assert!(!is_alive(launched.pid));
    // What it has counted goes with the topology.
    let file = cluster.data("s").join(format!("reports/t-1/7-{}.json", launched.incarnation));
    eventually("the report is on disk", || file.exists()).await;
    cluster.delete(cluster.keys.desired("t-1")).await;
    cluster.delete(cluster.keys.spec("t-1")).await;
    eventually("the report is removed", || !file.exists()).await;
    supervisor.stop().await;
}

#[tokio::test]
async fn a_worker_that_was_not_launched_here_is_refused() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    let refusal = Worker::attach(&supervisor, 3).await.err().expect("nothing was launched");
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    cluster.assign(STAYS).await;
    let launched = cluster.incarnation(0, WorkerState::Starting).await;
    let refusal = Worker::attach(&supervisor, launched.incarnation + 1).await.err().expect("another incarnation");
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    supervisor.stop().await;
}

#[tokio::test]
async fn a_drained_worker_is_not_launched_again_though_its_supervisor_is_killed() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    let launched = cluster.incarnation(0, WorkerState::Starting).await;
    let mut worker = Worker::attach(&supervisor, launched.incarnation).await.expect("it was launched");
    worker.next().await;
    assert_eq!(order(&mut worker).await, Order::Run);
    cluster.desire(Status::Killed).await;
    assert_eq!(order(&mut worker).await, Order::Drain);
    signal(launched.pid, rustix::process::Signal::TERM);
    let gone = cluster.incarnation(0, WorkerState::Gone).await;
    assert!(!gone.may_lack_counts);
    let record = cluster.data("s").join("workers/7.json");
    eventually("that it has ended is on disk", || {
        std::fs::read_to_string(&record).is_ok_and(|text| text.contains(r#""has_ended":true"#))
    })
    .await;
    drop(supervisor);
    let supervisor = cluster.supervisor("s").await;
    // Had it been launched again, a higher incarnation would come with the report of this registration.
    let session = std::fs::read_to_string(cluster.data("s").join("sessions.json")).expect("written");
    let newest: i64 = session.rsplit('"').nth(1).expect("a session").parse().expect("a number");
    let workers = cluster.nimbus.wait_for(|it| (it.session == newest).then(|| it.workers.clone())).await;
    assert_eq!(workers.iter().map(|it| it.incarnation).collect::<Vec<_>>(), [launched.incarnation]);
    // Active again, it is.
    cluster.desire(Status::Active).await;
    cluster.delete(cluster.keys.assignment("t-1")).await;
    eventually("what ended is forgotten", || !record.exists()).await;
    cluster.assign(STAYS).await;
    cluster.incarnation(launched.incarnation, WorkerState::Starting).await;
    supervisor.stop().await;
}
