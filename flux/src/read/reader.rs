//! Takes maps, lists and scalars apart, noting whatever is not as expected.

use crate::node::{Entry, Kind, Node, Text};
use crate::problems::{Fault, Problems, did_you_mean, shown};
use crate::scalar::{Meaning, is_old_boolean};
use crate::source::Span;

/// Reads nodes and notes problems.
pub(crate) struct Reader<'p> {
    problems: &'p mut Problems,
    is_broken: bool,
}

/// A map of which all keys are known.
pub(crate) struct Section<'n> {
    pub(crate) at: Span,
    what: &'static str,
    entries: &'n [Entry],
}

impl<'n> Section<'n> {
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key.text == key)
    }

    pub(crate) fn unknown_keys(&self, known: &[&str]) -> impl Iterator<Item = &'n str> {
        self.entries.iter().map(|entry| entry.key.text.as_str()).filter(|key| key.len() < 100 && !known.contains(key))
    }

    /// The value of a key; an empty one is as if the key were not there.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value).filter(|value| !value.is_null())
    }
}

impl<'p> Reader<'p> {
    pub(crate) fn new(problems: &'p mut Problems) -> Self {
        Self { problems, is_broken: false }
    }

    /// Runs `read` and answers, besides what it read, whether anything was wrong meanwhile.
    pub(crate) fn watched<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, bool) {
        let before = std::mem::replace(&mut self.is_broken, false);
        let value = read(self);
        let is_broken = self.is_broken;
        self.is_broken |= before;
        (value, is_broken)
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.is_broken = true;
        self.problems.fault(fault);
    }

    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>) {
        self.fault(Fault::new(at, message));
    }

    pub(crate) fn warning(&mut self, at: Span, message: impl Into<String>) {
        self.problems.warning(at, message);
    }

    /// Says that something else was expected. Nothing to say about what was told already.
    pub(crate) fn mismatch(&mut self, node: &Node, what: &str, expected: &str) {
        let fault = match node.kind {
            Kind::Unknown => Fault::told(),
            _ => Fault::new(node.at, format!("{what} is {}, expected {expected}", node.found())),
        };
        let hint = match node.as_scalar() {
            Some(scalar) if expected.contains("true") && is_old_boolean(&scalar.text) => {
                Some("YAML 1.2 has only `true` and `false` as booleans".to_owned())
            }
            Some(scalar) if expected == "a string" && scalar.meaning() != Meaning::Null => {
                Some(format!("write \"{}\" for the string", shown(&scalar.text)))
            }
            _ => None,
        };
        self.fault(Fault { help: hint, ..fault });
    }

    /// A map whose keys are among `keys`, or `hidden`, which are taken but not told of.
    pub(crate) fn section<'n>(
        &mut self,
        node: &'n Node,
        what: &'static str,
        keys: &[&'static str],
        hidden: &[&'static str],
    ) -> Option<Section<'n>> {
        let Kind::Map(entries) = &node.kind else {
            self.mismatch(node, what, "a map");
            return None;
        };
        for Entry { key, .. } in entries {
            if !keys.contains(&key.text.as_str()) && !hidden.contains(&key.text.as_str()) {
                let near = did_you_mean(&key.text, keys.iter().copied());
                let fault = Fault::new(key.at, format!("unknown key `{}` in {what}{near}", shown(&key.text)));
                self.fault(if near.is_empty() {
                    fault.help(format!("known here: {}", keys.join(", ")))
                } else {
                    fault
                });
            }
        }
        Some(Section { at: node.at, what, entries })
    }

    /// The items of a list, each read by `read`.
    pub(crate) fn items<'n, T>(
        &mut self,
        node: Option<&'n Node>,
        what: &str,
        read: impl Fn(&'n Node, &mut Self) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = node else { return Vec::new() };
        match &node.kind {
            Kind::List(items) => items.iter().filter_map(|item| read(item, self)).collect(),
            _ => {
                self.mismatch(node, what, "a list");
                Vec::new()
            }
        }
    }

    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        let text = node.as_scalar().and_then(|scalar| scalar.as_text());
        if text.is_none() {
            self.mismatch(node, what, "a string");
        }
        text.map(|text| Text { at: node.at, text: text.to_owned() })
    }

    pub(crate) fn required_text(&mut self, section: &Section<'_>, key: &'static str) -> Option<Text> {
        let Some(node) = section.get(key) else {
            let at = section.entry(key).map_or(section.at, |entry| entry.key.at);
            let what = section.what;
            self.error(
                at,
                if at == section.at { format!("{what} without `{key}`") } else { format!("`{key}` is empty") },
            );
            return None;
        };
        self.text(node, &format!("`{key}`"))
    }

    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.as_scalar().map(|scalar| scalar.wanted_meaning()) {
            Some(Meaning::Bool(value)) => Some(value),
            _ => {
                self.mismatch(node, what, "true or false");
                None
            }
        }
    }

    /// A whole number that fits; whether 0 makes sense is for others to say.
    pub(crate) fn count(&mut self, node: &Node, what: &str) -> Option<(u32, Span)> {
        let value = match node.as_scalar().map(|scalar| scalar.wanted_meaning()) {
            Some(Meaning::Int(value)) => u32::try_from(value).ok(),
            _ => None,
        };
        if value.is_none() {
            self.mismatch(node, what, "a whole number from 1 on");
        }
        value.map(|value| (value, node.at))
    }

    pub(crate) fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        let value = match node.as_scalar().map(|scalar| scalar.wanted_meaning()) {
            Some(Meaning::Int(value)) => Some(value as f64),
            Some(Meaning::Float(value)) => Some(value),
            _ => None,
        };
        let value = value.filter(|value| value.is_finite() && *value >= 0.0);
        if value.is_none() {
            self.mismatch(node, what, "a number from 0 on");
        }
        value
    }
}
