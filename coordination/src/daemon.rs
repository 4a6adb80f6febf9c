//! What the daemons have in common as programs: options, the file with options, logs, how they start and
//! stop, metrics and health over HTTP, exit codes.

mod file;
mod http;
#[cfg(target_os = "linux")]
mod init;
mod options;
mod parse;

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use galerna_protocol::Signals;
use tracing_subscriber::EnvFilter;

pub use crate::http::Http;
pub use http::HttpAddress;
pub use options::{CommonOptions, ListenAddress};
use parse::{ParseError, parse};

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
const USAGE: u8 = 2;

/// Runs a daemon as this process: reads its options, starts its logs and a runtime, and has `daemon` do
/// the rest. The first process of a container runs it as a child instead, and looks after that and all orphans.
pub fn main<T: Parser, F>(daemon: impl FnOnce(T, Signals) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    #[cfg(target_os = "linux")]
    if init::is_needed() {
        match init::run() {
            Ok(code) => return code,
            // Orphans stay, which is no reason not to serve.
            Err(error) => complain(&error.context("cannot look after other processes")),
        }
    }
    let options = match parse::<T>(&std::env::args_os().collect::<Vec<_>>()) {
        Ok(options) => options,
        // Help, too: it says itself how that ends.
        Err(ParseError::Arguments(error)) => error.exit(),
        Err(ParseError::File(error)) => return fail(&error, USAGE),
    };
    start_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("cannot start a runtime"), 1),
    };
    let end = runtime.block_on(async {
        let signals = Signals::listen().context("cannot listen to signals")?;
        daemon(options, signals).await
    });
    // Something may still be reading a large file.
    runtime.shutdown_timeout(Duration::from_secs(1));
    end.unwrap_or_else(|error| fail(&error, 1))
}

/// Waits until a daemon has stopped, unless a second signal comes first.
pub async fn stopped(stop: impl Future<Output = ()>, signals: &mut Signals) -> ExitCode {
    tracing::info!("stopping; another signal ends it at once");
    tokio::select! {
        biased;
        () = signals.next() => ExitCode::from(INTERRUPTED),
        () = stop => ExitCode::SUCCESS,
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    complain(error);
    ExitCode::from(code)
}

fn complain(error: &anyhow::Error) {
    // Nobody to tell that stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

fn start_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let has_colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let logs = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_target(false);
    // Whoever calls this may have set up logs of its own.
    let _ = logs.with_writer(std::io::stderr).with_ansi(has_colours).try_init();
}
