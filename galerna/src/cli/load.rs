//! Reading a topology with the settings of the command line.

use std::path::Path;

use galerna_flux::{Flux, Registry};
use galerna_topology_api::Topology;

use super::args::Settings;
use super::failure::Failure;
use super::io::Io;

impl Settings {
    /// The file, with what fills it in and overrides it.
    pub(super) fn flux(&self, file: &Path) -> Flux {
        let mut flux = Flux::read(file);
        if let Some(properties) = &self.properties {
            flux = flux.properties(properties);
        }
        for (key, value) in &self.set {
            flux = flux.set(key, value);
        }
        for (key, value) in &self.config {
            flux = flux.config(key, value);
        }
        flux
    }

    /// The topology that a file describes; warnings are told.
    pub(super) fn load(&self, file: &Path, registry: &Registry, io: &mut Io<'_>) -> Result<Topology, Failure> {
        let loaded = self.flux(file).load(registry).map_err(Failure::Invalid)?;
        for warning in &loaded.warnings {
            io.say(&format!("{warning}\n"));
        }
        Ok(loaded.topology)
    }
}
