//! What a supervisor launches a worker with.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Where the supervisor answers
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) supervisor: String,
    /// The supervisor's id
    #[arg(long, value_name = "NAME")]
    pub(crate) id: String,
    /// The topology's id
    #[arg(long)]
    pub(crate) topology: String,
    /// The number of the slot
    #[arg(long)]
    pub(crate) slot: u32,
    /// Which launch it is
    #[arg(long)]
    pub(crate) incarnation: u64,
    /// Where to accept links of other workers
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// The host that others reach it at
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: String,
    /// Where everything that it prints goes
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
}
