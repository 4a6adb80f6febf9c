//! Supervisors that are told to go.

use std::time::Duration;

use galerna_protocol::{SupervisorReport, WorkerReport, WorkerState};
use galerna_supervisor::{Options, Supervisor};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::support::{Cluster, PATIENCE, STAYS, eventually, is_alive, signal};

const LONG: Duration = Duration::from_secs(3600);

/// Has it leave, while the test goes on.
fn leaving(mut supervisor: Supervisor, within: Duration) -> JoinSet<Supervisor> {
    let mut leaving = JoinSet::new();
    leaving.spawn(async move {
        supervisor.leave(within).await.expect("it goes on");
        supervisor
    });
    leaving
}

async fn left(mut leaving: JoinSet<Supervisor>) -> Supervisor {
    let left = timeout(PATIENCE, leaving.join_next()).await.expect("it may go");
    left.expect("a supervisor").expect("no panic")
}

#[tokio::test]
async fn one_that_leaves_says_so_runs_what_is_assigned_and_goes_when_nothing_is() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.add_other("t").await;
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    let before = cluster.registration("s").await.expect("registered");
    assert!(!before.is_leaving && !supervisor.is_leaving());

    let mut leaving = leaving(supervisor, LONG);
    let after = cluster.registers("s", "it is leaving", |it| it.is_leaving).await;
    assert_eq!((&after.session, after.port), (&before.session, before.port), "it is the same registration");
    assert!(after.leave_by_unix_ms > before.started_unix_ms + 3_599_000, "{after:?}");

    // What is assigned is launched, again or for the first time: Nimbus may not have known yet that it leaves.
    cluster.submit("t-2", ("s", 8), STAYS).await;
    let launched =
        |report: &SupervisorReport| report.workers.iter().find(|it| it.topology_id == "t-2").map(|it| it.pid);
    let late = cluster.nimbus.wait_for(launched).await;
    signal(first.pid, Signal::KILL);
    let again = |report: &SupervisorReport| {
        let is_it = |it: &&WorkerReport| it.topology_id == "t-1" && it.incarnation > first.incarnation;
        report.workers.iter().find(is_it).cloned()
    };
    let second = cluster.nimbus.wait_for(again).await;
    assert!(timeout(Duration::from_millis(300), leaving.join_next()).await.is_err(), "something is still assigned");

    cluster.move_to("t-2", ("t", 8)).await;
    cluster.move_to("t-1", ("t", 7)).await;
    let supervisor = left(leaving).await;
    assert!(!is_alive(second.pid) && !is_alive(late), "its workers were ended before it went");
    supervisor.stop().await;
    assert_eq!(cluster.registration("s").await, None);

    let supervisor = cluster.supervisor("s").await;
    let again = cluster.registration("s").await.expect("registered");
    assert!(!again.is_leaving && again.leave_by_unix_ms == 0, "{again:?}");
    supervisor.stop().await;
}

#[tokio::test]
async fn one_that_nobody_could_replace_goes_at_once() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    let other = cluster.supervisor("t").await;
    cluster.assign(STAYS).await;
    let worker = cluster.incarnation(0, WorkerState::Starting).await;
    let leaving_first = leaving(supervisor, LONG);
    cluster.registers("s", "it is leaving", |it| it.is_leaving).await;
    // The other leaves, too, and has nothing to wait for; with that nobody is left for the first one.
    left(leaving(other, LONG)).await.stop().await;
    let supervisor = left(leaving_first).await;
    assert!(is_alive(worker.pid));
    supervisor.stop().await;
    assert!(!is_alive(worker.pid));
}

#[tokio::test]
async fn one_whose_time_is_over_goes_though_its_workers_still_run() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.add_other("t").await;
    cluster.assign(STAYS).await;
    let worker = cluster.incarnation(0, WorkerState::Starting).await;
    let (start, within) = (Instant::now(), Duration::from_millis(700));
    let supervisor = left(leaving(supervisor, within)).await;
    assert!(start.elapsed() >= within && is_alive(worker.pid), "{:?}", start.elapsed());
    supervisor.stop().await;
    assert!(!is_alive(worker.pid));
}

#[tokio::test]
async fn one_that_leaves_while_the_store_is_away_says_so_when_it_is_back_even_under_a_new_lease() {
    let cluster = Cluster::start().await;
    let client = cluster.store.another_client();
    let options = Options { lease: Duration::from_secs(1), ..cluster.options("s") };
    let supervisor = cluster.launch(options, client.clone()).await.expect("it starts");
    cluster.add_other("t").await;
    cluster.assign(STAYS).await;
    cluster.incarnation(0, WorkerState::Starting).await;
    let before = cluster.registration("s").await.expect("registered");

    cluster.store.set_running(false);
    let leaving = leaving(supervisor, LONG);
    cluster.store.set_running(true);
    let said = cluster.registers("s", "it is leaving", |it| it.is_leaving).await;

    client.set_reachable(false);
    let until = Instant::now() + PATIENCE;
    while cluster.registration("s").await.is_some() {
        assert!(Instant::now() < until, "its lease never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.set_reachable(true);
    let again = cluster.registers("s", "it is there again", |_| true).await;
    assert_ne!(again.session, before.session);
    assert_eq!((again.is_leaving, again.leave_by_unix_ms), (true, said.leave_by_unix_ms));
    cluster.move_to("t-1", ("t", 7)).await;
    let supervisor = left(leaving).await;
    eventually("it is registered", || supervisor.is_registered()).await;
    supervisor.stop().await;
}
