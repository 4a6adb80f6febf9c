//! `local`: runs a topology in this process, from its file to the summary.

mod drive;
mod status_line;
mod summary;

use galerna_flux::Registry;
use galerna_protocol::Signals;
use galerna_topology_api::Topology;
use galerna_worker::{LocalOptions, LocalRun, RunStatus, RunSummary};

use super::args::{Local, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::reader;
use drive::Outcome;

pub(super) fn run(args: &Local, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let topology = args.settings.load(&args.file, registry, io)?;
    // Drives the run; the tasks have runtimes of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::start(&error))?;
    let outcome = runtime.block_on(start_and_drive(topology, args, io))?;
    if outcome.is_interrupted {
        // No summary: a bolt may hang on a full pipe, with the lock of stdout in its hands.
        io.say("stopped at once: what was in flight was not processed");
        return Ok(Exit::Interrupted);
    }
    print(&outcome.summary, args.output, io)?;
    Ok(match outcome.summary.status {
        RunStatus::Failed => Exit::Failed,
        RunStatus::Running | RunStatus::Finished | RunStatus::Stopped => Exit::Done,
    })
}

async fn start_and_drive(topology: Topology, args: &Local, io: &mut Io<'_>) -> Result<Outcome, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::start(&error))?;
    let is_only_printing = reader::is_only_printing(&topology);
    let options = LocalOptions { workers: args.workers.map(Into::into), ..LocalOptions::default() };
    let mut run = LocalRun::start(topology, options).map_err(|error| Failure::start(&error))?;
    let until = drive::Until { time: args.time.map(|time| time.0), nobody_reads: is_only_printing };
    Ok(drive::to_the_end(&mut run, until, &mut signals, io).await)
}

/// Prints the summary. The run is over: a reader who has left changes nothing about how it ended.
fn print(summary: &RunSummary, output: Output, io: &mut Io<'_>) -> Result<(), Failure> {
    let printed = match output {
        // A run that did nothing but fail is one message.
        Output::Text if summary::is_empty(summary) && summary.failure.is_some() => Ok(()),
        Output::Text => io.print(&summary::render(summary)),
        Output::Json => {
            let json = serde_json::to_string(summary);
            let json = json.map_err(|error| Failure::new("output", format!("cannot encode the summary: {error}")))?;
            io.print(&format!("{json}\n"))
        }
    };
    if let Some(failure) = &summary.failure {
        io.say(&format!("error: {}", failure.message));
    }
    match printed {
        Err(Failure::NobodyReads) => Ok(()),
        printed => printed,
    }
}
