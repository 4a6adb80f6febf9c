//! Logs, artifacts, and callers that mean no good.

use galerna_protocol::{DownloadArtifactRequest, LocateRequest, LogChunk, ReadLogRequest, WorkerState};
use tokio::io::AsyncWriteExt;
use tonic::{Code, Streaming};

use crate::support::{Cluster, PATIENCE, STAYS, client};

fn request(follow: bool, last_lines: u32) -> ReadLogRequest {
    ReadLogRequest { topology_id: "t-1".to_owned(), slot: 7, follow, last_lines }
}

async fn next(log: &mut Streaming<LogChunk>) -> Option<String> {
    let chunk = tokio::time::timeout(PATIENCE, log.message()).await.expect("in time").expect("no error");
    chunk.map(|chunk| String::from_utf8(chunk.content).expect("text"))
}

#[tokio::test]
async fn a_log_is_followed_over_its_rotation_until_the_topology_is_gone() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    cluster.assign(STAYS).await;
    cluster.incarnation(0, WorkerState::Starting).await;
    let mut client = client(&supervisor).await;
    let mut log = client.read_log(request(true, 10)).await.expect("it is there").into_inner();
    assert_eq!(next(&mut log).await.as_deref(), Some("up\n"));
    let path = cluster.data("s").join("logs/t-1/7.log");
    std::fs::rename(&path, path.with_extension("log.1")).expect("rotated");
    std::fs::write(&path, "after\n").expect("written");
    assert_eq!(next(&mut log).await.as_deref(), Some("after\n"));
    let mut lines = client.read_log(request(false, 2)).await.expect("it is there").into_inner();
    assert_eq!(next(&mut lines).await.as_deref(), Some("up\n"));
    assert_eq!(next(&mut lines).await.as_deref(), Some("after\n"));
    assert_eq!(next(&mut lines).await, None);
    for key in [cluster.keys.assignment("t-1"), cluster.keys.desired("t-1"), cluster.keys.spec("t-1")] {
        cluster.delete(key).await;
    }
    assert_eq!(next(&mut log).await, None);
    supervisor.stop().await;
}

#[tokio::test]
async fn garbage_and_paths_that_lead_elsewhere_are_refused_and_it_goes_on_serving() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff"]
    {
        let mut stream = tokio::net::TcpStream::connect(supervisor.address()).await.expect("connected");
        // It may be cut off before all is written.
        let _ = stream.write_all(garbage).await;
    }
    let mut client = client(&supervisor).await;
    for topology in ["../../secret", "", "/etc"] {
        let outside = ReadLogRequest { topology_id: topology.to_owned(), ..request(false, 1) };
        assert_eq!(client.read_log(outside).await.expect_err("outside").code(), Code::InvalidArgument);
    }
    assert_eq!(client.read_log(request(true, 1)).await.expect_err("no topology").code(), Code::NotFound);
    let outside = DownloadArtifactRequest { sha256: "../lock".to_owned(), offset: 0 };
    assert_eq!(client.download_artifact(outside).await.expect_err("outside").code(), Code::InvalidArgument);
    let nobody = LocateRequest { topology_id: "t-1".to_owned(), slot: 7 };
    assert_eq!(client.locate(nobody).await.expect_err("nobody").code(), Code::NotFound);
    let nothing = tokio_stream::empty();
    assert_eq!(client.attach(nothing).await.expect_err("no hello").code(), Code::InvalidArgument);
    supervisor.stop().await;
}

#[tokio::test]
async fn an_artifact_is_served_from_any_offset() {
    let cluster = Cluster::start().await;
    let supervisor = cluster.supervisor("s").await;
    let artifact = cluster.assign(STAYS).await;
    cluster.incarnation(0, WorkerState::Starting).await;
    let mut client = client(&supervisor).await;
    let from = |offset| DownloadArtifactRequest { sha256: artifact.sha256.clone(), offset };
    let mut chunks = client.download_artifact(from(10)).await.expect("it is there").into_inner();
    let chunk = chunks.message().await.expect("no error").expect("content");
    assert_eq!((chunk.offset, &chunk.content[..]), (10, &STAYS.as_bytes()[10..]));
    assert_eq!(client.download_artifact(from(1 << 40)).await.expect_err("too far").code(), Code::OutOfRange);
    supervisor.stop().await;
}
