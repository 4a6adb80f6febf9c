//! Connections: so many at most, each for one request and a bounded time. When there are too many, the
//! oldest goes: so whoever is slow cannot keep out those who are not.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// So many connections at once.
pub(super) const MOST: usize = 64;
/// How long a request may take to arrive.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How long a connection may take as a whole.
const WHOLE_WAIT: Duration = Duration::from_secs(30);
/// The most bytes of a request's head; it has no body that anybody reads.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long is waited when no connection can be accepted.
const RETRY: Duration = Duration::from_millis(100);

/// Serves until it is aborted, and with it all connections.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => oldest.retain(|connection| !connection.is_finished()),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if oldest.len() >= MOST && let Some(first) = oldest.pop_front() {
                        first.abort();
                    }
                    oldest.push_back(connections.spawn(answer(stream, router.clone())));
                }
                Err(error) => {
                    tracing::debug!("a connection cannot be accepted: {error}");
                    tokio::time::sleep(RETRY).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(REQUEST_WAIT).max_buf_size(LONGEST_HEAD).keep_alive(false);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(WHOLE_WAIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a request was not answered: {error}"),
        Err(_) => tracing::debug!("a request was cut off: it took more than {} s", WHOLE_WAIT.as_secs()),
    }
}
