//! The daemon as a program: its options, how it starts, and how a signal ends it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use galerna_coordination::daemon::{self, CommonOptions, Http, HttpAddress, ListenAddress};
use galerna_protocol::Signals;
use galerna_topology_api::human::ByteSize;

use crate::daemon::Nimbus;
use crate::options::Options;

/// Where metrics and health are served unless said otherwise.
const USUAL_HTTP: &str = "127.0.0.1:9627";

/// Takes topologies, schedules them onto the supervisors of a Galerna cluster, and sees them through.
///
/// Each option may also stand in the environment or, under its long name, in the file that --config names;
/// the command line comes first, the file last.
#[derive(Debug, Parser)]
#[command(name = "galerna-nimbus", version)]
struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "HOST:PORT", env = "GALERNA_LISTEN", default_value = "127.0.0.1:6627")]
    listen: ListenAddress,
    /// Where to serve metrics and health over HTTP, or `none` [default: 127.0.0.1:9627, if it is free].
    #[arg(long, value_name = "HOST:PORT", env = "GALERNA_HTTP")]
    http: Option<HttpAddress>,
    /// Where to keep artifacts.
    #[arg(long, value_name = "DIR", env = "GALERNA_DATA", default_value = "galerna-nimbus")]
    data: PathBuf,
    /// The name of this nimbus in its cluster [default: its address].
    #[arg(long, value_name = "NAME", env = "GALERNA_ID")]
    id: Option<String>,
    /// The longest program that is taken, such as 500MiB.
    #[arg(long, value_name = "SIZE", env = "GALERNA_ARTIFACT_LIMIT", default_value = "1GiB")]
    artifact_limit: ByteSize,
    #[command(flatten)]
    common: CommonOptions,
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            cluster: self.common.cluster(),
            id: self.id.clone().unwrap_or_default(),
            advertise: self.common.advertise(&self.listen),
            data: self.data.clone(),
            lease: self.common.lease(),
            artifact_limit: self.artifact_limit.0,
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
    let nimbus = Nimbus::start(arguments.options(), Arc::new(store), listener).await?;
    http.observe(nimbus.observed());
    signals.next().await;
    http.say_stopping();
    let end = daemon::stopped(nimbus.stop(), &mut signals).await;
    http.stop().await;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once(&"galerna-nimbus").chain(arguments))
    }

    #[test]
    fn options_are_what_was_said_and_otherwise_the_usual_ones() {
        let usual = parsed(&[]).expect("nothing is needed").options();
        let expected = Options { advertise: "127.0.0.1".to_owned(), ..Options::default() };
        assert_eq!(format!("{usual:?}"), format!("{expected:?}"));
        let said = ["--id", "n1", "--data", "there", "--artifact-limit", "2MiB", "--cluster", "red", "--lease", "2"];
        let said = parsed(&said).expect("they are right").options();
        assert_eq!((said.id.as_str(), said.artifact_limit), ("n1", 2 * 1024 * 1024));
        assert_eq!((said.cluster.as_str(), said.lease.as_secs(), said.data), ("red", 2, "there".into()));
        let told = parsed(&["--artifact-limit", "much"]).expect_err("it is wrong").to_string();
        assert!(told.contains("'much'"), "{told}");
    }
}
