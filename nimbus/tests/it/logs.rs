//! Logs, which are asked of supervisors.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use galerna_protocol::LogsRequest;

use crate::cluster::{Cluster, eventually, submit, workers};
use crate::programs::{Giving, serve};

#[tokio::test]
async fn logs_of_all_workers_are_merged_and_what_cannot_be_read_is_told() -> Result<()> {
    let cluster = Cluster::new()?;
    let (nimbus, mut client) = cluster.start().await?;
    let (address, _server) = serve("127.0.0.1:0", Giving::nothing()).await?;
    let _reachable = cluster.supervisor_at("a", address.port(), 1, &nimbus).await?;
    // Nobody listens on port 1.
    let _unreachable = cluster.supervisor_at("b", 1, 1, &nimbus).await?;
    let id = submit(&mut client, "words", 2).await?.topology_id;
    eventually("both have a worker", async || {
        Ok(cluster.assignment(&id).await?.filter(|assignment| workers(assignment).len() == 2))
    })
    .await?;
    let request = LogsRequest { name: "words".into(), follow: false, last_lines: 7 };
    let mut chunks = client.logs(request).await?.into_inner();
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        lines.push((chunk.worker.context("it says whose")?.supervisor, String::from_utf8(chunk.content)?));
    }
    lines.sort();
    assert_eq!(lines[0], ("a".to_owned(), "last 7 of 6701\n".to_owned()));
    assert!(lines[1].1.starts_with("(the log of b:6701 cannot be read: cannot connect"), "{lines:?}");
    Ok(())
}
