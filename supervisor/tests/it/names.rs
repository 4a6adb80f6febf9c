//! Names that a predecessor still has, and disks.

use std::time::Duration;

use galerna_supervisor::{Options, StartError};
use tokio::time::Instant;

use crate::support::Cluster;

#[tokio::test]
async fn a_supervisor_that_lost_its_disk_gets_its_name_when_its_predecessors_lease_has_ended() {
    let cluster = Cluster::start().await;
    let lease = Duration::from_secs(1);
    let options = |data: &str| Options { data: cluster.data(data), lease, ..cluster.options("s") };
    let first = cluster.launch(options("a"), cluster.store.clone()).await.expect("it starts");
    let before = cluster.registration("s").await.expect("registered");
    // As if it were killed: its registration stays until the lease ends.
    drop(first);
    let start = Instant::now();
    let second = cluster.launch(options("b"), cluster.store.clone()).await.expect("it gets its name");
    assert!(start.elapsed() < lease.mul_f64(1.5) + Duration::from_secs(1), "{:?}", start.elapsed());
    let after = cluster.registration("s").await.expect("registered");
    assert_ne!((&before.session, &before.disk), (&after.session, &after.disk));
    assert!(second.is_registered());

    // Whoever lives keeps its name, however long another asks.
    let asked = Instant::now();
    let error = cluster.launch(options("c"), cluster.store.clone()).await.expect_err("the name is taken");
    assert!(matches!(error, StartError::NameTaken { .. }), "{error}");
    assert!(asked.elapsed() >= lease, "it would have given up before a lease could end: {:?}", asked.elapsed());
    assert_eq!(cluster.registration("s").await.expect("registered").session, after.session);
    second.stop().await;
}

#[tokio::test]
async fn a_disk_is_known_by_the_same_number_at_every_start_in_the_store_and_in_reports() {
    let cluster = Cluster::start().await;
    let first = cluster.supervisor("s").await;
    let disk = cluster.registration("s").await.expect("registered").disk;
    assert_eq!(disk.len(), 32);
    let reported = cluster.nimbus.wait_for(|report| Some(report.disk.clone()).filter(|disk| !disk.is_empty())).await;
    assert_eq!(reported, disk);
    first.stop().await;
    let second = cluster.supervisor("s").await;
    assert_eq!(cluster.registration("s").await.expect("registered").disk, disk);
    second.stop().await;
}
