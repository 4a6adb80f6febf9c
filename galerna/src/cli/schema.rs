//! `schema`: the JSON Schema of topology files.

use galerna_flux::Registry;

use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;

pub(super) fn run(registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let schema = galerna_flux::schema(registry);
    io.print(&format!("{schema:#}\n"))?;
    Ok(Exit::Done)
}
