//! What a submitted specification must be like, and what it says about the whole topology.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use galerna_coordination::{LONGEST_TRANSACTION, keys};
use galerna_protocol::{ComponentSpec, TopologySpec};
use serde_json::Value;

use crate::blobs::is_artifact_name;

const LONGEST_NAME: usize = 100;
/// A specification that leaves room for the rest of its transaction.
const LONGEST_SPEC: usize = LONGEST_TRANSACTION - 16 * 1024;
const MOST_TASKS: u32 = 1_000_000;
const MOST_WORKERS: u64 = 10_000;
/// Storm's default.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The settings of a topology that Nimbus looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How many workers it asks for.
    pub(crate) workers: u32,
    /// How long a tuple may take: the default of all waits.
    pub(crate) message_timeout: Duration,
}

impl Settings {
    /// From the specification's config.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(spec: &TopologySpec) -> Result<Self, String> {
        let config: Value = match spec.config.trim() {
            "" => Value::Object(serde_json::Map::new()),
            config => serde_json::from_str(config).map_err(|error| format!("the config is no JSON: {error}"))?,
        };
        let Value::Object(config) = config else { return Err("the config is no JSON object".to_owned()) };
        let workers = match config.get("topology.workers") {
            None | Some(Value::Null) => 1,
            Some(workers) => match workers.as_u64() {
                Some(workers @ 1..=MOST_WORKERS) => workers as u32,
                _ => return Err(format!("`topology.workers` is {workers}, expected 1 to {MOST_WORKERS}")),
            },
        };
        let seconds = config.get("topology.message.timeout.secs").and_then(Value::as_f64);
        let message_timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self { workers, message_timeout: message_timeout.unwrap_or(MESSAGE_TIMEOUT) })
    }

    /// As [`read`](Self::read), of a specification that was accepted.
    pub(crate) fn of(spec: &TopologySpec) -> Self {
        Self::read(spec).unwrap_or(Self { workers: 1, message_timeout: MESSAGE_TIMEOUT })
    }
}

/// Whether a topology may be called that.
///
/// # Errors
/// What names are like.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if keys::is_name(name) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let shown: String = name.chars().take(LONGEST_NAME).collect();
    Err(format!(
        "a topology cannot be named `{shown}`: a name begins with a letter or digit, goes on with letters, digits and \
         `_.-`, and has at most {LONGEST_NAME} of them (A-Z, a-z, 0-9)"
    ))
}

/// Whether the owner of topologies may be called that; empty is nobody.
///
/// # Errors
/// What owners are like.
pub(crate) fn check_owner(owner: &str) -> Result<(), String> {
    if owner.len() <= LONGEST_NAME * 2 && !owner.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("an owner has a name of at most {} bytes without control characters", LONGEST_NAME * 2))
}

/// Checks everything that can be checked by looking at the specification alone.
///
/// # Errors
/// What is wrong.
pub(crate) fn check_spec(spec: &TopologySpec) -> Result<Settings, String> {
    check_name(&spec.name)?;
    check_owner(&spec.owner)?;
    let artifact = spec.artifact.as_ref().ok_or("the specification names no artifact")?;
    if !is_artifact_name(&artifact.sha256) {
        let shown: String = artifact.sha256.chars().take(80).collect();
        return Err(format!("`{shown}` names no artifact, expected its SHA-256: 64 lower-case hexadecimal digits"));
    }
    let length = serde_json::to_vec(spec).map_err(|error| error.to_string())?.len();
    if length > LONGEST_SPEC {
        return Err(format!(
            "the specification has {length} bytes, and at most {LONGEST_SPEC} are taken; keep long texts in files that \
             components read"
        ));
    }
    let settings = Settings::read(spec)?;
    check_components(&spec.components)?;
    Ok(settings)
}

fn check_components(components: &[ComponentSpec]) -> Result<(), String> {
    if !components.iter().any(|component| component.is_spout) {
        return Err("the topology has no spout".to_owned());
    }
    let mut by_id: BTreeMap<&str, &ComponentSpec> = BTreeMap::new();
    let mut ranges = BTreeSet::new();
    for component in components {
        let id = component.id.as_str();
        if id.is_empty() || by_id.insert(id, component).is_some() {
            return Err(format!("there are two components `{id}`, or it has no name"));
        }
        if component.tasks == 0 || component.executors == 0 || component.executors > component.tasks {
            return Err(format!(
                "`{id}` has {} executors and {} tasks, expected at least one executor and no more than tasks",
                component.executors, component.tasks
            ));
        }
        if [component.cpu, component.memory_mb].iter().any(|load| !load.is_finite() || *load < 0.0) {
            return Err(format!("`{id}` asks for a load that is no number from 0 on"));
        }
        ranges.insert((component.first_task, component.tasks));
    }
    let mut next = 1u32;
    for (first, tasks) in &ranges {
        if *first < next || first.checked_add(*tasks).is_none_or(|end| end > MOST_TASKS + 1) {
            return Err(format!("tasks {first} and on: two components have them, or they are more than {MOST_TASKS}"));
        }
        next = first + tasks;
    }
    if ranges.len() < components.len() {
        return Err("two components have the same tasks".to_owned());
    }
    check_inputs(components, &by_id)
}

fn check_inputs(components: &[ComponentSpec], by_id: &BTreeMap<&str, &ComponentSpec>) -> Result<(), String> {
    for component in components {
        for input in &component.inputs {
            let Some(source) = by_id.get(input.from.as_str()) else {
                return Err(format!("`{}` takes its input from `{}`, which is no component", component.id, input.from));
            };
            if !source.streams.iter().any(|stream| stream.id == input.stream) {
                let (id, from, stream) = (&component.id, &input.from, &input.stream);
                return Err(format!(
                    "`{id}` takes its input from stream `{stream}` of `{from}`, which declares no such"
                ));
            }
        }
    }
    Ok(())
}

/// What a specification shows to people: without its definition, and with secrets masked.
pub(crate) fn shown(spec: &TopologySpec) -> TopologySpec {
    let mut shown = spec.clone();
    shown.definition.clear();
    if let Ok(mut config) = serde_json::from_str::<Value>(&shown.config) {
        mask(&mut config);
        shown.config = config.to_string();
    } else {
        shown.config.clear();
    }
    shown
}

/// Hides what a key calls a secret.
pub(crate) fn mask(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                let key = key.to_lowercase();
                if ["password", "secret", "token"].iter().any(|word| key.contains(word)) {
                    *value = Value::String("********".to_owned());
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(mask),
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use galerna_protocol::{Artifact, InputSpec, StreamSpec};

    use super::*;

    /// A component with an executor for each task; the one with the first task is a spout.
    pub(crate) fn component(id: &str, first_task: u32, tasks: u32) -> ComponentSpec {
        ComponentSpec {
            id: id.into(),
            is_spout: first_task == 1,
            first_task,
            tasks,
            executors: tasks,
            streams: vec![StreamSpec { id: "default".into(), ..Default::default() }],
            ..Default::default()
        }
    }

    fn spec() -> TopologySpec {
        let mut count = component("count", 3, 4);
        count.inputs = vec![InputSpec { from: "words".into(), stream: "default".into(), grouping: "shuffle".into() }];
        TopologySpec {
            name: "word-count".into(),
            artifact: Some(Artifact { sha256: "0".repeat(64), ..Default::default() }),
            components: vec![component("words", 1, 2), count],
            ..Default::default()
        }
    }

    #[test]
    fn good_specification_is_taken_and_each_mistake_is_named() {
        assert_eq!(check_spec(&spec()), Ok(Settings { workers: 1, message_timeout: MESSAGE_TIMEOUT }));
        type Change = fn(&mut TopologySpec);
        let mistakes: [(Change, &str); 12] = [
            (|spec| spec.name = "-x".into(), "cannot be named `-x`"),
            (|spec| spec.name = "x".repeat(101), "at most 100"),
            (|spec| spec.name = "a/b".into(), "cannot be named `a/b`"),
            (|spec| spec.owner = "a\nb".into(), "control characters"),
            (|spec| spec.artifact = None, "names no artifact"),
            (|spec| spec.config = "[]".into(), "no JSON object"),
            (|spec| spec.config = r#"{"topology.workers": 0}"#.into(), "`topology.workers` is 0"),
            (|spec| spec.components[0].is_spout = false, "no spout"),
            (|spec| spec.components[1].executors = 5, "`count` has 5 executors and 4 tasks"),
            (|spec| spec.components[1].first_task = 2, "two components"),
            (|spec| spec.components[1].inputs[0].from = "word".into(), "`word`, which is no component"),
            (|spec| spec.definition = "x".repeat(LONGEST_SPEC), "keep long texts in files"),
        ];
        for (change, expected) in mistakes {
            let mut spec = spec();
            change(&mut spec);
            let refusal = check_spec(&spec).expect_err(expected);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand_and_the_definition_is_not_shown() {
        let spec = TopologySpec {
            definition: "password: x".into(),
            config: r#"{"db.password":"x","a":{"API_TOKEN":["x"],"b":[{"clientSecret":{"c":"x"}}]},"n":1}"#.into(),
            ..spec()
        };
        let shown = shown(&spec);
        assert_eq!(shown.definition, "");
        let masked =
            r#"{"db.password":"********","a":{"API_TOKEN":"********","b":[{"clientSecret":"********"}]},"n":1}"#;
        assert_eq!(shown.config, masked);
    }
}
