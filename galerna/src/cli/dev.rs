//! `dev`: a cluster on one machine. Nimbus and supervisors run in this process over a store in memory;
//! workers are processes of their own, as everywhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use galerna_coordination::http::Http;
use galerna_coordination::{MemoryStore, Observed};
use galerna_protocol::{Signals, SupervisorsRequest};
use galerna_supervisor::Supervisor;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::args::Dev;
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Client, Nimbus};
use super::numbers::plural;

/// How long all parts may take to know each other.
const START_WAIT: Duration = Duration::from_secs(10);
/// How often is looked whether they do.
const LOOK: Duration = Duration::from_millis(50);
/// After how long without a sign of life a part counts as lost. They share a process, so only that a
/// supervisor hangs could make a difference.
const LEASE: Duration = Duration::from_secs(5);
/// How long what still runs may take once everything was stopped.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Where Nimbus is looked for unless said otherwise.
const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 6627);

pub(super) fn run(args: &Dev, program: &str, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let data = Data::of(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::start(&error))?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::start(&error))?;
        let mut cluster = Cluster::new(args);
        let ended = tokio::select! {
            biased;
            () = signals.next() => Ok(Exit::Done),
            ended = cluster.work(args, &data, program, io) => ended,
        };
        io.say("stopping the cluster and its workers");
        // It is bounded. To end sooner would leave workers behind that nobody knows of.
        cluster.stop().await;
        ended
    });
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

/// Where the parts of the cluster keep what they keep.
struct Data {
    folder: PathBuf,
    /// Removes the folder in the end.
    temporary: Option<TempDir>,
}

impl Data {
    fn of(args: &Dev) -> Result<Self, Failure> {
        if let Some(folder) = &args.data {
            return Ok(Self { folder: folder.clone(), temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("galerna-dev-").tempdir();
        let temporary = temporary.map_err(|error| Failure::io("make a folder in", &std::env::temp_dir(), &error))?;
        Ok(Self { folder: temporary.path().to_owned(), temporary: Some(temporary) })
    }
}

/// The parts that run.
struct Cluster {
    store: MemoryStore,
    nimbus: Option<galerna_nimbus::Nimbus>,
    supervisors: Vec<Supervisor>,
    /// Where Nimbus and then the supervisors serve metrics and health.
    https: Vec<Http>,
    /// The host that parts reach each other at.
    host: String,
}

impl Cluster {
    fn new(args: &Dev) -> Self {
        let ip = match args.listen.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        Self { store: MemoryStore::new(), nimbus: None, supervisors: Vec::new(), https: Vec::new(), host }
    }

    /// Starts all parts, says so, and goes on until one fails.
    async fn work(&mut self, args: &Dev, data: &Data, program: &str, io: &mut Io<'_>) -> Result<Exit, Failure> {
        let address = self.start(args, &data.folder).await?;
        io.print(&introduction(args, data, program, address, &self.https))?;
        let failures = self.supervisors.iter_mut().map(|supervisor| Box::pin(supervisor.failed()));
        let (failure, ..) = select_all(failures).await;
        Err(Failure::start(&failure))
    }

    async fn start(&mut self, args: &Dev, folder: &Path) -> Result<SocketAddr, Failure> {
        let listener = TcpListener::bind(args.listen).await.map_err(|error| {
            let message = format!("cannot listen on {}: {error}; --listen takes another address", args.listen);
            Failure::new("start_failed", message)
        })?;
        let address = listener.local_addr().map_err(|error| Failure::start(&error))?;
        let options = galerna_nimbus::Options {
            advertise: self.host.clone(),
            data: folder.join("nimbus"),
            lease: LEASE,
            ..Default::default()
        };
        let nimbus = galerna_nimbus::Nimbus::start(options, Arc::new(self.store.clone()), listener).await;
        let nimbus = nimbus.map_err(|error| Failure::start(&error))?;
        let observed = nimbus.observed();
        self.nimbus = Some(nimbus);
        if let Some(http) = args.http {
            let listener = TcpListener::bind(http).await.map_err(|error| {
                let message = format!("cannot serve metrics on {http}: {error}; --http takes another address");
                Failure::new("start_failed", message)
            })?;
            self.serve_http(listener, observed)?;
        }
        for number in 0..args.supervisors {
            self.start_supervisor(number, args, address, folder).await?;
        }
        let reached = galerna_protocol::host_port(&self.host, address.port());
        wait_for_all(&reached, args.supervisors.into()).await?;
        Ok(SocketAddr::new(args.listen.ip(), address.port()))
    }

    async fn start_supervisor(
        &mut self,
        number: u16,
        args: &Dev,
        nimbus: SocketAddr,
        folder: &Path,
    ) -> Result<(), Failure> {
        let id = format!("node-{}", number + 1);
        let wanted = nimbus.port().checked_add(1 + number * (args.slots + 1));
        let has_room = |port: &u16| args.listen.port() > 0 && port.checked_add(args.slots).is_some();
        let listener = listen(nimbus.ip(), wanted.filter(has_room)).await;
        let listener = listener.map_err(|error| {
            Failure::new("start_failed", format!("no port is free for a supervisor at {}: {error}", nimbus.ip()))
        })?;
        let options = galerna_supervisor::Options {
            data: folder.join(&id),
            id,
            advertise: self.host.clone(),
            slots: args.slots.into(),
            lease: LEASE,
            ..Default::default()
        };
        let supervisor = Supervisor::start(options, Arc::new(self.store.clone()), listener).await;
        let supervisor = supervisor.map_err(|error| Failure::start(&error))?;
        let observed = supervisor.observed();
        self.supervisors.push(supervisor);
        if let Some(of_nimbus) = self.https.first().and_then(Http::address) {
            let wanted = of_nimbus.port().checked_add(1 + number);
            let has_room = args.http.is_some_and(|http| http.port() > 0);
            let listener = listen(of_nimbus.ip(), wanted.filter(|_| has_room)).await;
            self.serve_http(listener.map_err(|error| Failure::start(&error))?, observed)?;
        }
        Ok(())
    }

    fn serve_http(&mut self, listener: TcpListener, observed: Arc<dyn Observed>) -> Result<(), Failure> {
        let http = Http::start(Some(listener)).map_err(|error| Failure::start(&error))?;
        http.observe(observed);
        self.https.push(http);
        Ok(())
    }

    /// Stops workers, then all else.
    async fn stop(self) {
        self.https.iter().for_each(Http::say_stopping);
        futures_util::future::join_all(self.supervisors.into_iter().map(Supervisor::stop)).await;
        if let Some(nimbus) = self.nimbus {
            nimbus.stop().await;
        }
        for http in self.https {
            http.stop().await;
        }
    }
}

/// Listens on this port, or on any if it is taken.
async fn listen(ip: IpAddr, wanted: Option<u16>) -> io::Result<TcpListener> {
    match TcpListener::bind((ip, wanted.unwrap_or(0))).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TcpListener::bind((ip, 0)).await,
        bound => bound,
    }
}

/// Waits until Nimbus leads and knows all supervisors.
async fn wait_for_all(address: &String, count: usize) -> Result<(), Failure> {
    let until = Instant::now() + START_WAIT;
    let ask = async |mut client: Client| client.supervisors(SupervisorsRequest {}).await;
    loop {
        let missing = match Nimbus::at(address).call(ask).await {
            Ok(reply) if reply.get_ref().supervisors.len() >= count => return Ok(()),
            Ok(reply) => format!("it knows {} of {count} supervisors", reply.get_ref().supervisors.len()),
            Err(status) => status.message().to_owned(),
        };
        if Instant::now() >= until {
            let message = format!("the cluster did not come up within {} s: {missing}", START_WAIT.as_secs());
            return Err(Failure::new("start_failed", message));
        }
        sleep(LOOK).await;
    }
}

fn introduction(args: &Dev, data: &Data, program: &str, address: SocketAddr, https: &[Http]) -> String {
    let at = if address == USUAL { String::new() } else { format!(" --nimbus {address}") };
    let kept = if data.temporary.is_some() { "removed at the end" } else { "kept" };
    let served: Vec<String> = https.iter().filter_map(|http| Some(format!("http://{}", http.address()?))).collect();
    let served = match served.as_slice() {
        [] => String::new(),
        [nimbus, supervisors @ ..] => {
            format!("metrics and health of Nimbus: {nimbus}, of the supervisors: {}\n", supervisors.join(", "))
        }
    };
    format!(
        "Nimbus answers at {address}; {} with {} each\n\n    \
         {program} submit topology.yaml{at}\n    {program} list{at}\n\n{served}\
         data in {} is {kept}; Ctrl-C stops everything\n",
        plural(args.supervisors.into(), "supervisor"),
        plural(args.slots.into(), "slot"),
        data.folder.display(),
    )
}
