//! Which parts of two definitions differ.
//!
//! A definition is what flux writes: one form for each meaning, so that lines tell parts apart.
//! Sections begin in the first column, the items of a list with a dash in the third, and the keys of
//! an item in the fifth; everything inside stands further to the right. Text in any other form
//! still compares as different whenever it is, only less is said about where.

use std::collections::BTreeMap;

/// What the components of a specification and its settings say themselves.
const ELSEWHERE: [&str; 4] = ["parallelism", "numTasks", "cpuLoad", "onHeapMemoryLoad"];

/// The names of parts that differ, in order: `config`, `component split: properties`, `object pool`.
pub(super) fn changed_parts(old: &str, new: &str) -> Vec<String> {
    if old == new {
        return Vec::new();
    }
    let (old, new) = (parts(old), parts(new));
    let mut changed: Vec<String> = Vec::new();
    for part in old.keys().chain(new.keys()).filter(|part| old.get(*part) != new.get(*part)) {
        // Something that is there only once is named as a whole.
        let name = match part.split_once(": ") {
            Some((item, _)) if !old.contains_key(&is_there(item)) || !new.contains_key(&is_there(item)) => item,
            _ => part,
        };
        if !changed.iter().any(|known| known == name) {
            changed.push(name.to_owned());
        }
    }
    changed
}

/// The name of the part that says that there is such an item.
fn is_there(item: &str) -> String {
    format!("{item}: id")
}

/// The texts of all parts, by name.
fn parts(definition: &str) -> BTreeMap<String, String> {
    let mut parts: BTreeMap<String, String> = BTreeMap::new();
    let mut place = Place::default();
    for line in definition.lines().filter(|line| !line.starts_with('#')) {
        place.moves_to(line);
        if let Some(name) = place.name() {
            let text = parts.entry(name).or_default();
            text.push_str(line);
            text.push('\n');
        }
    }
    parts
}

/// Where a line stands.
#[derive(Default)]
struct Place {
    section: String,
    item: String,
    key: String,
}

impl Place {
    fn moves_to(&mut self, line: &str) {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let key = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
        match (indent, line.strip_prefix("  - ")) {
            // A line without text belongs to what it stands in.
            _ if line.is_empty() => {}
            (0, _) => *self = Self { section: key(line), ..Self::default() },
            (2, Some(first)) => {
                self.key = key(first);
                self.item = first.split_once(": ").map_or(first, |(_, value)| value).trim_matches('"').to_owned();
            }
            (2, None) => (self.item, self.key) = (String::new(), key(&line[2..])),
            (4, _) if !self.item.is_empty() => self.key = key(&line[4..]),
            _ => {}
        }
    }

    /// The part that the line belongs to; none if it is compared elsewhere.
    fn name(&self) -> Option<String> {
        let Self { section, item, key } = self;
        match section.as_str() {
            "config" if key == super::WORKERS => None,
            // A section whose other lines are all compared elsewhere may as well not be there.
            "config" if key.is_empty() => None,
            "spouts" | "bolts" if ELSEWHERE.contains(&key.as_str()) => None,
            "spouts" | "bolts" if !item.is_empty() => Some(format!("component {item}: {key}")),
            "components" if !item.is_empty() => Some(format!("object {item}")),
            _ => Some(section.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As flux writes it.
    const TEXT: &str = "\
# Everything is resolved: nothing is substituted or included here.
name: words
config:
  topology.workers: 2
  topology.debug: false
components:
  - id: pool
    className: pool
    constructorArgs: [1, 2]
workerHooks:
  - className: hook
spouts:
  - id: lines
    className: file-lines
    parallelism: 1
    properties:
      path: /a
bolts:
  - id: split
    className: split-words
    parallelism: 2
    numTasks: 4
    properties:
      script: |

        parallelism: 7
          - id: x

      after: 1
    config:
      topology.debug: true
streams:
  - from: lines
    to: split
    grouping:
      type: SHUFFLE
";

    #[test]
    fn each_part_is_named_and_numbers_do_not_count() {
        /// What is written in the place of what, and the parts that differ then.
        type Case = (&'static [(&'static str, &'static str)], &'static [&'static str]);
        let cases: [Case; 14] = [
            (&[], &[]),
            (&[("topology.workers: 2", "topology.workers: 3"), ("parallelism: 2", "parallelism: 4")], &[]),
            (&[("    parallelism: 1\n", ""), ("    numTasks: 4\n", "    cpuLoad: 1.0\n")], &[]),
            (&[("  topology.debug: false", "  topology.debug: 1")], &["config"]),
            (&[("path: /a", "path: /b")], &["component lines: properties"]),
            (&[("parallelism: 7", "parallelism: 8")], &["component split: properties"]),
            (&[("- id: x", "- id: y")], &["component split: properties"]),
            (&[("after: 1", "after: 2")], &["component split: properties"]),
            (&[("topology.debug: true", "topology.debug: 1")], &["component split: config"]),
            (&[("[1, 2]", "[1]")], &["object pool"]),
            (&[("className: hook", "className: crook")], &["workerHooks"]),
            (&[("SHUFFLE", "ALL")], &["streams"]),
            (
                &[("id: split\n    className: split-words", "id: other\n    className: other")],
                &["component split", "component other"],
            ),
            (&[("streams:\n", "others:\n")], &["streams", "others"]),
        ];
        for (changes, expected) in cases {
            let changed = changes.iter().fold(TEXT.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
            assert_eq!(changed_parts(TEXT, &changed), expected, "{changes:?}");
        }
    }

    #[test]
    fn text_of_another_form_differs_wherever_it_does() {
        for (old, new) in [("{a: 1}", "{a: 2}"), ("", "x"), ("- a\n- b\n", "- a\n"), ("a\n\n", "a\n b\n")] {
            assert!(!changed_parts(old, new).is_empty(), "{old:?} and {new:?}");
        }
    }
}
