//! What there is: every stock type with its names and its documented YAML, to be registered by
//! whoever keeps a registry.

use galerna_topology_api::{Bolt, ManualBolt, Spout};
use serde::de::DeserializeOwned;

/// A stock type, as YAML names it and as documentation shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StockType {
    /// Its name in `className`.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it does, in a line.
    pub summary: &'static str,
    /// Items of the lists `spouts:` or `bolts:`, with all properties.
    pub example: &'static str,
}

/// Takes up the stock types, each read from its properties by serde.
pub trait Catalogue {
    /// A spout.
    fn spout<T: Spout + DeserializeOwned>(&mut self, stock: &StockType);
    /// A bolt that acks by itself.
    fn bolt<T: Bolt + DeserializeOwned>(&mut self, stock: &StockType);
    /// A bolt that acks by hand.
    fn manual_bolt<T: ManualBolt + DeserializeOwned>(&mut self, stock: &StockType);
}

/// Names every stock type to `catalogue`: spouts first, each in the order of the names.
pub fn register(catalogue: &mut impl Catalogue) {
    crate::spouts::register(catalogue);
    crate::bolts::register(catalogue);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads every example with its type.
    #[derive(Default)]
    struct Reader(Vec<&'static str>);

    impl Reader {
        fn read<T: DeserializeOwned>(&mut self, stock: &StockType) {
            let items: Vec<serde_yaml::Value> = serde_yaml::from_str(stock.example).unwrap();
            assert!(!items.is_empty(), "{} has an example", stock.name);
            for item in items {
                let class = item["className"].as_str().unwrap();
                assert!(class == stock.name || stock.aliases.contains(&class), "{class} in {}", stock.name);
                let none = serde_yaml::Value::Mapping(serde_yaml::Mapping::new());
                let properties = item.get("properties").cloned().unwrap_or(none);
                if let Err(error) = serde_yaml::from_value::<T>(properties) {
                    panic!("the example of {} is not valid: {error}", stock.name);
                }
            }
            self.0.extend([stock.name].iter().chain(stock.aliases));
        }
    }

    impl Catalogue for Reader {
        fn spout<T: Spout + DeserializeOwned>(&mut self, stock: &StockType) {
            self.read::<T>(stock);
        }
        fn bolt<T: Bolt + DeserializeOwned>(&mut self, stock: &StockType) {
            self.read::<T>(stock);
        }
        fn manual_bolt<T: ManualBolt + DeserializeOwned>(&mut self, stock: &StockType) {
            self.read::<T>(stock);
        }
    }

    #[test]
    fn every_example_is_valid_and_every_name_unique() {
        let mut reader = Reader::default();
        register(&mut reader);
        let count = reader.0.len();
        reader.0.sort_unstable();
        reader.0.dedup();
        assert_eq!(reader.0.len(), count);
        assert!(
            ["file-lines", "file-sink", "null", "org.apache.storm.testing.TestWordSpout"]
                .iter()
                .all(|name| reader.0.contains(name))
        );
    }
}
