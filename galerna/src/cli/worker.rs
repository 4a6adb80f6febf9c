//! `worker`: runs as a worker of a cluster, with the types that this program registers.

use galerna_flux::{Flux, Registry};
use galerna_worker::process::{self, Ended, Options};

use super::args::Worker;
use super::exit::Exit;

pub(super) fn run(args: &Worker, registry: &Registry) -> Exit {
    let options = Options {
        supervisor: args.supervisor.clone(),
        id: args.id.clone(),
        topology: args.topology.clone(),
        slot: args.slot,
        incarnation: args.incarnation,
        listen: args.listen.clone(),
        advertise: args.advertise.clone(),
        log: args.log.clone(),
    };
    let registry = registry.clone();
    let ended = process::run(options, move |spec| {
        let flux = Flux::resolved(spec.definition.clone());
        flux.build(&registry).map_err(|error| format!("this program cannot run what was submitted:\n{error}"))
    });
    match ended {
        Ended::Told => Exit::Done,
        Ended::Fenced => Exit::Fenced,
        Ended::Failed => Exit::Failed,
    }
}
