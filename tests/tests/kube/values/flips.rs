//! What each value of the chart is changed to.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

/// A value that is changed alone.
#[derive(Debug)]
pub(super) struct Flip {
    /// Where it stands, such as `nimbus.replicas`.
    pub(super) path: String,
    /// What else has to be set so that it shows.
    pub(super) background: Value,
    /// The background, and the change.
    pub(super) values: Value,
}

/// Values that only show when others are set: the beginning of their paths, and those others.
fn background(path: &str) -> Value {
    let external = json!({
        "etcd": {"enabled": false},
        "externalEtcd": {
            "endpoints": ["https://etcd.example:2379"],
            "tls": {"secretName": "etcd-tls", "cert": "tls.crt", "key": "tls.key"},
            "auth": {"secretName": "etcd-user"},
        },
    });
    match path {
        _ if path.starts_with("externalEtcd.") => external,
        "metrics.serviceMonitor.enabled" | "metrics.dashboard.enabled" => json!({}),
        _ if path.starts_with("metrics.serviceMonitor.") => json!({"metrics": {"serviceMonitor": {"enabled": true}}}),
        _ if path.starts_with("metrics.dashboard.") => json!({"metrics": {"dashboard": {"enabled": true}}}),
        "nimbus.persistence.enabled" => json!({}),
        _ if path.starts_with("nimbus.persistence.") => json!({"nimbus": {"persistence": {"enabled": true}}}),
        _ if path.starts_with("etcd.podDisruptionBudget.") => json!({"etcd": {"replicas": 3}}),
        "topologiesTimeout" => json!({"topologies": [{"name": "one", "definition": "name: one"}]}),
        _ if path.starts_with("jobResources.") => json!({"prune": true}),
        _ => json!({}),
    }
}

/// What only some texts, numbers, lists or objects may stand for: by path, or by its last part.
fn special(path: &str) -> Option<Value> {
    let last = path.rsplit('.').next().unwrap_or_default();
    let by_path = match path {
        "etcd.enabled" => {
            return Some(
                json!({"etcd": {"enabled": false}, "externalEtcd": {"endpoints": ["http://etcd.example:2379"]}}),
            );
        }
        "etcd.replicas" => json!(3),
        "etcd.autoCompaction.mode" => json!("revision"),
        "etcd.livenessPath" => json!("/livez"),
        "nimbus.service.type" => json!("NodePort"),
        "externalEtcd.endpoints" => json!(["https://one.example:2379", "https://two.example:2379"]),
        "supervisor.memory" => json!("3GiB"),
        "supervisor.workerMemory" | "nimbus.artifactLimit" => json!("700MiB"),
        "supervisor.cpu" => json!("150"),
        "topologies" => {
            json!([{"name": "one", "definition": "name: one\n", "workers": 2, "set": {"a": "b"}, "config": {"topology.debug": true}}])
        }
        "metrics.serviceMonitor.interval" => json!("1m"),
        "metrics.serviceMonitor.scrapeTimeout" => json!("5s"),
        "networkPolicy.workers" => json!([{"ports": [{"port": 5140}]}]),
        "extraObjects" => {
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}, "data": {"a": "b"}}])
        }
        "podSecurityContext.seccompProfile.type" => json!("Unconfined"),
        "podSecurityContext.fsGroupChangePolicy" => json!("Always"),
        "log" => json!("debug"),
        _ => Value::Null,
    };
    let by_name = match last {
        "pullPolicy" => json!("Always"),
        "imagePullSecrets" => json!([{"name": "registry"}]),
        "extraArgs" => json!(["--lease=3"]),
        "extraEnv" => json!([{"name": "A", "value": "b"}]),
        "extraEnvFrom" => json!([{"configMapRef": {"name": "more"}}]),
        "extraVolumes" => json!([{"name": "more", "emptyDir": {}}]),
        "extraVolumeMounts" => json!([{"name": "data", "mountPath": "/more"}]),
        "tolerations" => json!([{"key": "dedicated", "operator": "Exists"}]),
        "affinity" => json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}
        ]}}}),
        "topologySpreadConstraints" => json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"a": "b"}},
        }]),
        "retention" => json!("2h"),
        _ => Value::Null,
    };
    [by_path, by_name].into_iter().find(|value| !value.is_null()).map(|value| nested(path, value))
}

/// Every leaf of the values, changed.
pub(super) fn all_flips(values: &Value) -> Result<Vec<Flip>> {
    let mut flips = Vec::new();
    collect(values, "", &mut flips)?;
    Ok(flips)
}

fn collect(value: &Value, path: &str, flips: &mut Vec<Flip>) -> Result<()> {
    if let Value::Object(map) = value
        && !map.is_empty()
    {
        for (key, value) in map {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            collect(value, &path, flips)?;
        }
        return Ok(());
    }
    let background = background(path);
    let change = match special(path) {
        Some(change) => change,
        None => nested(path, changed(value, path)?),
    };
    let mut values = background.clone();
    merge(&mut values, change);
    flips.push(Flip { path: path.to_owned(), background, values });
    Ok(())
}

/// Another value of the same kind.
fn changed(value: &Value, path: &str) -> Result<Value> {
    Ok(match value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => match number.as_i64() {
            Some(number) => json!(number + 1),
            None => json!(number.as_f64().unwrap_or_default() + 1.0),
        },
        Value::String(text) => json!(another(text)),
        Value::Array(items) if !items.is_empty() => json!([]),
        Value::Array(_) => bail!("`{path}` is a list: say in `special` what could stand in it"),
        Value::Object(_) => json!({"example.com/flipped": "yes"}),
        Value::Null => json!("flipped"),
    })
}

/// `250m` becomes `500m`, which a limit above it allows; `ca.crt` becomes `ca.crt-flipped`.
fn another(text: &str) -> String {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    match (number.parse::<u64>(), unit) {
        (Ok(number), "m" | "Ki" | "Mi" | "Gi" | "s") => format!("{}{unit}", number * 2),
        _ if text.is_empty() => "flipped".to_owned(),
        _ => format!("{text}-flipped"),
    }
}

/// `a.b` and a value give `{a: {b: value}}`.
fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |value, key| Value::Object(Map::from_iter([(key.to_owned(), value)])))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) if !from.is_empty() => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
