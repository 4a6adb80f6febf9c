//! The arguments of commands that talk to a cluster.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use galerna_topology_api::human::HumanDuration;

use super::super::wait::Expectation;
use super::{Output, Settings};

/// The shortest time between two looks.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Where Nimbus is, and how to print what it answers.
#[derive(Debug, Args)]
pub(in crate::cli) struct Cluster {
    /// Where Nimbus answers; several, separated by commas, are tried in turn
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "GALERNA_NIMBUS",
        hide_env_values = true,
        default_value = "127.0.0.1:6627",
        value_delimiter = ',',
        value_parser = address
    )]
    pub(in crate::cli) nimbus: Vec<String>,
    /// How to print the answer
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(in crate::cli) output: Output,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Submit {
    /// The topology's YAML file
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) submission: Submission,
    /// If a topology of this name was killed and still drains, wait for its end
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

/// How a file is submitted.
#[derive(Debug, Args)]
pub(in crate::cli) struct Submission {
    #[command(flatten)]
    pub(in crate::cli) settings: Settings,
    /// Call it so, whatever the file says; letters, digits, `_`, `.` and `-`
    #[arg(long, value_parser = topology_name)]
    pub(in crate::cli) name: Option<String>,
    /// Have its spouts wait for `activate`
    #[arg(long)]
    pub(in crate::cli) inactive: bool,
    /// Run it in this many workers, over `topology.workers`
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(in crate::cli) workers: Option<u32>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Apply {
    /// The topology's YAML file; only --prune does without
    #[arg(required_unless_present = "prune")]
    pub(in crate::cli) file: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) submission: Submission,
    /// Wait until it runs, or say why it does not; also wait for a Nimbus that is not there yet
    #[arg(long)]
    pub(in crate::cli) wait: bool,
    /// How long to wait at most; what a replaced topology takes to drain comes on top
    #[arg(long, value_name = "SECS", default_value_t = 120)]
    pub(in crate::cli) timeout: u32,
    /// How long what is in flight may take where something is replaced, moved or killed; the message
    /// time-out unless given
    #[arg(short = 'w', long, value_name = "SECS")]
    pub(in crate::cli) drain: Option<u32>,
    /// Whose it is: what belongs to another, or to nobody, is left alone
    #[arg(long, value_name = "NAME", value_parser = owner)]
    pub(in crate::cli) owner: Option<String>,
    /// Change it whosever it is; from then on it belongs to --owner, or to nobody without
    #[arg(long)]
    pub(in crate::cli) take_over: bool,
    /// Kill what belongs to --owner and is neither this topology nor named by --keep
    #[arg(long, requires = "owner")]
    pub(in crate::cli) prune: bool,
    /// Leave this topology alone; can be given several times
    #[arg(long, value_name = "NAME", requires = "prune")]
    pub(in crate::cli) keep: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

/// A command that needs no more than a cluster.
#[derive(Debug, Args)]
pub(in crate::cli) struct Listing {
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// List the topologies that have ended, the latest first
    #[arg(long)]
    pub(in crate::cli) ended: bool,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Describe {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    /// Refresh until Ctrl-C or the end of the topology; in place on a terminal
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Time between two looks with --watch, for example 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval, requires = "watch")]
    pub(in crate::cli) every: Duration,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Top {
    /// Show one table and end; so it does where the output is no terminal
    #[arg(long)]
    pub(in crate::cli) once: bool,
    /// Time between two looks, for example 500ms or 10s
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub(in crate::cli) every: Duration,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

/// A command about one topology.
#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    /// Give up after so many seconds; it waits for ever unless given
    #[arg(long, value_name = "SECONDS")]
    pub(in crate::cli) timeout: Option<u64>,
    /// What a component must have emitted, executed, acked or failed by then; can be given several times
    #[arg(long, value_name = "COMPONENT.COUNT=NUMBER")]
    pub(in crate::cli) expect: Vec<Expectation>,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Kill {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    /// How long what is in flight may take; the topology's message time-out unless given
    #[arg(short, long, value_name = "SECS")]
    pub(in crate::cli) wait: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rebalance {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    /// Spread it over this many workers
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub(in crate::cli) workers: Option<u32>,
    /// Run a component by this many executors, up to its number of tasks; can be given several times
    #[arg(short, long, value_name = "COMPONENT=EXECUTORS", value_parser = executors)]
    pub(in crate::cli) executors: Vec<(String, u32)>,
    /// How long a task may take to drain before it is moved without; the message time-out unless given
    #[arg(short, long, value_name = "SECS")]
    pub(in crate::cli) wait: Option<u32>,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// The topology's name or id
    pub(in crate::cli) name: String,
    /// Go on with what is logged from now on, until Ctrl-C
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// How many of the last lines of each worker to begin with
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(in crate::cli) lines: u32,
    #[command(flatten)]
    pub(in crate::cli) cluster: Cluster,
}

/// Whether a cluster takes this as the name of a topology.
pub(in crate::cli) fn topology_name(name: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain) && name.len() <= 100 {
        return Ok(name.to_owned());
    }
    let expected = "up to 100 letters, digits, `_`, `.` and `-`, beginning with a letter or digit";
    Err(format!("`{name}` is no name for a topology on a cluster: expected {expected}"))
}

fn owner(name: &str) -> Result<String, String> {
    match !name.trim().is_empty() && name.len() <= 200 && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => Err("expected up to 200 bytes that can be printed".to_owned()),
    }
}

fn address(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(format!("`{text}` is not HOST:PORT")),
    }
}

/// Time between two looks: Nimbus must not be asked without a pause.
fn interval(text: &str) -> Result<Duration, String> {
    let HumanDuration(interval) =
        text.parse().map_err(|error: galerna_topology_api::human::ParseError| error.to_string())?;
    match interval >= SHORTEST_INTERVAL {
        true => Ok(interval),
        false => Err(format!("`{text}` is too short, expected at least {} ms", SHORTEST_INTERVAL.as_millis())),
    }
}

fn executors(text: &str) -> Result<(String, u32), String> {
    let parsed = text.rsplit_once('=').map(|(component, count)| (component.trim(), count.trim().parse()));
    match parsed {
        Some((component, Ok(count))) if !component.is_empty() && count > 0 => Ok((component.to_owned(), count)),
        _ => Err(format!("`{text}` is not COMPONENT=EXECUTORS, as in count=4")),
    }
}
