//! The commands and their arguments, as data.

mod cluster;
#[cfg(feature = "dev")]
mod dev;
mod worker;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use galerna_topology_api::human::HumanDuration;

pub(super) use cluster::{
    Apply, Cluster, Describe, Kill, List, Listing, Logs, Named, Rebalance, Submission, Submit, Top, Wait, topology_name,
};
#[cfg(feature = "dev")]
pub(super) use dev::Dev;
pub(super) use worker::Worker;

/// Runs topologies of spouts and bolts that YAML files describe
///
/// A topology is a graph of spouts (sources) and bolts (steps). Its YAML file follows Storm's Flux
/// schema and names types that this program knows; `types` lists them.
#[derive(Debug, Parser)]
#[command(
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a topology in this process
    ///
    /// It runs until its input ends, until the time given by --for is over, or until Ctrl-C or
    /// SIGTERM. Then what is in flight is processed, every task cleans up, and a summary is printed.
    /// A second Ctrl-C or SIGTERM stops at once, without a summary, and ends with code 130.
    Local(Local),
    /// Check topology files without running them
    ///
    /// Finds all mistakes at once, each with file, line and column. Components are constructed, but
    /// never opened or prepared. Ends with code 1 if there is an error among the problems.
    Validate(Validate),
    /// Draw a topology as a Mermaid or Graphviz graph
    Graph(Graph),
    /// Print the JSON Schema of topology files, for editors that complete and check YAML
    Schema,
    /// List the types that YAML can name, with their properties and an example
    Types(Types),
    /// Start a topology project: a bolt, its YAML and a test, in a new folder
    New(New),
    /// Run a topology on a cluster
    ///
    /// Sends the topology, with everything resolved, and this program to Nimbus; supervisors run it
    /// as the topology's workers. Relative paths are made absolute. Prints the topology's id.
    Submit(Submit),
    /// Have a cluster run what a file says, whatever it runs now
    ///
    /// Submits the topology if it is absent and does nothing if nothing has changed, so that it can be
    /// repeated. Where only workers or executors differ, it is rebalanced; where anything else does, the
    /// one that is there drains and is replaced. It stays inactive if it was.
    Apply(Apply),
    /// List the topologies of a cluster
    List(List),
    /// Show what all topologies of a cluster do now: rates, latency, pending tuples, workers
    ///
    /// On a terminal the table is shown again and again until Ctrl-C.
    Top(Top),
    /// Show how a topology is doing: its workers, what its components do and did, what is not scheduled
    ///
    /// Of a topology that has ended it shows what is remembered: its final counts, and why it ended.
    Describe(Describe),
    /// Wait until a topology has finished: its input has ended, and all of it is processed
    ///
    /// Prints what `describe` prints then. Ends with code 1 if the topology failed or was killed, if it takes
    /// longer than --timeout, or if a count is not as expected.
    Wait(Wait),
    /// End a topology
    ///
    /// Its spouts emit nothing more, what is in flight is processed, its workers end. This command
    /// does not wait for that: it ends when the kill is ordered.
    Kill(Kill),
    /// Have the spouts of a topology emit again
    Activate(Named),
    /// Have the spouts of a topology emit nothing until it is activated
    Deactivate(Named),
    /// Spread a topology over other workers or executors while it runs
    ///
    /// Only what changes is moved. Without options it is spread anew over the supervisors there are.
    Rebalance(Rebalance),
    /// Print what a topology's workers log, each line with its worker
    Logs(Logs),
    /// List what went wrong in a topology, equal errors once
    Errors(Named),
    /// List the supervisors of a cluster
    Supervisors(Listing),
    /// Run a cluster on this machine, to try topologies on
    ///
    /// Nimbus and supervisors run in this process, workers in processes of their own. Nothing is kept unless --data says
    /// where. Ctrl-C stops everything.
    #[cfg(feature = "dev")]
    Dev(Dev),
    /// Print a script that completes this program's arguments in a shell
    Completions(Completions),
    /// Run as a worker of a cluster: supervisors call this
    #[command(hide = true)]
    Worker(Worker),
    /// Give folders to this process's group: the Helm chart calls this
    #[command(hide = true)]
    OpenFolders(OpenFolders),
}

impl Command {
    /// Whether a script reads the output.
    pub(super) fn wants_json(&self) -> bool {
        let output = match self {
            Self::Local(args) => args.output,
            Self::Validate(args) => args.output,
            Self::Types(args) => args.output,
            Self::Submit(args) => args.cluster.output,
            Self::Apply(args) => args.cluster.output,
            Self::List(args) => args.cluster.output,
            Self::Top(args) => args.cluster.output,
            Self::Describe(args) => args.cluster.output,
            Self::Supervisors(args) => args.cluster.output,
            Self::Activate(args) | Self::Deactivate(args) | Self::Errors(args) => args.cluster.output,
            Self::Wait(args) => args.cluster.output,
            Self::Kill(args) => args.cluster.output,
            Self::Rebalance(args) => args.cluster.output,
            Self::Logs(args) => args.cluster.output,
            #[cfg(feature = "dev")]
            Self::Dev(_) => Output::Text,
            Self::Graph(_) | Self::Schema | Self::New(_) | Self::Completions(_) => Output::Text,
            Self::Worker(_) | Self::OpenFolders(_) => Output::Text,
        };
        output == Output::Json
    }
}

#[derive(Debug, Args)]
pub(super) struct Local {
    /// The topology's YAML file
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Stop after this time, for example 500ms, 30s or 1h30m
    #[arg(long = "for", value_name = "TIME")]
    pub(super) time: Option<HumanDuration>,
    /// Run as this many linked workers within the process, up to 64; 1 unless given
    // Each worker is linked to each other: more would only eat memory.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(super) workers: Option<u16>,
    /// How to print the summary; `json` is one object on the last line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Validate {
    /// The topologies' YAML files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// How to print the problems; `json` is one object on one line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct Graph {
    /// The topology's YAML file
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// The language of the graph
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: GraphFormat,
}

#[derive(Debug, Args)]
pub(super) struct OpenFolders {
    #[arg(value_name = "DIR", required = true)]
    pub(super) folders: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Types {
    /// Only these types, by name or alias
    #[arg(value_name = "TYPE")]
    pub(super) names: Vec<String>,
    /// How to print them; `json` is one object on one line
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) output: Output,
}

#[derive(Debug, Args)]
pub(super) struct New {
    /// The project's name: letters, digits, `-` and `_`; a folder of this name is made
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

/// What fills in and overrides a topology file.
#[derive(Debug, Default, Args)]
pub(super) struct Settings {
    /// Set `${KEY}` in the file; can be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) set: Vec<(String, String)>,
    /// Read what `${…}` stands for from a file of KEY=VALUE lines
    #[arg(long, value_name = "FILE")]
    pub(super) properties: Option<PathBuf>,
    /// Set a config key over the file's; can be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) config: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    #[default]
    Text,
    /// For scripts
    Json,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum GraphFormat {
    /// For Markdown pages that draw Mermaid, as GitHub's do
    #[default]
    Mermaid,
    /// For Graphviz: `… --format dot | dot -Tsvg`
    Dot,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}
