//! `submit`: sends a topology, and this very program, to a cluster.

pub(super) mod artifact;
mod name;
pub(super) mod spec;

use std::path::{Path, PathBuf};

use galerna_flux::{Loaded, Registry};
use galerna_protocol::SubmitRequest;
use serde_json::json;

use super::args::{Output, Submission, Submit, topology_name};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Nimbus, block_on};
use artifact::Program;

pub(super) fn run(args: &Submit, registry: &Registry, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let loaded = load(&args.file, &args.submission, registry, io)?;
    let mut notes: Vec<String> = loaded.made_absolute.iter().map(ToString::to_string).collect();
    let program = Program::of_this_process()?;
    let spec = spec::of(&loaded, program.artifact.clone())?;
    let request = SubmitRequest { spec: Some(spec), is_inactive: args.submission.inactive };
    let nimbus = Nimbus::of(&args.cluster);
    let reply = block_on(async {
        loop {
            if args.wait {
                name::wait_until_free(&nimbus, &request, io).await?;
            }
            program.upload(&nimbus, io).await?;
            let submit = async |mut client: super::nimbus::Client| client.submit(request.clone()).await;
            match nimbus.call(submit).await {
                // Another had the name meanwhile, and was killed meanwhile.
                Err(status) if args.wait && name::is_draining(&nimbus, &request, &status).await => {}
                answer => return Ok(answer?.into_inner()),
            }
        }
    })?;
    notes.extend(reply.notes);
    match args.cluster.output {
        Output::Text => {
            notes.iter().for_each(|note| io.say(&format!("note: {note}")));
            io.print(&format!("{}\n", reply.topology_id))?;
        }
        Output::Json => io.print(&format!("{}\n", json!({ "id": reply.topology_id, "notes": notes })))?,
    }
    Ok(Exit::Done)
}

/// The topology as it is to be sent; warnings are told.
pub(super) fn load(file: &Path, args: &Submission, registry: &Registry, io: &mut Io<'_>) -> Result<Loaded, Failure> {
    let folder =
        std::env::current_dir().map_err(|error| Failure::io("find the current folder", &PathBuf::from("."), &error))?;
    let mut flux = args.settings.flux(file).absolute_paths(folder);
    if let Some(name) = &args.name {
        // In quotes: `7` is a name, too.
        flux = flux.config("topology.name", format!("\"{name}\""));
    }
    if let Some(workers) = args.workers {
        flux = flux.config("topology.workers", workers.to_string());
    }
    let loaded = flux.load(registry).map_err(Failure::Invalid)?;
    for warning in &loaded.warnings {
        io.say(&format!("{warning}\n"));
    }
    topology_name(loaded.topology.name())
        .map_err(|message| Failure::new("bad_name", format!("{message}; `--name` gives it another")))?;
    Ok(loaded)
}
