//! What is killed, damaged or cut off.

use std::time::Duration;

use galerna_coordination::Store;
use galerna_protocol::WorkerState;
use galerna_supervisor::Options;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::support::{Cluster, FAILS, STAYS, Worker, eventually, is_alive, signal};

#[tokio::test]
async fn a_crashed_worker_is_launched_at_once_with_a_higher_incarnation() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    let killed_at = Instant::now();
    signal(first.pid, Signal::KILL);
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    assert!(killed_at.elapsed() < Duration::from_secs(1), "{:?}", killed_at.elapsed());
    assert!(is_alive(second.pid));
    let gone = cluster.incarnation(0, WorkerState::Gone).await;
    assert!(gone.may_lack_counts && gone.exit.contains("signal 9"), "{gone:?}");
    let end = gone.end.clone().expect("nobody had ordered it");
    assert_eq!((end.signal, end.exit_code, end.pid, end.incarnation), (Some(9), None, first.pid, first.incarnation));
    assert!(end.unix_ms >= first.started_unix_ms && end.last_lines == "up", "{end:?}");
    supervisor.stop().await;
    assert!(!is_alive(second.pid));
}

#[tokio::test]
async fn a_worker_that_keeps_failing_is_reported_with_its_last_lines() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(FAILS).await;
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    assert_eq!((failure.topology_id.as_str(), failure.slot, failure.attempts), ("t-1", 7, 3));
    assert!(failure.message.contains("exited with code 1"), "{}", failure.message);
    assert!(failure.message.ends_with("cannot reach the queue\nat queue:5672"), "{}", failure.message);
    assert_eq!(failure.message.matches("cannot reach").count(), 1, "only of its last launch");
    supervisor.stop().await;
}

#[tokio::test]
async fn a_worker_that_never_attaches_is_killed_and_counts_as_failed() {
    let cluster = Cluster::start().await;
    let attach_within = Duration::from_millis(200);
    let options = Options { attach_within, ..cluster.options("s") };
    let supervisor = cluster.launch(options, cluster.store.clone()).await.expect("it starts");
    cluster.assign(STAYS).await;
    let failure = cluster.nimbus.wait_for(|report| report.failures.first().cloned()).await;
    assert!(failure.message.starts_with("it did not attach within 0.2 s"), "{}", failure.message);
    supervisor.stop().await;
}

#[tokio::test]
async fn a_killed_supervisor_adopts_its_workers_and_notices_those_that_are_gone() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    let mut worker = Worker::attach(&supervisor, first.incarnation).await.expect("it was launched");
    worker.next().await;
    drop(supervisor);

    let supervisor = cluster.supervisor("s").await;
    let mut worker = Worker::attach(&supervisor, first.incarnation).await.expect("it was adopted");
    worker.next().await;
    assert!(is_alive(first.pid));
    // Its end is seen though it is no child of this start.
    signal(first.pid, Signal::KILL);
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    drop(supervisor);

    signal(second.pid, Signal::KILL);
    eventually("the worker is gone", || !is_alive(second.pid)).await;
    // As if it had been killed before the first report was written.
    let _ = std::fs::remove_file(cluster.data("s").join(format!("reports/t-1/7-{}.json", second.incarnation)));
    let supervisor = cluster.supervisor("s").await;
    let third = cluster.incarnation(second.incarnation, WorkerState::Starting).await;
    let gone = cluster.incarnation(first.incarnation, WorkerState::Gone).await;
    assert_eq!(gone.incarnation, second.incarnation);
    assert!(gone.may_lack_counts && gone.exit.contains("while its supervisor was away"), "{gone:?}");
    assert_eq!(gone.unexpected_ends, 1);
    supervisor.stop().await;
    assert!(!is_alive(third.pid));
}

#[tokio::test]
async fn while_the_store_is_away_workers_are_launched_again_even_by_a_restarted_supervisor() {
    let cluster = Cluster::start().await;
    let client = cluster.store.another_client();
    let supervisor = cluster.launch(cluster.options("s"), client.clone()).await.expect("it starts");
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    client.set_reachable(false);
    signal(first.pid, Signal::KILL);
    let second = cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    drop(supervisor);

    let supervisor = cluster.launch(cluster.options("s"), client.clone()).await.expect("it starts");
    signal(second.pid, Signal::KILL);
    let third = cluster.incarnation(second.incarnation, WorkerState::Starting).await;
    // Its lease has ended meanwhile; it registers again and nothing else happens.
    let key = cluster.keys.supervisor("s");
    let until = Instant::now() + crate::support::PATIENCE;
    while cluster.store.get(&key).await.expect("read").is_some() {
        assert!(Instant::now() < until, "its lease never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    client.set_reachable(true);
    while cluster.store.get(&key).await.expect("read").is_none() {
        assert!(Instant::now() < until, "it never registers again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_alive(third.pid));
    supervisor.stop().await;
    assert!(cluster.store.get(&key).await.expect("read").is_none(), "it gives its name up");
}

#[tokio::test]
async fn a_damaged_artifact_is_fetched_again_before_it_is_launched() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    let artifact = cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    supervisor.stop().await;
    let path = cluster.data("s").join("artifacts").join(&artifact.sha256);
    std::fs::write(&path, "#!/bin/sh\necho broken\n").expect("written");

    let supervisor = cluster.supervisor("s").await;
    cluster.incarnation(first.incarnation, WorkerState::Starting).await;
    assert_eq!(std::fs::read_to_string(&path).expect("fetched"), STAYS);
    supervisor.stop().await;

    // One that came half goes on where it ended.
    let part = path.with_extension("part");
    std::fs::rename(&path, &part).expect("renamed");
    std::fs::File::options().write(true).open(&part).expect("opened").set_len(10).expect("cut");
    let supervisor = cluster.supervisor("s").await;
    eventually("it is whole", || path.exists()).await;
    assert_eq!(cluster.nimbus.downloads(), [0, 0, 10]);
    supervisor.stop().await;
}
