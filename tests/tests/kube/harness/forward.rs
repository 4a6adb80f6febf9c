//! A way from this machine to a pod.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::namespace::Namespace;

/// A `kubectl port-forward` that is started again whenever it ends, as it does with its pod.
#[derive(Debug)]
pub(crate) struct Forward {
    /// Where to go on this machine: `127.0.0.1:PORT`.
    pub(crate) address: String,
    renewed: Arc<Notify>,
    _keeper: JoinSet<()>,
}

/// How long a pod that is not there is left alone.
const PAUSE: Duration = Duration::from_millis(200);

impl Forward {
    /// Keeps one to `target`, such as `service/galerna-nimbus`.
    pub(crate) fn keep(namespace: &Namespace, target: &str, port: u16) -> Result<Self> {
        // Free a moment ago, and nobody else is given it soon.
        let local = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let renewed = Arc::new(Notify::new());
        let (shell, name, target) = (namespace.shell.clone(), namespace.name.clone(), target.to_owned());
        let ports = format!("{}:{port}", local.port());
        let mut keeper = JoinSet::new();
        let again = Arc::clone(&renewed);
        keeper.spawn(async move {
            loop {
                let words = ["kubectl", "-n", &name, "port-forward", &target, &ports];
                let mut command = shell.command(&words);
                command.stdout(Stdio::null()).stderr(Stdio::null());
                if let Ok(mut child) = command.spawn() {
                    tokio::select! {
                        biased;
                        () = again.notified() => {}
                        _ = child.wait() => {}
                    }
                    let _ = child.kill().await;
                }
                sleep(PAUSE).await;
            }
        });
        Ok(Self { address: local.to_string(), renewed, _keeper: keeper })
    }

    /// Begins anew: the way leads to a pod that is gone, and nobody has noticed.
    pub(super) fn renew(&self) {
        self.renewed.notify_one();
    }
}
