//! Supervisors that say that they are about to go.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use galerna_coordination::UnixClock;
use galerna_protocol::{Assignment, KillRequest, SupervisorsRequest, WorkerState};

use crate::cluster::{Cluster, all_report, describe, eventually, spread, status, submit, workers};

const LONG: Duration = Duration::from_secs(600);

/// How many executors run at each supervisor.
fn running(assignment: &Assignment) -> BTreeMap<String, usize> {
    let mut running = BTreeMap::new();
    for worker in &assignment.workers {
        let Some(id) = &worker.id else { continue };
        *running.entry(id.supervisor.clone()).or_default() += worker.executors.len();
    }
    running
}

impl Cluster {
    /// The assignment once it is that of this generation.
    async fn generation(&self, id: &str, generation: u64) -> Result<Assignment> {
        eventually("it is assigned anew", async || {
            Ok(self.assignment(id).await?.filter(|assignment| assignment.generation == generation))
        })
        .await
    }
}

#[tokio::test]
async fn supervisor_that_leaves_releases_what_it_runs_and_has_nothing_then() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let (mut one, other) = (cluster.supervisor("a", 4, &nimbus).await?, cluster.supervisor("b", 4, &nimbus).await?);
    let id = submit(&mut client, "words", 2).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    assert_eq!(spread(&first), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
    all_report(&one, &id, &first, WorkerState::Running);
    all_report(&other, &id, &first, WorkerState::Running);
    one.says_that_it_leaves(LONG).await?;
    let second = cluster.generation(&id, 2).await?;
    assert_eq!(running(&second), BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 4)]));
    let from: Vec<_> = second.handovers.iter().filter_map(|handover| handover.from.clone()).collect();
    assert_eq!(from.iter().map(|worker| worker.supervisor.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(status(&client, "words").await?, "REBALANCING");
    let told = client.supervisors(SupervisorsRequest {}).await?.into_inner().supervisors;
    assert_eq!(told.iter().map(|one| one.is_leaving).collect::<Vec<_>>(), [true, false]);
    // What comes now does not go there.
    let later = submit(&mut client, "later", 2).await?.topology_id;
    assert_eq!(spread(&cluster.assigned(&later).await?), BTreeMap::from([("b".to_owned(), 2)]));
    all_report(&one, &id, &second, WorkerState::Running);
    all_report(&other, &id, &second, WorkerState::Running);
    let third = cluster.generation(&id, 3).await?;
    assert_eq!(spread(&third), BTreeMap::from([("b".to_owned(), 2)]));
    assert!(third.handovers.is_empty());
    // It is started again, and gets work again.
    one.registers(|one| one.is_leaving = false).await?;
    all_report(&other, &id, &third, WorkerState::Running);
    eventually("it runs something", async || {
        let assignments = [cluster.assigned(&id).await?, cluster.assigned(&later).await?];
        Ok(assignments.iter().any(|assignment| running(assignment).get("a") > Some(&0)).then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_is_not_released_in_time_is_moved_the_hard_way_before_its_supervisor_goes() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut one = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    all_report(&one, &id, &first, WorkerState::Running);
    let _other = cluster.supervisor("b", 4, &nimbus).await?;
    let goes = UnixClock::system().now_ms() + 6_000;
    one.says_that_it_leaves(Duration::from_secs(6)).await?;
    let second = cluster.generation(&id, 2).await?;
    assert!(!second.handovers.is_empty());
    // Nobody reports that anything was released, and the topology would wait for half a minute.
    let third = cluster.generation(&id, 3).await?;
    let now = UnixClock::system().now_ms();
    assert!(now < goes, "it came {} ms too late", now - goes);
    assert_eq!(spread(&third), BTreeMap::from([("b".to_owned(), 1)]));
    assert!(third.handovers.is_empty());
    Ok(())
}

#[tokio::test]
async fn what_has_no_place_elsewhere_stays_and_says_so_until_there_is_one() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut one = cluster.supervisor("a", 1, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    all_report(&one, &id, &first, WorkerState::Running);
    one.says_that_it_leaves(LONG).await?;
    let reasons = eventually("it is told", async || {
        Ok(Some(describe(&client, "words").await?.unscheduled).filter(|reasons| !reasons.is_empty()))
    })
    .await?;
    assert_eq!(
        reasons,
        [
            "4 executors stay on supervisor a, which is leaving: needs 1 slot, none is free: 1 supervisor with 1 slot runs 1 \
          worker, 1 of them is leaving; add supervisors or slots, or kill a topology"
        ]
    );
    assert_eq!(cluster.assignment(&id).await?, Some(first));
    let _other = cluster.supervisor("b", 1, &nimbus).await?;
    let second = cluster.generation(&id, 2).await?;
    assert_eq!(running(&second), BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 4)]));
    eventually("nothing is to be told", async || {
        Ok(describe(&client, "words").await?.unscheduled.is_empty().then_some(()))
    })
    .await
}

#[tokio::test]
async fn topology_that_is_killed_ends_where_it_is() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut one = cluster.supervisor("a", 2, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    all_report(&one, &id, &first, WorkerState::Running);
    let _other = cluster.supervisor("b", 2, &nimbus).await?;
    client.kill(KillRequest { name: "words".into(), wait_secs: Some(600), ..Default::default() }).await?;
    one.says_that_it_leaves(LONG).await?;
    // Another topology shows when the leader has seen it.
    let other = submit(&mut client, "other", 1).await?.topology_id;
    assert_eq!(workers(&cluster.assigned(&other).await?)[0].supervisor, "b");
    assert_eq!(cluster.assignment(&id).await?.context("it drains")?, first);
    all_report(&one, &id, &first, WorkerState::Drained);
    eventually("it is gone", async || Ok(cluster.assignment(&id).await?.is_none().then_some(()))).await
}
