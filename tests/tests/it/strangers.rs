//! Bytes from whoever finds a port.

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Fault, Sequence, Setup, bound, secs};

/// What strangers send: the first word of other protocols, broken frames of ours, noise.
fn garbage() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let with = |frame: &[u8]| [preface.as_slice(), frame].concat();
    let mut noise: Vec<u8> = (0..64 * 1024u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    noise[0] = 0xff;
    vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        noise.clone(),
        preface.clone(),
        // Settings of the greatest length; headers for a stream that is not; data for none at all.
        with(b"\xff\xff\xff\x04\x00\x00\x00\x00\x00"),
        with(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff"),
        with(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00abc"),
        with(&noise),
    ]
}

#[tokio::test]
async fn garbage_sent_to_every_open_port_harms_nobody() -> Result<()> {
    let cluster = Setup::supervisors(1).start().await?;
    let mut sequence = Sequence::workers(2).submit(&cluster).await?;
    sequence.flows().await?;
    let before = sequence.is_whole(bound(secs(1))).await?;
    let daemons = [format!("{}:6627", cluster.host), format!("{}:7000", cluster.host)];
    let workers = before.workers().iter().map(|worker| worker.address.clone());

    let fault = Fault::begins();
    for address in daemons.into_iter().chain(workers) {
        // Some say nothing and stay: that must not keep anybody else from being heard.
        let mut silent = Vec::new();
        for bytes in garbage() {
            let mut stranger = TcpStream::connect(&address).await?;
            // It may be shown the door before it is done.
            let _ = stranger.write_all(&bytes).await;
            let _ = timeout(secs(1) / 10, stranger.read(&mut [0; 1024])).await;
            silent.push(stranger);
        }
    }
    sequence.flows_again(fault, secs(1)).await?;
    let after = sequence.is_whole(bound(secs(1))).await?;
    ensure!(after.launches() == before.launches(), "{:?} became {:?}", before.launches(), after.launches());
    let verdict = sequence.ends_with_nothing_lost().await?;
    ensure!(verdict.replays + verdict.reread + verdict.duplicates == 0, "the topology noticed: {verdict}");
    cluster.ends_well().await
}
