//! Connections, read in the background into the spout's queue.

use std::io;

use galerna_topology_api::TopologyContext;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::lines::{Chunk, LineSettings, pump};
use crate::spouts::back_off::BackOff;

/// What reads connections. The input ends when it is done.
pub(super) struct Network {
    pub(super) settings: LineSettings,
    pub(super) until_closed: bool,
    pub(super) chunks: mpsc::Sender<Chunk>,
    pub(super) context: TopologyContext,
}

/// Connections read at the same time; further ones wait to be accepted.
const MOST_CONNECTIONS: usize = 1024;

impl Network {
    /// Reads one connection after the other, for as long as the spout is there. The first may have
    /// been made already.
    pub(super) async fn connect(self, address: String, mut made: Option<TcpStream>) {
        let mut back_off = BackOff::default();
        while !self.chunks.is_closed() {
            let connected = match made.take() {
                Some(stream) => Ok(stream),
                None => TcpStream::connect(address.as_str()).await,
            };
            match connected {
                Ok(stream) => {
                    back_off = BackOff::default();
                    let outcome = pump(stream, address.clone(), self.settings, &self.chunks).await;
                    self.report(&address, outcome);
                    if self.until_closed {
                        return;
                    }
                }
                Err(error) => self.context.report_error(format!("cannot connect to {address}: {error}")),
            }
            self.context.sleep(back_off.next_wait()).await;
        }
    }

    /// Reads all connections that come.
    pub(super) async fn listen(self, listener: TcpListener) {
        let mut connections: JoinSet<(String, io::Result<()>)> = JoinSet::new();
        let mut back_off = BackOff::default();
        loop {
            tokio::select! {
                biased;
                Some(ended) = connections.join_next() => {
                    if let Ok((peer, outcome)) = ended {
                        self.report(&peer, outcome);
                    }
                    if self.until_closed && connections.is_empty() {
                        return;
                    }
                }
                accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                    Ok((stream, peer)) => {
                        back_off = BackOff::default();
                        let (peer, settings, chunks) = (peer.to_string(), self.settings, self.chunks.clone());
                        connections.spawn(async move {
                            let outcome = pump(stream, peer.clone(), settings, &chunks).await;
                            (peer, outcome)
                        });
                    }
                    Err(error) => {
                        // Out of file descriptors, mostly: going on at once would only burn time.
                        self.context.report_error(format!("cannot accept a connection: {error}"));
                        self.context.sleep(back_off.next_wait()).await;
                    }
                },
            }
        }
    }

    fn report(&self, peer: &str, outcome: io::Result<()>) {
        match outcome {
            Ok(()) => tracing::debug!("{peer} has closed its connection"),
            Err(error) => self.context.report_error(format!("lost the connection to {peer}: {error}")),
        }
    }
}
