//! Where the values of `${name}` come from.

use std::collections::{BTreeMap, BTreeSet};

use crate::problems::{did_you_mean, shown};

/// The folder of the topology's file.
const TOPOLOGY_DIR: &str = "topology.dir";
/// Names that start so are read from the environment.
const ENVIRONMENT: &str = "ENV-";
/// The most text that substitutions may add to a topology's files.
const MOST_TEXT: usize = 16 << 20;

/// Values by name, and which names the files refer to.
pub(crate) struct Variables {
    given: BTreeMap<String, String>,
    read: BTreeMap<String, String>,
    environment: fn(&str) -> Option<String>,
    referred: BTreeSet<String>,
    text_left: usize,
    /// Whether a file of values could not be read, so that nobody knows what is undefined.
    is_incomplete: bool,
}

impl Variables {
    /// Values that were given one by one, and files' folder.
    pub(crate) fn new(given: BTreeMap<String, String>, folder: String) -> Self {
        Self {
            given,
            read: BTreeMap::from([(TOPOLOGY_DIR.to_owned(), folder)]),
            environment: |name| std::env::var(name).ok(),
            referred: BTreeSet::new(),
            text_left: MOST_TEXT,
            is_incomplete: false,
        }
    }

    /// Notes that values are missing because a file could not be read.
    pub(crate) fn miss_some(&mut self) {
        self.is_incomplete = true;
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Takes in the values of a properties file; those of a later file win.
    pub(crate) fn read(&mut self, properties: BTreeMap<String, String>) {
        self.read.extend(properties);
    }

    /// Notes that a file refers to this name.
    pub(super) fn refer(&mut self, name: &str) {
        if !self.referred.contains(name) {
            self.referred.insert(name.to_owned());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        let known = self.given.get(name).or_else(|| self.read.get(name)).cloned();
        known.or_else(|| name.strip_prefix(ENVIRONMENT).and_then(self.environment))
    }

    /// Takes so many bytes off what substitutions may still add; whether there were as many.
    pub(super) fn spend(&mut self, bytes: usize) -> bool {
        self.text_left.checked_sub(bytes).map(|left| self.text_left = left).is_some()
    }

    /// What to say about a name without a value, and what to do about it.
    pub(super) fn undefined(&self, name: &str) -> (String, String) {
        let shown = shown(name);
        if let Some(variable) = name.strip_prefix(ENVIRONMENT) {
            let message = format!("the environment has no `{variable}`");
            return (message, format!("set it, or give it a default as in `${{{shown}:-value}}`"));
        }
        let near = did_you_mean(name, self.given.keys().chain(self.read.keys()).map(String::as_str));
        let help = format!("give it a value by `--set {shown}=...`, or a default as in `${{{shown}:-value}}`");
        (format!("`${{{shown}}}` has no value{near}"), help)
    }

    /// A message for each value that was given and that no file refers to.
    pub(crate) fn unused(&self) -> Vec<(String, String)> {
        let unused = self.given.iter().filter(|(name, _)| !self.referred.contains(*name));
        unused
            .map(|(name, value)| {
                let near = did_you_mean(name, self.referred.iter().map(String::as_str));
                (format!("{name}={value}"), format!("no file refers to `${{{}}}`{near}", shown(name)))
            })
            .collect()
    }
}
