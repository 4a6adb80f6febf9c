//! What is to run.

use std::path::Path;

use galerna_flux::Registry;
use galerna_protocol::TopologySpec;

use crate::cli::args::Apply;
use crate::cli::failure::Failure;
use crate::cli::io::Io;
use crate::cli::submit::artifact::Program;
use crate::cli::submit::{load, spec};

/// A topology as it is to be, and the program that runs it.
pub(super) struct Candidate {
    pub(super) spec: TopologySpec,
    pub(super) program: Program,
    /// What whoever submits it should know.
    pub(super) notes: Vec<String>,
}

impl Candidate {
    /// The topology that a file describes; warnings are told.
    pub(super) fn read(file: &Path, args: &Apply, registry: &Registry, io: &mut Io<'_>) -> Result<Self, Failure> {
        let loaded = load(file, &args.submission, registry, io)?;
        let program = Program::of_this_process()?;
        let owner = args.owner.clone().unwrap_or_default();
        let spec = TopologySpec { owner, ..spec::of(&loaded, program.artifact.clone())? };
        let notes = loaded.made_absolute.iter().map(ToString::to_string).collect();
        Ok(Self { spec, program, notes })
    }
}
