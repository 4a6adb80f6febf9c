//! Logs of the process: to stderr, in one line each.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sends logs to stderr, as much as `RUST_LOG` says; `info` unless set.
pub(super) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Nobody to tell that stderr is closed: trying to would panic.
    let logs = tracing_subscriber::fmt().log_internal_errors(false).with_env_filter(filter).with_target(false);
    let has_colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A program that has set up its own logging before keeps it.
    let _ = logs.with_writer(io::stderr).with_ansi(has_colours).try_init();
}
