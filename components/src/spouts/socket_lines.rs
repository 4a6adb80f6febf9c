//! `socket-lines`: the lines that TCP connections bring.

mod network;
#[cfg(test)]
mod tests;

use galerna_topology_api::human::ByteSize;
use galerna_topology_api::{
    DeadLetters, Error, Failure, Next, OnGiveUp, Result, Retries, RetryPolicy, Spout, SpoutEmitter, Streams,
    TopologyContext,
};
use serde::Deserialize;
use smol_str::SmolStr;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::retries::retry_policy;
use crate::catalogue::StockType;
use crate::lines::{Encoding, LineFeed, LineSettings, OnBadLine, Refusals, default_max_line, default_output};
use network::Network;

pub(crate) const STOCK: StockType = StockType {
    name: "socket-lines",
    aliases: &[],
    summary: "The lines that TCP connections bring; connects or listens. Reliable while the process lives.",
    example: include_str!("socket_lines.yaml"),
};

/// Emits the lines that come over TCP, without their ends.
///
#[doc = concat!("```yaml\n", include_str!("socket_lines.yaml"), "```")]
///
/// Exactly one of `port`, `listen` and `connect` is given; the first task alone uses it. `port` is
/// for trying things out on one machine, and whoever is first listens: the spout connects to
/// `127.0.0.1:port` if somebody listens there when it opens (`nc -lk 9999`, started before), and
/// listens there itself if nobody does (then `nc localhost 9999` sends).
///
/// When listening, up to 1,024 connections are read at the same time; the gauge `port` tells which
/// port was taken, should it be given as 0. When connecting, a connection that is refused, lost or
/// closed by the other side is made again, after 100 ms at first and 10 s at most.
///
/// The sender gets no acknowledgement: lines are kept in memory until they are acked, and those of
/// a worker that dies are lost. A line that is not UTF-8 or is longer than `max_line` is left out and
/// counted as `lines_refused`, and the first of each connection is listed: one sender's mistake does
/// not end the run, unless `on_bad_line` is `fail`. With `lossy` bytes that are not UTF-8 are replaced
/// by U+FFFD, and such lines counted as `lines_replaced`.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct SocketLines {
    endpoint: Endpoint,
    properties: Properties,
    policy: RetryPolicy,
    running: Option<Running>,
}

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "SocketLines", deny_unknown_fields)]
struct Properties {
    port: Option<u16>,
    listen: Option<String>,
    connect: Option<String>,
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default)]
    until: Until,
    #[serde(default = "default_max_line")]
    max_line: ByteSize,
    #[serde(default)]
    encoding: Encoding,
    on_bad_line: Option<OnBadLine>,
    #[serde(default)]
    retries: Retries,
    on_give_up: Option<OnGiveUp>,
    dead_letter: Option<DeadLetters>,
}

/// When the input ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Until {
    /// Never by itself.
    #[default]
    Stopped,
    /// When there was a connection and none is left.
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Listen(String),
    Connect(String),
    /// Connects if somebody listens there, and listens if nobody does.
    Either(String),
}

struct Running {
    feed: LineFeed,
    _tasks: JoinSet<()>,
}

retry_policy!(Properties);

impl TryFrom<Properties> for SocketLines {
    type Error = String;

    fn try_from(mut properties: Properties) -> Result<Self, String> {
        let endpoint = match (properties.port, properties.listen.take(), properties.connect.take()) {
            // Port 0 stands for any free one: nobody can be found there.
            (Some(0), None, None) => Endpoint::Listen("127.0.0.1:0".to_owned()),
            (Some(port), None, None) => Endpoint::Either(format!("127.0.0.1:{port}")),
            (None, Some(address), None) => Endpoint::Listen(address),
            (None, None, Some(address)) => Endpoint::Connect(address),
            _ => return Err("socket-lines takes exactly one of `port`, `listen` and `connect`".to_owned()),
        };
        let policy = properties.policy().map_err(|error| error.to_string())?;
        Ok(Self { endpoint, properties, policy, running: None })
    }
}

impl Spout for SocketLines {
    type MessageId = u64;

    fn output(&self) -> Streams {
        self.policy.output(Streams::default_fields([self.properties.output.clone()]))
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        let Properties { until, max_line, encoding, on_bad_line, .. } = &self.properties;
        let settings = LineSettings::new(*encoding, *on_bad_line, *max_line, Refusals::AreListed);
        let (chunks, feed) = LineFeed::open(self.policy.clone(), settings.refusals, context)?;
        let mut tasks = JoinSet::new();
        if context.task_index() == 0 {
            let until_closed = *until == Until::Closed;
            let network = Network { settings, until_closed, chunks, context: context.clone() };
            match &self.endpoint {
                Endpoint::Connect(address) => {
                    tasks.spawn(network.connect(address.clone(), None));
                }
                Endpoint::Listen(address) => {
                    tasks.spawn(network.listen(listen_on(address, context).await?));
                }
                Endpoint::Either(address) => match connect_to_other(address).await {
                    // Used at once: a plain `nc -l` takes one connection only.
                    Some(stream) => {
                        tracing::info!("connected to {address}, where somebody listens already");
                        tasks.spawn(network.connect(address.clone(), Some(stream)));
                    }
                    None => {
                        tasks.spawn(network.listen(listen_on(address, context).await?));
                    }
                },
            }
        }
        self.running = Some(Running { feed, _tasks: tasks });
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        self.running.as_mut().ok_or("the spout is not open")?.feed.next(out)
    }

    async fn ready(&mut self, context: &TopologyContext) {
        if let Some(running) = &mut self.running {
            running.feed.ready(context).await;
        }
    }

    async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
        self.running.iter_mut().for_each(|running| running.feed.ack(id, context));
        Ok(())
    }

    async fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.running.iter_mut().for_each(|running| running.feed.fail(id, failure, context));
        Ok(())
    }

    async fn close(&mut self, _: &TopologyContext) -> Result<()> {
        // Closes the connections, too.
        self.running = None;
        Ok(())
    }
}

async fn listen_on(address: &str, context: &TopologyContext) -> Result<TcpListener> {
    let error = |error| Error::fatal(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let local = listener.local_addr().map_err(error)?;
    tracing::info!("listening on {local}");
    context.gauge("port").set(local.port().into());
    Ok(listener)
}

/// A connection to whoever listens there, if anybody does.
async fn connect_to_other(address: &str) -> Option<TcpStream> {
    let stream = TcpStream::connect(address).await.ok()?;
    // TCP lets a socket meet itself if the system happens to give it the port it asks for.
    let is_itself = stream.local_addr().ok() == stream.peer_addr().ok();
    (!is_itself).then_some(stream)
}
