//! The process of etcd, and what tests do to it.

use std::fs::{self, File};
use std::io::{Error, Result};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Permission, PermissionType};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::certificates::Certificates;
use crate::store::{Store, StoreError};
use crate::{EtcdOptions, EtcdStore};

/// How long etcd may take to answer for the first time.
const LONGEST_START: Duration = Duration::from_secs(20);
/// How long it may take to stop.
const LONGEST_STOP: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// How often other ports are tried, when somebody else has taken them.
const MOST_STARTS: usize = 5;

/// How an etcd is to be.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct EtcdServerBuilder {
    user: Option<(String, String)>,
    has_tls: bool,
    arguments: Vec<String>,
}

impl EtcdServerBuilder {
    /// Wants to know who calls: this user may do everything.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Speaks TLS, and wants to see a client's certificate.
    pub fn tls(mut self) -> Self {
        self.has_tls = true;
        self
    }

    /// Gets another argument.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// If `etcd` (or, with TLS, `openssl`) is not installed, or does not start.
    pub async fn start(self) -> Result<EtcdServer> {
        let folder = tempfile::Builder::new().prefix("galerna-etcd-").tempdir()?;
        let certificates = self.has_tls.then(|| Certificates::make(folder.path())).transpose()?;
        let mut server = EtcdServer { builder: self, folder, certificates, ports: (0, 0), process: None };
        for attempt in 1.. {
            server.ports = (free_port()?, free_port()?);
            match server.restart().await {
                Err(error) if attempt == MOST_STARTS => return Err(error),
                Err(_) => server.kill(),
                Ok(()) => break,
            }
        }
        server.ask_for_user().await?;
        Ok(server)
    }
}

/// An etcd of one member.
#[derive(Debug)]
pub struct EtcdServer {
    builder: EtcdServerBuilder,
    folder: TempDir,
    certificates: Option<Certificates>,
    /// For clients, and for other members.
    ports: (u16, u16),
    process: Option<Child>,
}

impl EtcdServer {
    /// Whether `etcd` is installed.
    pub fn is_installed() -> bool {
        let version = Command::new("etcd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    }

    /// Whether it can have TLS: needs `openssl` for the certificates.
    pub fn can_have_tls() -> bool {
        Certificates::are_possible()
    }

    /// Says how it is to be.
    pub fn builder() -> EtcdServerBuilder {
        EtcdServerBuilder::default()
    }

    /// Starts a plain one.
    ///
    /// # Errors
    /// As [`EtcdServerBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// The URL for clients; the same after a restart.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports.0)
    }

    /// How it is reached.
    pub fn options(&self) -> EtcdOptions {
        let file = |name| self.certificates.as_ref().map(|certificates| certificates.file(name));
        let (user, password) = self.builder.user.clone().unzip();
        EtcdOptions {
            endpoints: vec![self.url()],
            ca: file("ca.pem"),
            cert: file("client.pem"),
            key: file("client.key"),
            user,
            password,
        }
    }

    /// A new client with a connection of its own.
    ///
    /// # Errors
    /// If its certificates cannot be read.
    pub fn store(&self) -> Result<EtcdStore> {
        EtcdStore::new(self.options()).map_err(Error::other)
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + LONGEST_STOP;
        while let Some(process) = &mut self.process {
            if process.try_wait()?.is_some() || Instant::now() > deadline {
                break;
            }
            sleep(LOOK).await;
        }
        self.kill();
        Ok(())
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Lets it stand still: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it cannot be signalled.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again with the same ports and data, and waits until it answers.
    ///
    /// # Errors
    /// If it does not.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.process = Some(self.command()?.spawn()?);
        let store = self.store()?;
        let deadline = Instant::now() + LONGEST_START;
        loop {
            // It is up as soon as it has an answer, even if that is that it wants to know who asks.
            if !matches!(store.get("/").await, Err(StoreError::Unavailable(_))) {
                return Ok(());
            }
            let ended = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(Error::other(format!("etcd does not answer ({ended:?}); it says last: {tail:#?}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Forgets all changes up to now.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn compact(&self) -> Result<()> {
        let mut client = self.client().await?;
        let revision = client.get("/", None).await.map_err(Error::other)?;
        let revision = revision.header().map_or(1, etcd_client::ResponseHeader::revision);
        client.compact(revision, None).await.map_err(Error::other)?;
        Ok(())
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("etcd.log")
    }

    fn command(&self) -> Result<Command> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.ports.1));
        let mut command = Command::new("etcd");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.arg("--data-dir").arg(self.folder.path().join(format!("data-{}", self.ports.0)));
        // Leases of 1 s become possible: etcd grants none that is shorter than an election.
        command.args(["--name", "test", "--heartbeat-interval", "20", "--election-timeout", "200"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("test={peer}")]);
        if let Some(certificates) = &self.certificates {
            command.arg("--client-cert-auth");
            for (option, file) in
                [("--trusted-ca-file", "ca.pem"), ("--cert-file", "server.pem"), ("--key-file", "server.key")]
            {
                command.arg(option).arg(certificates.file(file));
            }
        }
        command.args(&self.builder.arguments);
        Ok(command)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(process) = &self.process else { return Err(Error::other("etcd does not run")) };
        Ok(kill_process(Pid::from_child(process), signal)?)
    }

    /// A client that is not `EtcdStore`, for what only an administrator does.
    async fn client(&self) -> Result<Client> {
        let options = self.options().connect_options().map_err(Error::other)?;
        Client::connect([self.url()], Some(options)).await.map_err(Error::other)
    }

    /// Makes the users, and wants them from now on.
    async fn ask_for_user(&self) -> Result<()> {
        let Some((name, password)) = &self.builder.user else { return Ok(()) };
        let anonymous = EtcdOptions { user: None, password: None, ..self.options() };
        let options: ConnectOptions = anonymous.connect_options().map_err(Error::other)?;
        let mut client = Client::connect([self.url()], Some(options)).await.map_err(Error::other)?;
        let users = async {
            client.user_add("root", password.as_str(), None).await?;
            client.role_add("root").await?;
            client.user_grant_role("root", "root").await?;
            client.user_add(name.as_str(), password.as_str(), None).await?;
            client.role_add("all").await?;
            let all = Permission::new(PermissionType::Readwrite, "").with_all_keys();
            client.role_grant_permission("all", all).await?;
            client.user_grant_role(name.as_str(), "all").await?;
            client.auth_enable().await
        };
        users.await.map(drop).map_err(Error::other)
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
