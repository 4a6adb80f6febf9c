//! The arguments of `dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(in crate::cli) struct Dev {
    /// How many supervisors to run
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(in crate::cli) supervisors: u16,
    /// How many workers each of them runs at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(in crate::cli) slots: u16,
    /// Where Nimbus listens; supervisors and workers use the ports after it, or others if these are taken
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6627")]
    pub(in crate::cli) listen: SocketAddr,
    /// Serve metrics and health of Nimbus there, and of the supervisors on the ports after it, or on others if these
    /// are taken; default: not served
    #[arg(long, value_name = "HOST:PORT")]
    pub(in crate::cli) http: Option<SocketAddr>,
    /// Keep artifacts, reports and logs in this folder; a temporary one unless given
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) data: Option<PathBuf>,
}
