//! What topologies do now.

use anyhow::{Context, Result};
use galerna_protocol::{ListRequest, TaskReport, WorkerReport, WorkerState};

use crate::cluster::{Cluster, describe, eventually, submit, worker, workers};

#[tokio::test]
async fn running_topology_shows_its_rates_its_queues_and_where_its_source_is() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let assignment = cluster.assigned(&id).await?;
    let slot = workers(&assignment).pop().context("it has a worker")?;
    // 1,000 tuples a second by the clock of the worker, whatever that of this test does.
    let report = |uptime_ms: u64| WorkerReport {
        uptime_ms,
        tasks: vec![
            TaskReport {
                task: 1,
                emitted: uptime_ms,
                pending: 9,
                source_position: "book.txt: line 7".into(),
                source_lag: Some(3),
                ..Default::default()
            },
            TaskReport { task: 3, busy_ns: uptime_ms * 2_000_000, queued: 5, queue_capacity: 20, ..Default::default() },
        ],
        ..worker(&id, &slot, WorkerState::Running, assignment.generation)
    };
    let began = tokio::time::Instant::now();
    let described = eventually("two seconds were watched", async || {
        supervisor.reports(report(60_000 + u64::try_from(began.elapsed().as_millis())?));
        let described = describe(&client, "words").await?;
        let window = described.components[0].last_10_s.as_ref();
        Ok(window.is_some_and(|window| window.seconds >= 2.0).then_some(described))
    })
    .await?;
    let [spout, bolt] = &described.components[..] else { panic!("{:?}", described.components) };
    let window = spout.last_10_s.as_ref().context("a window")?;
    assert!((900.0..1_100.0).contains(&window.emitted), "{window:?}");
    assert!(spout.last_10_min.as_ref().is_some_and(|long| long.seconds == window.seconds), "{spout:?}");
    assert_eq!((spout.pending, bolt.queued, bolt.queue_capacity), (9, 5, 20));
    // Two of four tasks' worth of time.
    let busy = bolt.last_10_s.as_ref().and_then(|window| window.busy).context("the worker tells")?;
    assert!((0.4..0.6).contains(&busy), "{busy}");
    let source = described.sources.first().context("a source")?;
    assert_eq!((source.component.as_str(), source.task, source.lag), ("words", 1, Some(3)));
    assert_eq!((source.position.as_str(), described.gaps.len()), ("book.txt: line 7", 0));

    let request = ListRequest { with_rates: true, ..ListRequest::default() };
    let listed = client.list(request).await?.into_inner().topologies;
    let window = listed[0].last_10_s.as_ref().context("it was asked for")?;
    assert!(window.emitted > 500.0 && listed[0].pending == 9, "{listed:?}");
    assert_eq!(client.list(ListRequest::default()).await?.into_inner().topologies[0].last_10_s, None);
    Ok(())
}

#[tokio::test]
async fn supervisor_that_is_silent_is_named_beside_the_rates() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let supervisor = cluster.supervisor("a", 4, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    cluster.assigned(&id).await?;
    eventually("it has reported", async || Ok(describe(&client, "words").await?.gaps.is_empty().then_some(()))).await?;
    supervisor.falls_silent();
    eventually("its silence is told", async || {
        let gaps = describe(&client, "words").await?.gaps;
        Ok(gaps.iter().any(|gap| gap.starts_with("a has not reported for ")).then_some(()))
    })
    .await
}
