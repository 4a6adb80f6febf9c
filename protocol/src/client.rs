//! How a client connects.

use std::fmt;
use std::time::Duration;

use tonic::Status;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{self, Endpoint};

use crate::version::WithVersion;

/// A connection that says the protocol number with each call. Give it to a generated client's `new`.
pub type Channel = InterceptedService<transport::Channel, WithVersion>;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection on which nothing came for this long is asked for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How an address is written: `host:port`, an IPv6 address in brackets.
///
/// ```
/// use galerna_protocol::host_port;
///
/// assert_eq!(host_port("node-1", 6700), "node-1:6700");
/// assert_eq!(host_port("::1", 6700), "[::1]:6700");
/// assert_eq!(host_port("[::1]", 6700), "[::1]:6700");
/// ```
pub fn host_port(host: &str, port: impl fmt::Display) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// An endpoint at `host:port`, with time-outs and large windows.
///
/// # Errors
/// When that is no address.
pub fn endpoint(address: &str) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| Status::invalid_argument(format!("`{address}` is no address, expected HOST:PORT")))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 * 1024 * 1024)
        .initial_connection_window_size(16 * 1024 * 1024))
}

/// Connects to `host:port`.
///
/// # Errors
/// When that is no address (`InvalidArgument`), or nobody answers there (`Unavailable`).
///
/// # Cancel safety
/// It may be dropped.
pub async fn connect(address: &str) -> Result<Channel, Status> {
    let channel = endpoint(address)?.connect().await.map_err(|error| {
        let mut reason: &dyn std::error::Error = &error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        Status::unavailable(format!("cannot connect to {address}: {reason}"))
    })?;
    Ok(InterceptedService::new(channel, WithVersion::new()))
}
