//! What cannot be reached, and what makes no sense.

use std::time::Duration;

use anyhow::Result;
use galerna_protocol::{KillRequest, ListRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use crate::cluster::{Cluster, client, eventually, submit};

#[tokio::test]
async fn unreachable_store_is_told_within_bounds_and_all_is_well_when_it_returns() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let _supervisor = cluster.supervisor("a", 2, &nimbus).await?;
    let id = submit(&mut client, "words", 1).await?.topology_id;
    let before = cluster.assigned(&id).await?;
    cluster.store.set_running(false);
    let kill = KillRequest { name: "words".into(), wait_secs: None, ..KillRequest::default() };
    eventually("all calls fail", async || {
        let refusal = client.clone().list(ListRequest::default()).await.err();
        let Some(refusal) = refusal else { return Ok(None) };
        assert_eq!(refusal.code(), Code::Unavailable, "{refusal:?}");
        assert!(refusal.message().starts_with("the store cannot be reached: "), "{}", refusal.message());
        Ok(Some(()))
    })
    .await?;
    let refusal = tokio::time::timeout(Duration::from_secs(10), client.kill(kill)).await?.expect_err("no store");
    assert_eq!(refusal.code(), Code::Unavailable);
    cluster.store.set_running(true);
    eventually("it answers again", async || Ok(client.clone().list(ListRequest::default()).await.ok())).await?;
    assert_eq!(cluster.assignment(&id).await?, Some(before));
    Ok(())
}

#[tokio::test]
async fn nimbus_comes_up_without_a_store_and_serves_when_it_is_there() -> Result<()> {
    let cluster = Cluster::new()?;
    let store = cluster.store.another_client();
    store.set_reachable(false);
    let nimbus = cluster.nimbus("n1", &store).await?;
    let client = client(&nimbus).await?;
    let channel = galerna_protocol::connect(nimbus.address()).await?;
    let health = tonic_health::pb::health_client::HealthClient::new(channel);
    let check = async || {
        let request = tonic_health::pb::HealthCheckRequest { service: "galerna.v1.Nimbus".into() };
        Ok(health.clone().check(request).await?.into_inner().status())
    };
    let refusal = client.clone().list(ListRequest::default()).await.expect_err("no store");
    assert!(refusal.message().starts_with("the store cannot be reached: "), "{}", refusal.message());
    let status: Result<_> = check().await;
    assert_ne!(status?, tonic_health::pb::health_check_response::ServingStatus::Serving);
    store.set_reachable(true);
    eventually("it answers", async || Ok(client.clone().list(ListRequest::default()).await.ok())).await?;
    eventually("it serves", async || {
        let status: Result<_> = check().await;
        Ok((status? == tonic_health::pb::health_check_response::ServingStatus::Serving).then_some(()))
    })
    .await
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let mut random = fastrand::Rng::with_seed(11);
    for start in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        for _ in 0..20 {
            let mut bytes = start.to_vec();
            bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(2000));
            let mut stream = TcpStream::connect(nimbus.address()).await?;
            // It may be closed on us in the middle.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.read_to_end(&mut bytes)).await;
        }
    }
    client.list(ListRequest::default()).await?;
    Ok(())
}
