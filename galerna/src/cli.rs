//! The command line: reads the arguments, runs one command, turns what came of it into an exit code.
//!
//! Every topology program has these commands by calling [`main`]; the stock `galerna` is such a
//! program. Each command stands in a module of its own and is a function of its arguments, the
//! registry and the outputs, so that tests call it in-process through [`run`].

mod apply;
mod args;
mod change;
mod completions;
mod components;
mod describe;
#[cfg(feature = "dev")]
mod dev;
mod errors;
mod exit;
mod failure;
mod graph;
mod help;
mod io;
mod list;
mod load;
mod local;
mod logging;
mod logs;
mod new;
mod nimbus;
mod numbers;
mod open_folders;
mod rates;
mod reader;
mod schema;
mod submit;
mod table;
mod top;
mod types;
mod validate;
mod wait;
mod watch;
mod worker;
mod worker_ends;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use galerna_flux::Registry;

use args::{Arguments, Command};
use failure::Failure;

pub use exit::Exit;
pub use io::Io;

/// The command line of a topology program: all that `main` has to do.
///
/// Reads the process's arguments and runs the command they name with the types of `registry`.
/// `--help` says what there is. The exit code is 0 when it was done, 1 when it failed, 2 when it
/// was called wrongly, 130 when a second Ctrl-C stopped a run at once.
#[allow(clippy::needless_pass_by_value, reason = "a program's one registry ends here, and the call reads better so")]
pub fn main(registry: Registry) -> ExitCode {
    logging::start();
    Io::of_process(|io| run(std::env::args_os(), &registry, io)).into()
}

/// As [`main`], with arguments (the program's name first) and outputs handed in.
///
/// What topologies print and log goes to the process's own outputs all the same.
pub fn run(args: impl IntoIterator<Item = impl Into<OsString>>, registry: &Registry, io: &mut Io<'_>) -> Exit {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let program = program_name(args.first());
    let command = help::with_program_name(Arguments::command(), &program);
    let matches = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage(&error, io),
    };
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, io),
    };
    match perform(&arguments.command, registry, command, io) {
        Ok(exit) => exit,
        Err(Failure::NobodyReads) => Exit::Done,
        Err(failure) => {
            if arguments.command.wants_json() {
                // Told on stderr in any case.
                let _ = io.print(&format!("{}\n", failure.as_json()));
            }
            io.say(&failure.to_string());
            Exit::Failed
        }
    }
}

fn perform(
    command: &Command,
    registry: &Registry,
    definition: clap::Command,
    io: &mut Io<'_>,
) -> Result<Exit, Failure> {
    match command {
        Command::Local(args) => local::run(args, registry, io),
        Command::Validate(args) => validate::run(args, registry, io),
        Command::Graph(args) => graph::run(args, registry, io),
        Command::Schema => schema::run(registry, io),
        Command::Types(args) => types::run(args, registry, io),
        Command::New(args) => new::run(args, io),
        Command::Submit(args) => submit::run(args, registry, io),
        Command::Apply(args) => apply::run(args, registry, io),
        Command::List(args) => list::run(args, io),
        Command::Top(args) => top::run(args, io),
        Command::Describe(args) => describe::run(args, io),
        Command::Wait(args) => wait::run(args, io),
        Command::Kill(args) => change::kill(args, io),
        Command::Activate(args) => change::activate(args, io),
        Command::Deactivate(args) => change::deactivate(args, io),
        Command::Rebalance(args) => change::rebalance(args, io),
        Command::Logs(args) => logs::run(args, io),
        Command::Errors(args) => errors::run(args, io),
        Command::Supervisors(args) => list::supervisors(&args.cluster, io),
        #[cfg(feature = "dev")]
        Command::Dev(args) => dev::run(args, definition.get_name(), io),
        Command::Completions(args) => completions::run(args, definition, io),
        Command::Worker(args) => Ok(worker::run(args, registry)),
        Command::OpenFolders(args) => open_folders::run(args),
    }
}

/// Prints what clap has to say: help and version as a result, mistakes as an error.
fn usage(error: &clap::Error, io: &mut Io<'_>) -> Exit {
    let text = error.render();
    let text = if io.is_watched { text.ansi().to_string() } else { text.to_string() };
    if error.use_stderr() {
        io.say(&text);
        return Exit::Usage;
    }
    match io.print(&text) {
        Ok(()) | Err(Failure::NobodyReads) => Exit::Done,
        Err(failure) => {
            io.say(&failure.to_string());
            Exit::Failed
        }
    }
}

/// What the program was called as.
fn program_name(path: Option<&OsString>) -> String {
    let stem = path.and_then(|path| std::path::Path::new(path).file_stem());
    stem.and_then(|stem| stem.to_str()).filter(|name| !name.is_empty()).unwrap_or("galerna").to_owned()
}
