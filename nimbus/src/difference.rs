//! How a topology that is there differs from one that is to be there in its stead. Pure.
//!
//! Workers and executors are compared as they are wanted now, whatever was submitted: both can be
//! changed while it runs. All else of a topology is fixed.

mod definition;

use std::collections::{BTreeMap, BTreeSet};

use galerna_coordination::keys::Desired;
use galerna_protocol::{ComponentSpec, TopologySpec};
use serde_json::{Map, Value};

use crate::spec::{Settings, mask};
use crate::stats::executors;
use definition::changed_parts;

/// The setting that says how many workers there are.
const WORKERS: &str = "topology.workers";
/// How many reasons are told at most.
const MOST_REASONS: usize = 50;
/// How many characters of a value are shown.
const LONGEST_VALUE: usize = 60;

/// What differs, for people: secrets are masked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// What a rebalance can change.
    pub(crate) scaling: Vec<String>,
    /// What only a new submission can change.
    pub(crate) changes: Vec<String>,
}

impl Difference {
    /// All of it, the weightier first.
    pub(crate) fn reasons(self) -> Vec<String> {
        let mut reasons: Vec<String> = self.changes.into_iter().chain(self.scaling).collect();
        let more = reasons.len().saturating_sub(MOST_REASONS);
        if more > 0 {
            reasons.truncate(MOST_REASONS);
            reasons.push(format!("{more} more"));
        }
        reasons
    }
}

/// What has to change in the one that is there (as submitted, and as wanted now) for it to be the new one.
pub(crate) fn difference(old: &TopologySpec, desired: &Desired, new: &TopologySpec) -> Difference {
    let mut difference = Difference::default();
    let sha256 = |spec: &TopologySpec| spec.artifact.as_ref().map(|artifact| artifact.sha256.clone());
    if sha256(old) != sha256(new) {
        difference.changes.push("program".to_owned());
    }
    let workers = Settings::of(new).workers;
    if workers != desired.workers {
        difference.scaling.push(format!("workers: {} → {workers}", desired.workers));
    }
    config(old, new, &mut difference.changes);
    components(old, desired, new, &mut difference);
    rest_of_definition(old, new, &mut difference.changes);
    difference
}

fn config(old: &TopologySpec, new: &TopologySpec, changes: &mut Vec<String>) {
    let (old, new) = (settings(old), settings(new));
    let masked = |settings: &Map<String, Value>| {
        let mut masked = Value::Object(settings.clone());
        mask(&mut masked);
        masked
    };
    let (shown_old, shown_new) = (masked(&old), masked(&new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).filter(|key| *key != WORKERS).collect();
    for key in keys.into_iter().filter(|key| old.get(*key) != new.get(*key)) {
        let (before, after) = (shown(shown_old.get(key)), shown(shown_new.get(key)));
        changes.push(match before == after {
            true => format!("config {key}: another value"),
            false => format!("config {key}: {before} → {after}"),
        });
    }
}

/// The settings of a specification that was accepted.
fn settings(spec: &TopologySpec) -> Map<String, Value> {
    serde_json::from_str(&spec.config).unwrap_or_default()
}

fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "not set".to_owned(), Value::to_string);
    match text.chars().count() > LONGEST_VALUE {
        true => text.chars().take(LONGEST_VALUE).chain(['…']).collect(),
        false => text,
    }
}

fn components(old: &TopologySpec, desired: &Desired, new: &TopologySpec, difference: &mut Difference) {
    let by_id = |spec: &TopologySpec| -> BTreeMap<String, ComponentSpec> {
        spec.components.iter().map(|component| (component.id.clone(), component.clone())).collect()
    };
    let (old, new) = (by_id(old), by_id(new));
    let before = difference.changes.len();
    for id in old.keys().filter(|id| !new.contains_key(*id)) {
        difference.changes.push(format!("component {id}: removed"));
    }
    let mut is_renumbered = false;
    for (id, component) in &new {
        let Some(known) = old.get(id) else {
            difference.changes.push(format!("component {id}: added"));
            continue;
        };
        let changes = fixed_changes(known, component);
        difference.changes.extend(changes.into_iter().map(|change| format!("component {id}: {change}")));
        is_renumbered |= known.first_task != component.first_task;
        let (is, wanted) = (executors(known, desired), component.executors);
        if is != wanted {
            difference.scaling.push(format!("component {id}: {is} → {wanted} executors"));
        }
    }
    // Where something else has changed, it only follows.
    if is_renumbered && difference.changes.len() == before {
        difference.changes.push("components: another order".to_owned());
    }
}

/// What differs between two versions of a component, without its executors and where its tasks begin.
fn fixed_changes(old: &ComponentSpec, new: &ComponentSpec) -> Vec<String> {
    let mut changes = Vec::new();
    let kind = |component: &ComponentSpec| if component.is_spout { "spout" } else { "bolt" };
    if old.is_spout != new.is_spout {
        changes.push(format!("{} → {}", kind(old), kind(new)));
    }
    if old.type_name != new.type_name {
        changes.push(format!("type {} → {}", old.type_name, new.type_name));
    }
    if old.tasks != new.tasks {
        changes.push(format!("{} → {} tasks", old.tasks, new.tasks));
    }
    if old.inputs != new.inputs {
        changes.push("inputs".to_owned());
    }
    if old.streams != new.streams {
        changes.push("output".to_owned());
    }
    if old.cpu != new.cpu {
        changes.push(format!("CPU load {} → {}", old.cpu, new.cpu));
    }
    if old.memory_mb != new.memory_mb {
        changes.push(format!("memory load {} → {}", old.memory_mb, new.memory_mb));
    }
    changes
}

/// What the definition says beyond all that was compared already.
fn rest_of_definition(old: &TopologySpec, new: &TopologySpec, changes: &mut Vec<String>) {
    let known: Vec<String> = changes.clone();
    let is_told = |part: &String| match part.split_once(": ") {
        // That its type is another one says so, too.
        Some((component, "className")) => known.iter().any(|change| change.starts_with(&format!("{component}: type "))),
        Some(_) => false,
        None if part == "config" => known.iter().any(|change| change.starts_with("config ")),
        None if part == "streams" => known.iter().any(|change| change.ends_with(": inputs")),
        // It was added or removed.
        None => known.iter().any(|change| change.starts_with(&format!("{part}: "))),
    };
    changes.extend(changed_parts(&old.definition, &new.definition).into_iter().filter(|part| !is_told(part)));
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{Artifact, InputSpec};

    use super::*;
    use crate::spec::tests::component;

    fn spec() -> TopologySpec {
        let mut count = component("count", 3, 4);
        count.inputs = vec![InputSpec { from: "words".into(), stream: "default".into(), grouping: "shuffle".into() }];
        TopologySpec {
            name: "words".into(),
            config:
                r#"{"topology.workers":2,"topology.max.spout.pending":1000,"db.password":"a","nested":{"token":"a"}}"#
                    .into(),
            artifact: Some(Artifact { sha256: "0".repeat(64), ..Artifact::default() }),
            components: vec![component("words", 1, 2), count],
            ..TopologySpec::default()
        }
    }

    fn desired() -> Desired {
        Desired { workers: 2, ..Desired::default() }
    }

    #[test]
    fn what_is_fixed_and_what_is_not_are_told_apart_and_secrets_are_not_told() {
        type Change = fn(&mut TopologySpec);
        let cases: [(Change, &[&str], &[&str]); 13] = [
            (|_| {}, &[], &[]),
            (|spec| spec.owner = "someone".into(), &[], &[]),
            (|spec| spec.components[1].executors = 3, &["component count: 4 → 3 executors"], &[]),
            (|spec| spec.config = spec.config.replace("workers\":2", "workers\":3"), &["workers: 2 → 3"], &[]),
            (|spec| spec.config = spec.config.replace("\"topology.workers\":2,", ""), &["workers: 2 → 1"], &[]),
            (
                |spec| spec.config = spec.config.replace("1000", "500"),
                &[],
                &["config topology.max.spout.pending: 1000 → 500"],
            ),
            (
                |spec| spec.config = r#"{"topology.workers":2,"new":[1]}"#.into(),
                &[],
                &[
                    "config db.password: \"********\" → not set",
                    "config nested: {\"token\":\"********\"} → not set",
                    "config new: not set → [1]",
                    "config topology.max.spout.pending: 1000 → not set",
                ],
            ),
            (
                |spec| spec.config = spec.config.replace(":\"a\"", ":\"b\""),
                &[],
                &["config db.password: another value", "config nested: another value"],
            ),
            (
                |spec| spec.artifact = Some(Artifact { sha256: "1".repeat(64), ..Artifact::default() }),
                &[],
                &["program"],
            ),
            (
                |spec| spec.components[0] = component("words", 1, 1),
                &["component words: 2 → 1 executors"],
                &["component words: 2 → 1 tasks"],
            ),
            (|spec| _ = spec.components.pop(), &[], &["component count: removed"]),
            (
                |spec| {
                    spec.components[1].type_name = "sum".into();
                    spec.components[1].inputs.clear();
                    spec.components.push(component("more", 7, 1));
                },
                &[],
                &["component count: type  → sum", "component count: inputs", "component more: added"],
            ),
            (|spec| spec.components[1].first_task = 9, &[], &["components: another order"]),
        ];
        for (change, scaling, changes) in cases {
            let mut new = spec();
            change(&mut new);
            let found = difference(&spec(), &desired(), &new);
            assert_eq!((found.scaling, found.changes), (owned(scaling), owned(changes)));
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn numbers_are_compared_with_what_is_wanted_now_not_with_what_was_submitted() {
        let rebalanced = Desired { workers: 3, executors: [("count".to_owned(), 1)].into(), ..Desired::default() };
        let back = difference(&spec(), &rebalanced, &spec());
        assert_eq!(back.scaling, owned(&["workers: 3 → 2", "component count: 1 → 4 executors"]));
        let mut same = spec();
        same.components[1].executors = 1;
        same.config = same.config.replace("workers\":2", "workers\":3");
        assert_eq!(difference(&spec(), &rebalanced, &same), Difference::default());
    }

    #[test]
    fn definition_is_compared_without_numbers_and_names_what_has_changed_only_once() {
        let text = |rate: &str, parallelism: u32, workers: u32| {
            format!(
                "config:\n  topology.workers: {workers}\nspouts:\n  - id: words\n    className: a\n    parallelism: \
                 {parallelism}\n    properties:\n      rate: {rate}\n"
            )
        };
        let with = |definition: String| TopologySpec { definition, ..spec() };
        let old = with(text("1", 2, 2));
        let told = |new: &TopologySpec| difference(&old, &desired(), new).changes;
        assert_eq!(told(&with(text("1", 1, 5))), owned(&[]));
        assert_eq!(told(&with(text("2", 2, 2))), owned(&["component words: properties"]));
        let mut other = with(text("1", 2, 2).replace("className: a", "className: b"));
        assert_eq!(told(&other), owned(&["component words: className"]));
        other.components[0].type_name = "b".into();
        assert_eq!(told(&other), owned(&["component words: type  → b"]));
        let mut renamed = with(text("1", 2, 2).replace("id: words", "id: more"));
        renamed.components[0].id = "more".into();
        assert_eq!(told(&renamed), owned(&["component words: removed", "component more: added"]));
    }

    #[test]
    fn no_more_reasons_are_told_than_somebody_reads() {
        let many = Difference { changes: (0..60).map(|number| number.to_string()).collect(), ..Difference::default() };
        let reasons = many.reasons();
        assert_eq!((reasons.len(), reasons[50].as_str()), (51, "10 more"));
    }
}
