//! `completions`: scripts that complete arguments in a shell.

use super::args::Completions;
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;

pub(super) fn run(args: &Completions, mut definition: clap::Command, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let program = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, program, &mut script);
    io.print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
