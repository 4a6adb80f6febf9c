//! A road to etcd that can be cut: for one client alone, while etcd itself goes on.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Road {
    /// Everything passes.
    Open,
    /// Connections are broken, new ones too.
    Cut,
    /// Connections stay, and nothing passes.
    Silent,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    road: watch::Sender<Road>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(url: &str) -> Self {
        let target: SocketAddr = url.trim_start_matches("http://").parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (road, told) = watch::channel(Road::Open);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, target, told.clone()));
            }
        });
        Self { url, road, _task: task }
    }

    pub(crate) fn set(&self, road: Road) {
        self.road.send_replace(road);
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, mut road: watch::Receiver<Road>) {
    if *road.borrow() == Road::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    loop {
        let now = *road.borrow_and_update();
        tokio::select! {
            biased;
            _ = road.changed() => {
                // A connection that was silent has lost what should have passed.
                if now == Road::Silent || *road.borrow() == Road::Cut {
                    return;
                }
            }
            _ = copy_bidirectional(&mut client, &mut server), if now == Road::Open => return,
        }
    }
}
