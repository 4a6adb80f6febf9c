//! The daemon as a program: its options, how it starts, and how a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use clap::builder::FalseyValueParser;
use galerna_coordination::daemon::{self, CommonOptions, Http, HttpAddress, ListenAddress};
use galerna_coordination::host_name;
use galerna_protocol::Signals;

use crate::daemon::Supervisor;
use crate::options::Options;

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
            keep_workers: self.keep_workers,
            ..Options::default()
        }
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
        assert_eq!((said.cluster.as_str(), said.lease.as_secs(), said.data), ("red", 2, "there".into()));
    }
}
