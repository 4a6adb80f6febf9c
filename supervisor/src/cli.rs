//! The daemon as a program: its options, how it starts, and how a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Parser, value_parser};
use galerna_coordination::daemon::{self, CommonOptions, Http, HttpAddress, ListenAddress};
use galerna_coordination::host_name;
use galerna_protocol::Signals;

use crate::daemon::Supervisor;
use crate::options::{Options, WorkerMemory};
use crate::size;

/// Where metrics and health are served unless said otherwise.
const USUAL_HTTP: &str = "127.0.0.1:9628";

/// Runs the workers that a Galerna cluster assigns to this machine.
///
/// Each option may also stand in the environment or, under its long name, in the file that --config names;
/// the command line comes first, the file last.
#[derive(Debug, Parser)]
#[command(name = "galerna-supervisor", version)]
struct Arguments {
    /// Where to listen; the slots are the ports after this one.
    #[arg(long, value_name = "HOST:PORT", env = "GALERNA_LISTEN", default_value = "127.0.0.1:6628")]
    listen: ListenAddress,
    /// Where to serve metrics and health over HTTP, or `none` [default: 127.0.0.1:9628, if it is free].
    #[arg(long, value_name = "HOST:PORT", env = "GALERNA_HTTP")]
    http: Option<HttpAddress>,
    /// Where to keep artifacts, logs and reports.
    #[arg(long, value_name = "DIR", env = "GALERNA_DATA", default_value = "galerna-supervisor")]
    data: PathBuf,
    /// How many workers to run at most.
    #[arg(long, value_name = "N", env = "GALERNA_SLOTS", default_value = "4")]
    slots: u32,
    /// The name of this supervisor in its cluster [default: the machine's name].
    #[arg(long, value_name = "NAME", env = "GALERNA_ID")]
    id: Option<String>,
    /// Let workers run on when this daemon is stopped.
    #[arg(long, env = "GALERNA_KEEP_WORKERS", value_parser = FalseyValueParser::new())]
    keep_workers: bool,
    /// How many seconds it may take, once told to stop, until its tasks run elsewhere; 0 to stop at once.
    #[arg(long, value_name = "SECONDS", env = "GALERNA_LEAVE_WITHIN", default_value = "30")]
    #[arg(value_parser = value_parser!(u64).range(0..=86_400))]
    leave_within: u64,
    /// Seconds without a heartbeat after which a worker is killed and relaunched; at least 2, or 0 to disable.
    #[arg(long, value_name = "SECONDS", env = "GALERNA_WORKER_TIMEOUT", default_value = "30")]
    #[arg(value_parser = worker_timeout)]
    worker_timeout: u64,
    /// The memory to announce, and to divide among slots, as in 2GiB [default: what the machine and the
    /// container's limits allow].
    #[arg(long, value_name = "SIZE", env = "GALERNA_MEMORY", value_parser = size::parse)]
    memory: Option<u64>,
    /// The points of CPU to announce, 100 a core [default: what the machine and the container's limits allow].
    #[arg(long, value_name = "POINTS", env = "GALERNA_CPU", value_parser = points)]
    cpu: Option<f64>,
    /// The most memory that one worker may have, as in 512MiB, or none for no bound: with more it is ended and
    /// launched anew [default: a slot's part of --memory or of the container's limit, or what the components of a
    /// worker declare if that is more].
    #[arg(long, value_name = "SIZE", env = "GALERNA_WORKER_MEMORY", value_parser = worker_memory)]
    worker_memory: Option<WorkerMemory>,
    #[command(flatten)]
    common: CommonOptions,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            cluster: self.common.cluster(),
            id: self.id.clone().unwrap_or_else(host_name),
            advertise: self.common.advertise(&self.listen),
            data: self.data.clone(),
            slots: self.slots,
            lease: self.common.lease(),
            worker_timeout: (self.worker_timeout > 0).then(|| Duration::from_secs(self.worker_timeout)),
            keep_workers: self.keep_workers,
            cpu: self.cpu,
            memory_mb: self.memory.map(|bytes| bytes as f64 / (1024.0 * 1024.0)),
            worker_memory: self.worker_memory.unwrap_or_default(),
            ..Options::default()
        }
    }
}

fn points(text: &str) -> Result<f64, &'static str> {
    let points = text.trim().parse::<f64>().ok().filter(|points| points.is_finite() && *points > 0.0);
    points.ok_or("expected points of CPU: 100 are a core")
}

/// Heartbeats are a second apart, so one second would end healthy workers.
fn worker_timeout(text: &str) -> Result<u64, &'static str> {
    let seconds = text.trim().parse::<u64>().ok().filter(|seconds| *seconds != 1 && *seconds <= 86_400);
    seconds.ok_or("expected whole seconds from 2 to 86400, or 0 to never kill a silent worker")
}

fn worker_memory(text: &str) -> Result<WorkerMemory, &'static str> {
    match text.trim() {
        "none" => Ok(WorkerMemory::Unlimited),
        size => size::parse(size).map(WorkerMemory::Limit),
    }
}

/// Runs the daemon until a signal ends it.
pub fn main() -> ExitCode {
    daemon::main(run)
}

async fn run(arguments: Arguments, mut signals: Signals) -> anyhow::Result<ExitCode> {
    // First up and last gone: it says why the daemon is not ready.
    let http = Http::open(arguments.http.as_ref(), USUAL_HTTP).await?;
    let (store, listener) = arguments.common.open(&arguments.listen).await?;
    let mut supervisor = tokio::select! {
        biased;
        () = signals.next() => return Ok(ExitCode::SUCCESS),
        started = Supervisor::start(arguments.options(), Arc::new(store), listener) => started?,
    };
    tracing::info!("supervisor {} serves on {}", supervisor.id(), supervisor.address());
    http.observe(supervisor.observed());
    tokio::select! {
        biased;
        () = signals.next() => {}
        error = supervisor.failed() => return Err(error.into()),
    }
    // Workers that run on need nobody to take their tasks.
    if arguments.leave_within > 0 && !arguments.keep_workers {
        tracing::info!("leaving within {} s; a second signal stops it at once", arguments.leave_within);
        tokio::select! {
            biased;
            () = signals.next() => {}
            left = supervisor.leave(Duration::from_secs(arguments.leave_within)) => left?,
        }
    }
    http.say_stopping();
    let end = daemon::stopped(supervisor.stop(), &mut signals).await;
    http.stop().await;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Options {
        let arguments = std::iter::once(&"galerna-supervisor").chain(arguments);
        Arguments::try_parse_from(arguments).expect("they are right").options()
    }

    #[test]
    fn options_are_what_was_said_and_otherwise_the_usual_ones() {
        assert_eq!(format!("{:?}", options(&[])), format!("{:?}", Options::default()));
        let said =
            ["--id", "s1", "--data", "there", "--slots", "7", "--keep-workers", "--cluster", "red", "--lease", "2"];
        let said = options(&said);
        assert_eq!((said.id.as_str(), said.slots, said.keep_workers), ("s1", 7, true));
        let http = Arguments::try_parse_from(["galerna-supervisor", "--http", "none"]).expect("it is right").http;
        assert_eq!(http, Some(HttpAddress::Nowhere));
        assert_eq!((said.worker_memory, said.memory_mb, said.cpu), (WorkerMemory::Slot, None, None));
        assert_eq!((said.cluster.as_str(), said.lease.as_secs(), said.data), ("red", 2, "there".into()));
    }

    #[test]
    fn silent_workers_are_killed_after_the_seconds_that_were_said_or_never() {
        assert_eq!(options(&["--worker-timeout", "6"]).worker_timeout, Some(Duration::from_secs(6)));
        assert_eq!(options(&["--worker-timeout", "0"]).worker_timeout, None);
        for wrong in ["1", "-1", "1.5", "86401", "soon", ""] {
            let error = Arguments::try_parse_from(["galerna-supervisor", "--worker-timeout", wrong]);
            let error = error.expect_err(wrong).to_string();
            assert!(wrong == "-1" || error.contains("expected whole seconds from 2 to 86400, or 0"), "{error}");
        }
    }

    #[test]
    fn memory_and_cpu_are_said_as_in_manifests() {
        let said = options(&["--memory", "2Gi", "--cpu", "150", "--worker-memory", "512MiB"]);
        assert_eq!((said.memory_mb, said.cpu), (Some(2048.0), Some(150.0)));
        assert_eq!(said.worker_memory, WorkerMemory::Limit(512 << 20));
        assert_eq!(options(&["--worker-memory", "none"]).worker_memory, WorkerMemory::Unlimited);
        for wrong in [["--memory", "none"], ["--worker-memory", "0"], ["--cpu", "0"], ["--leave-within", "-1"]] {
            let arguments = std::iter::once("galerna-supervisor").chain(wrong);
            assert!(Arguments::try_parse_from(arguments).is_err(), "{wrong:?}");
        }
    }
}
