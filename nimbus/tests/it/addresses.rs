//! Daemons that are reached elsewhere than before.

use anyhow::{Context, Result};
use galerna_coordination::keys::Leader;
use galerna_coordination::{Store, get_json};
use galerna_protocol::{ListRequest, LogsRequest, SupervisorsRequest};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use crate::cluster::{Cluster, LEASE, client, eventually, submit};
use crate::programs::{Giving, serve};

#[tokio::test]
async fn supervisor_that_is_back_at_an_ipv6_address_is_followed_there() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut supervisor = cluster.supervisor("a", 1, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let first = cluster.assigned(&id).await?;
    assert_eq!(
        (first.workers[0].host.as_str(), first.workers[0].supervisor_address.as_str()),
        ("127.0.0.1", "127.0.0.1:6700")
    );
    let (address, _server) = serve("[::1]:0", Giving::nothing()).await?;
    supervisor.registers(|one| (one.host, one.port) = ("::1".into(), address.port())).await?;
    let second = eventually("it is followed", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| assignment.generation > 1))
    })
    .await?;
    let worker = &second.workers[0];
    assert_eq!((worker.host.clone(), worker.supervisor_address.clone()), ("::1".to_owned(), address.to_string()));
    assert_eq!((&worker.id, &worker.executors), (&first.workers[0].id, &first.workers[0].executors));
    let told = client.supervisors(SupervisorsRequest {}).await?.into_inner().supervisors;
    assert_eq!(told[0].address, format!("[::1]:{}", address.port()));
    let request = LogsRequest { name: "words".into(), follow: false, last_lines: 3 };
    let mut lines = client.logs(request).await?.into_inner();
    let line = lines.next().await.context("its log is read there")??;
    assert_eq!(line.content, b"last 3 of 6701\n"[..]);
    Ok(())
}

#[tokio::test]
async fn nimbus_that_is_back_under_its_name_at_another_address_leads_when_its_old_lease_has_ended() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, _) = cluster.start().await?;
    let old = nimbus.address().to_owned();
    drop(nimbus);
    let began = Instant::now();
    let again = cluster.nimbus("n1", &cluster.store).await?;
    assert_ne!(again.address(), old);
    let leader = async || -> Result<Option<Leader>> {
        Ok(get_json(&cluster.store, &cluster.keys.leader()).await?.map(|(leader, _)| leader))
    };
    // As long as its former self may believe that it leads, nobody else does.
    while let Some(former) = leader().await?.filter(|leader| leader.address == old) {
        assert!(!again.is_leading(), "{former:?} still stands there");
        tokio::task::yield_now().await;
    }
    eventually("it leads", async || Ok(again.is_leading().then_some(()))).await?;
    let took = began.elapsed();
    assert!(took < LEASE * 2 + std::time::Duration::from_secs(2), "{took:?}");
    assert_eq!(leader().await?.context("it leads")?.address, again.address());
    client(&again).await?.list(ListRequest::default()).await?;
    // The end of its former membership has not taken the new one with it.
    tokio::time::sleep(LEASE * 2).await;
    let member = cluster.store.get(&cluster.keys.member("n1")).await?.context("it is a member")?;
    assert!(String::from_utf8_lossy(&member.value).contains(again.address()));
    assert!(again.is_leading());
    Ok(())
}
