//! How a server is set up: keep-alives, large windows, health.

use std::time::Duration;

use tonic::transport;

/// The longest message that is taken, in bytes. Artifacts come in chunks, links limit themselves.
pub const LONGEST_MESSAGE: usize = 16 * 1024 * 1024;

/// Makes servers that all have the same settings.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// A server to add services to.
    pub fn builder() -> transport::Server {
        transport::Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(Duration::from_secs(5)))
            .http2_keepalive_timeout(Some(Duration::from_secs(5)))
            .initial_stream_window_size(8 * 1024 * 1024)
            .initial_connection_window_size(16 * 1024 * 1024)
            .max_concurrent_streams(1024)
    }
}
