//! Metrics and health over HTTP, for Prometheus, for whatever watches daemons, and for people.
//!
//! It is up before its daemon and goes after it, so that somebody can always be told why it is not ready.

mod answer;
mod connections;
mod text;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Observed;

/// The server. Dropping it ends it at once.
#[derive(Debug)]
pub struct Http {
    front: Arc<Front>,
    address: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

/// What answers are made from.
struct Front {
    /// The daemon, once it has started.
    observed: OnceLock<Arc<dyn Observed>>,
    is_stopping: AtomicBool,
    /// One is made at a time: many who ask cost no more than one who asks often.
    rendering: Semaphore,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").field("is_stopping", &self.is_stopping).finish_non_exhaustive()
    }
}

impl Http {
    /// Serves there, or nowhere.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub fn start(listener: Option<TcpListener>) -> io::Result<Self> {
        let front = Arc::new(Front {
            observed: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
            rendering: Semaphore::new(1),
        });
        let mut http = Self { address: None, front, tasks: JoinSet::new() };
        if let Some(listener) = listener {
            let address = listener.local_addr()?;
            tracing::info!("metrics and health are served on http://{address}");
            http.address = Some(address);
            http.tasks.spawn(connections::serve(listener, answer::router(Arc::clone(&http.front))));
        }
        Ok(http)
    }

    /// Where it serves, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The daemon has started: from now on it is what is told of. Only the first counts.
    pub fn observe(&self, daemon: Arc<dyn Observed>) {
        // A second one is a mistake of the caller that does no harm.
        let _ = self.front.observed.set(daemon);
    }

    /// The daemon is about to stop: it is not ready any more.
    pub fn say_stopping(&self) {
        self.front.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Ends it.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::Check;

    /// A daemon that is ready and lives, as it is told.
    struct Daemon {
        is_ready: AtomicBool,
        lives: bool,
    }

    impl Observed for Daemon {
        fn metrics(&self) -> String {
            "# HELP a_seconds Some.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 2.5\n# EOF\n"
                .to_owned()
        }

        fn liveness(&self) -> Vec<Check> {
            vec![Check::needed("loop", if self.lives { Ok("comes round") } else { Err("is stuck") })]
        }

        fn readiness(&self) -> Vec<Check> {
            let is_ready = self.is_ready.load(Ordering::Relaxed);
            let store = Check::needed("store", if is_ready { Ok("reached") } else { Err("cannot be reached: no") });
            vec![store, Check::told("artifacts", Err::<&str, _>("one is missing"))]
        }
    }

    async fn open() -> Http {
        Http::start(Some(TcpListener::bind("127.0.0.1:0").await.expect("it listens"))).expect("it serves")
    }

    /// The status, and all that follows the first line.
    async fn ask(http: &Http, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(http.address().expect("it serves")).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let (first, rest) = answer.split_once("\r\n").expect("a first line");
        (first.split(' ').nth(1).expect("a status").parse().expect("a number"), rest.to_owned())
    }

    async fn get(http: &Http, path: &str) -> (u16, String) {
        let (status, rest) = ask(http, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        (status, rest.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }

    #[tokio::test]
    async fn probes_are_told_why_from_before_the_start_until_after_the_end() {
        let http = open().await;
        for path in ["/livez", "/readyz"] {
            assert_eq!(get(&http, path).await, (503, "[-] start: is still starting\n".to_owned()));
        }
        assert_eq!(get(&http, "/metrics").await.0, 503);
        let daemon = Arc::new(Daemon { is_ready: AtomicBool::new(false), lives: true });
        http.observe(Arc::clone(&daemon) as Arc<dyn Observed>);
        assert_eq!(get(&http, "/livez").await, (200, "[+] loop: comes round\n".to_owned()));
        let store = "[-] store: cannot be reached: no\n[!] artifacts: one is missing\n";
        assert_eq!(get(&http, "/readyz").await, (503, store.to_owned()));
        daemon.is_ready.store(true, Ordering::Relaxed);
        assert_eq!(get(&http, "/readyz").await.0, 200);
        http.say_stopping();
        assert_eq!(get(&http, "/livez").await.0, 200);
        let (status, told) = get(&http, "/readyz").await;
        assert!(status == 503 && told.starts_with("[-] stop: is stopping\n[+] store: reached\n"), "{told}");
        http.stop().await;
        let http = open().await;
        http.observe(Arc::new(Daemon { is_ready: AtomicBool::new(true), lives: false }));
        assert_eq!(get(&http, "/livez").await, (503, "[-] loop: is stuck\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_come_as_prometheus_text_unless_openmetrics_is_asked_for() {
        let http = open().await;
        http.observe(Arc::new(Daemon { is_ready: AtomicBool::new(true), lives: true }));
        let classic = "# HELP a_seconds_total Some.\n# TYPE a_seconds_total counter\na_seconds_total 2.5\n";
        assert_eq!(get(&http, "/metrics").await, (200, classic.to_owned()));
        let accept = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
        let (status, answer) = ask(&http, accept).await;
        assert_eq!(status, 200);
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
        assert!(answer.ends_with("a_seconds_total 2.5\n# EOF\n"), "{answer}");
        let (status, head) = ask(&http, "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(status == 200 && head.contains(&format!("content-length: {}\r\n", classic.len())), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        let (status, list) = get(&http, "/").await;
        assert!(status == 200 && ["/metrics", "/livez", "/readyz"].iter().all(|path| list.contains(path)), "{list}");
        assert_eq!(get(&http, "/nothing").await.0, 404);
        assert_eq!(ask(&http, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.0, 405);
    }

    #[tokio::test]
    async fn slow_and_many_clients_hold_up_nobody_and_long_requests_are_refused() {
        let http = open().await;
        http.observe(Arc::new(Daemon { is_ready: AtomicBool::new(true), lives: true }));
        let mut slow = Vec::new();
        for _ in 0..3 * connections::MOST {
            let mut stream = TcpStream::connect(http.address().expect("it serves")).await.expect("connected");
            stream.write_all(b"GET /metr").await.expect("sent");
            slow.push(stream);
        }
        let answer = tokio::time::timeout(Duration::from_secs(5), get(&http, "/livez")).await.expect("at once");
        assert_eq!(answer.0, 200);
        let mut oldest = slow.swap_remove(0);
        let end = tokio::time::timeout(Duration::from_secs(5), oldest.read(&mut [0; 16])).await.expect("it was ended");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        let long = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(64 * 1024));
        let mut stream = TcpStream::connect(http.address().expect("it serves")).await.expect("connected");
        // It may be cut off before all is sent.
        let _ = stream.write_all(long.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    }
}
