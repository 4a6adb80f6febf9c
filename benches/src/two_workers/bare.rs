//! The two ends of a bare connection: packets of ready-made frames go one way, confirmations the
//! other, as between workers; but nothing is encoded, kept, decoded or delivered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, stream};
use galerna_protocol::link_client::LinkClient;
use galerna_protocol::link_server::{self, LinkServer};
use galerna_protocol::{LinkAnswer, LinkPacket, Server, endpoint};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::child::answer_questions;
use crate::shapes::Shared;

/// Of a full batch: 1,024 tuples of 17 bytes.
const FRAME: usize = 1024 * 17;
/// As the worker has them.
const FULL_PACKET: usize = 256 * 1024;
const PACKETS_AHEAD: usize = 4;
const PACKETS_A_TURN: usize = 16;

/// Links live on the one thread that a worker has for them.
fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Sends until told to end.
pub(super) fn send(address: &str, shared: &Arc<Shared>) -> Result<()> {
    let (address, shared) = (address.to_owned(), shared.clone());
    runtime()?.block_on(async move {
        let mut sending = JoinSet::new();
        sending.spawn(async move { send_packets(&address, &shared).await });
        sending.join_next().await.context("nothing was spawned")??
    })
}

async fn send_packets(address: &str, shared: &Shared) -> Result<()> {
    let mut client = LinkClient::new(endpoint(address)?.connect().await?);
    let (packets, receiver) = mpsc::channel(PACKETS_AHEAD);
    let mut answers = client.open(ReceiverStream::new(receiver)).await?.into_inner();
    let frame = Bytes::from(vec![0xa5; FRAME]);
    let frames = vec![frame; FULL_PACKET / FRAME];
    let mut first = 1;
    while !shared.has_ended.load(Ordering::Relaxed) {
        tokio::select! {
            biased;
            answer = answers.message() => {
                answer?.context("the receiver has closed the connection")?;
            }
            permit = packets.reserve() => {
                permit?.send(LinkPacket { hello: None, first, frames: frames.clone(), is_piece: false });
                first += frames.len() as u64;
                shared.emitted.fetch_add((frames.len() * FRAME) as u64, Ordering::Relaxed);
            }
        }
    }
    drop(packets);
    while answers.message().await?.is_some() {}
    Ok(())
}

/// Receives one connection to its end.
pub(super) fn receive(address: &str, shared: &Arc<Shared>) -> Result<()> {
    let (address, shared) = (address.to_owned(), shared.clone());
    runtime()?.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        answer_questions(shared.clone())?;
        let ended = Arc::new(Notify::new());
        let receiver = LinkServer::new(Receiver { shared, ended: ended.clone() });
        let serving = Server::builder()
            .add_service(receiver)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), ended.clone().notified_owned());
        let mut served = JoinSet::new();
        served.spawn(serving);
        match served.join_next().await.context("nothing was spawned")?? {
            Ok(()) => Ok(()),
            Err(error) => bail!("the connection broke: {error}"),
        }
    })
}

struct Receiver {
    shared: Arc<Shared>,
    ended: Arc<Notify>,
}

type Answers = Pin<Box<dyn Stream<Item = Result<LinkAnswer, Status>> + Send>>;

#[tonic::async_trait]
impl link_server::Link for Receiver {
    type OpenStream = Answers;

    async fn open(&self, request: Request<Streaming<LinkPacket>>) -> Result<Response<Answers>, Status> {
        let reading = Reading { packets: request.into_inner(), shared: self.shared.clone(), ended: self.ended.clone() };
        let answers = stream::unfold(reading, |mut reading| async move {
            let answer = reading.next_answer().await;
            if answer.is_none() {
                reading.ended.notify_one();
            }
            Some((answer?, reading))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

struct Reading {
    packets: Streaming<LinkPacket>,
    shared: Arc<Shared>,
    ended: Arc<Notify>,
}

impl Reading {
    /// Counts what stands ready, or comes next, and confirms it.
    async fn next_answer(&mut self) -> Option<Result<LinkAnswer, Status>> {
        let packet = match self.packets.message().await {
            Ok(packet) => packet?,
            Err(status) => return Some(Err(status)),
        };
        let mut confirmed = self.take(&packet);
        for _ in 1..PACKETS_A_TURN {
            match self.packets.message().now_or_never() {
                Some(Ok(Some(packet))) => confirmed = self.take(&packet),
                _ => break,
            }
        }
        Some(Ok(LinkAnswer { welcome: None, confirmed }))
    }

    fn take(&self, packet: &LinkPacket) -> u64 {
        let bytes: usize = packet.frames.iter().map(Bytes::len).sum();
        self.shared.sunk.fetch_add(bytes as u64, Ordering::Relaxed);
        packet.first + packet.frames.len() as u64 - 1
    }
}
