//! Names, folders, and who has them.

use std::time::Duration;

use galerna_coordination::Store;
use galerna_coordination::keys::Registration;
use galerna_protocol::WorkerState;
use galerna_supervisor::{Options, StartError};

use crate::support::{Cluster, STAYS, is_alive};

#[tokio::test]
async fn the_second_supervisor_of_a_name_or_a_folder_is_told_and_does_not_start() {
    let cluster = Cluster::start().await;
    let first = cluster.supervisor("s").await;
    let lease = Duration::from_millis(200);
    let options = Options { data: cluster.data("other"), lease, ..cluster.options("s") };
    let error = cluster.launch(options, cluster.store.clone()).await.expect_err("the name is taken");
    let expected =
        format!("a supervisor named `s` is already there, at {}; give this one another --id", first.address());
    assert_eq!(error.to_string(), expected);
    let options = Options { id: "t".to_owned(), ..cluster.options("s") };
    let error = cluster.launch(options, cluster.store.clone()).await.expect_err("the folder is taken");
    assert!(matches!(error, StartError::FolderTaken(_)), "{error}");
    let error = cluster.launch(cluster.options("a/b"), cluster.store.clone()).await.expect_err("no name");
    assert!(matches!(error, StartError::BadName(_)), "{error}");
    first.stop().await;
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_own_registration_over_and_a_stopped_one_leaves_none() {
    let cluster = Cluster::start().await;
    let key = cluster.keys.supervisor("s");
    let read = async || cluster.store.get(&key).await.expect("read").map(|it| it.json::<Registration>().expect("JSON"));
    let first = cluster.supervisor("s").await;
    let before = read().await.expect("registered");
    assert_eq!(before.slots, (1..=4).map(|slot| u32::from(first.address().port()) + slot).collect::<Vec<_>>());
    assert!(before.cpu > 0.0 && before.memory_mb > 0.0 && before.platform.os == std::env::consts::OS, "{before:?}");
    drop(first);
    let second = cluster.supervisor("s").await;
    let after = read().await.expect("registered");
    assert_ne!(before.session, after.session);
    assert_eq!(after.port, second.address().port());
    // Nor does the end of the first one's lease take it away.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(read().await.expect("registered").session, after.session);
    second.stop().await;
    assert!(read().await.is_none());
}

#[tokio::test]
async fn workers_run_on_if_they_are_to_be_kept() {
    let cluster = Cluster::start().await;
    let options = Options { keep_workers: true, ..cluster.options("s") };
    let supervisor = cluster.launch(options, cluster.store.clone()).await.expect("it starts");
    cluster.assign(STAYS).await;
    let first = cluster.incarnation(0, WorkerState::Starting).await;
    supervisor.stop().await;
    assert!(is_alive(first.pid));
    let supervisor = cluster.supervisor("s").await;
    supervisor.stop().await;
    assert!(!is_alive(first.pid), "it was adopted and ended");
}
