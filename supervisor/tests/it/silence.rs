//! Workers that send no heartbeat.

use std::time::Duration;

use galerna_protocol::{EndCause, SupervisorReport, WorkerReport, WorkerState};
use galerna_supervisor::Options;

use crate::support::{Cluster, STAYS, Worker, is_alive};

const TIMEOUT: Duration = Duration::from_secs(2);

/// The newest incarnation of a topology's worker that stands so.
fn newest(report: &SupervisorReport, topology: &str, state: WorkerState) -> Option<WorkerReport> {
    let found = report.workers.iter().filter(|it| it.topology_id == topology && it.state() == state);
    found.max_by_key(|it| it.incarnation).cloned()
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_shown_killed_and_launched_anew_and_one_that_only_starts_is_not() {
    let cluster = Cluster::start().await;
    let options = Options { worker_timeout: Some(TIMEOUT), ..cluster.options("s") };
    let supervisor = cluster.launch(options, cluster.store.clone()).await.expect("it starts");
    cluster.assign(STAYS).await;
    cluster.submit("t-2", ("s", 8), STAYS).await;
    let launched = |topology| cluster.nimbus.wait_for(move |report| newest(report, topology, WorkerState::Starting));
    let (silent, starting) = (launched("t-1").await, launched("t-2").await);
    let speaks = Worker::attach(&supervisor, silent.incarnation).await.expect("it was launched");
    speaks.report(WorkerReport { state: WorkerState::Running.into(), ..WorkerReport::default() }).await;
    let beats = Worker::attach_as(&supervisor, ("t-2", 8), starting.incarnation).await.expect("it was launched");
    let beating = async {
        loop {
            beats.beat().await;
            tokio::time::sleep(TIMEOUT / 10).await;
        }
    };
    let story = async {
        let shown = cluster.nimbus.wait_for(|it| newest(it, "t-1", WorkerState::NotResponding)).await;
        assert_eq!((shown.incarnation, shown.pid), (silent.incarnation, silent.pid));
        let gone = cluster.nimbus.wait_for(|it| newest(it, "t-1", WorkerState::Gone)).await;
        let end = gone.end.expect("nobody had ordered it");
        assert_eq!((end.cause(), end.signal), (EndCause::NotResponding, Some(9)), "{end:?}");
        assert_eq!(end.reason, "it sent no heartbeat for 2 s and was killed");
        cluster.incarnation(silent.incarnation, WorkerState::Starting).await;
    };
    tokio::select! {
        () = story => {}
        () = beating => {}
    }
    assert!(is_alive(starting.pid) && !is_alive(silent.pid));
    supervisor.stop().await;
}

#[tokio::test]
async fn an_adopted_worker_that_never_attaches_again_is_killed_and_with_no_timeout_only_shown() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    let worker = Worker::attach(&supervisor, first.incarnation).await.expect("it was launched");
    worker.report(WorkerReport { state: WorkerState::Running.into(), ..WorkerReport::default() }).await;
    cluster.incarnation(0, WorkerState::Running).await;
    drop((worker, supervisor));

    let options = |worker_timeout| Options { worker_timeout, ..cluster.options("s") };
    let supervisor = cluster.launch(options(None), cluster.store.clone()).await.expect("it starts");
    let shown = cluster.incarnation(0, WorkerState::NotResponding).await;
    assert!(shown.pid == first.pid && is_alive(first.pid));
    drop(supervisor);

    let supervisor = cluster.launch(options(Some(TIMEOUT)), cluster.store.clone()).await.expect("it starts");
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    assert!(!is_alive(first.pid) && is_alive(second.pid));
    let gone = cluster.incarnation(0, WorkerState::Gone).await;
    let end = gone.end.expect("nobody had ordered it");
    assert_eq!((end.cause(), end.signal, gone.unexpected_ends), (EndCause::NotResponding, Some(9), 1), "{end:?}");
    supervisor.stop().await;
}
