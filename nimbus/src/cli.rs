//! The daemon as a program: its command line, its logs, its signals, its exit code.

mod arguments;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use galerna_coordination::EtcdStore;
use galerna_protocol::Signals;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use crate::daemon::Nimbus;
use arguments::{Arguments, Settings};

/// What a shell reports for a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
const USAGE: u8 = 2;

/// Runs the daemon until a signal ends it.
pub fn main() -> ExitCode {
    let settings = match Arguments::parse().settled() {
        Ok(settings) => settings,
        Err(error) => return fail(&error, USAGE),
    };
    start_logs();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::from(error).context("cannot start a runtime"), 1),
    };
    let end = runtime.block_on(run(settings));
    // Something may still be reading a large file.
    runtime.shutdown_timeout(Duration::from_secs(1));
    end.unwrap_or_else(|error| fail(&error, 1))
}

async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let Settings { options, etcd, listen } = settings;
    let store = EtcdStore::new(etcd)?;
    let listener = TcpListener::bind(&listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let nimbus = Nimbus::start(options, Arc::new(store), listener).await?;
    signals.next().await;
    tracing::info!("stopping; a second signal ends it at once");
    tokio::select! {
        biased;
        () = signals.next() => Ok(ExitCode::from(INTERRUPTED)),
        () = nimbus.stop() => Ok(ExitCode::SUCCESS),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    // Nobody to tell that stderr is closed.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}

fn start_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let has_colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
    let logs = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_target(false);
    // Whoever calls this function may have set up logs of its own.
    let _ = logs.with_writer(std::io::stderr).with_ansi(has_colours).try_init();
}
