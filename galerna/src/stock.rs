//! The stock types, for registries.

use galerna_components::{Catalogue, StockType};
use galerna_flux::{Registry, TypeDoc};
use galerna_topology_api::{Bolt, ManualBolt, Spout};
use serde::de::DeserializeOwned;

/// Gives [`Registry`] the types that ship with Galerna.
///
/// ```
/// use galerna::prelude::*;
///
/// let names: Vec<String> = Registry::stock().types().into_iter().map(|found| found.name).collect();
/// assert!(names.contains(&"file-lines".to_owned()));
/// ```
pub trait Stock {
    /// A registry of all stock spouts and bolts, with their documentation and aliases.
    fn stock() -> Self;
}

impl Stock for Registry {
    fn stock() -> Self {
        let mut shelf = Shelf(Self::new());
        galerna_components::register(&mut shelf);
        shelf.0
    }
}

/// Puts what the catalogue names into a registry.
struct Shelf(Registry);

impl Shelf {
    fn put(&mut self, stock: &StockType, register: impl FnOnce(Registry, &str) -> Registry) {
        let doc = TypeDoc { summary: stock.summary, yaml_example: stock.example };
        let registry = register(std::mem::take(&mut self.0), stock.name).describe(stock.name, doc);
        self.0 = stock.aliases.iter().fold(registry, |registry, alias| registry.alias(alias, stock.name));
    }
}

impl Catalogue for Shelf {
    fn spout<T: Spout + DeserializeOwned>(&mut self, stock: &StockType) {
        self.put(stock, Registry::spout::<T>);
    }

    fn bolt<T: Bolt + DeserializeOwned>(&mut self, stock: &StockType) {
        self.put(stock, Registry::bolt::<T>);
    }

    fn manual_bolt<T: ManualBolt + DeserializeOwned>(&mut self, stock: &StockType) {
        self.put(stock, Registry::manual_bolt::<T>);
    }
}
