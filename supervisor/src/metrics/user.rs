//! What components keep by name: counters and gauges of tasks, histograms of components.
//!
//! Users choose the names, so the names become part of the names of metrics: `galerna_user_<name>`. Characters that
//! Prometheus does not take become `_`, and metrics whose names are equal then are one.

use std::collections::BTreeMap;

use galerna_coordination::metrics::{Families, Kind, Metric, Numbers, Value};
use galerna_protocol::{ComponentSpec, HistogramReport, MOST_USER_METRICS};

use super::Topology;
use super::tasks::{has, runs};

const TASK: &[&str] = &["topology", "topology_id", "component", "task"];
const COMPONENT: &[&str] = &["topology", "topology_id", "component"];

const COUNTER: Metric = Metric::counter("galerna_user_total", "A counter that components keep.", TASK);
const GAUGE: Metric = Metric::gauge("galerna_user", "A gauge that components keep.", TASK);
const HISTOGRAM: Metric = Metric::histogram("galerna_user", "A histogram that components keep.", COMPONENT);

/// Names that are longer are cut off.
const LONGEST_NAME: usize = 100;

/// Endings that samples of counters and histograms have.
const RESERVED: [&str; 6] = ["_total", "_bucket", "_count", "_sum", "_created", "_info"];

/// Adds all metrics that components keep. The names of counters come first: if a gauge or a histogram has the
/// name of a counter, its kind becomes part of its name.
pub(super) fn add(families: &mut Families, topologies: &[Topology<'_>]) {
    let mut taken = BTreeMap::new();
    for kind in [Kind::Counter, Kind::Gauge, Kind::Histogram] {
        for topology in topologies {
            for component in &topology.spec.components {
                add_component(families, &mut taken, topology, component, kind);
            }
        }
    }
}

fn add_component(
    families: &mut Families,
    taken: &mut BTreeMap<String, Kind>,
    topology: &Topology<'_>,
    component: &ComponentSpec,
    kind: Kind,
) {
    let labels = [&*topology.spec.name, topology.id, &*component.id];
    let (metric, values) = match kind {
        Kind::Counter => (&COUNTER, counters(topology, component)),
        Kind::Gauge => (&GAUGE, gauges(topology, component)),
        Kind::Histogram => (&HISTOGRAM, histograms(topology, component)),
    };
    for (name, values) in values.into_iter().take(MOST_USER_METRICS) {
        let name = family_name(&name, kind, taken);
        for (task, value) in values {
            let task = task.map(|task| task.to_string());
            let labels: Vec<&str> = labels.into_iter().chain(task.as_deref()).collect();
            families.add_named(&name, metric, &labels, value);
        }
    }
}

/// The values of each name, by task where they are of tasks.
type Values = BTreeMap<String, BTreeMap<Option<u32>, Value>>;

fn counters(topology: &Topology<'_>, component: &ComponentSpec) -> Values {
    let mut sums: BTreeMap<(String, u32), u64> = BTreeMap::new();
    for task in topology.reports.iter().flat_map(|report| &report.tasks).filter(|task| has(component, task.task)) {
        for (name, count) in task.user_metrics.iter().flat_map(|user| &user.counters) {
            let name = exported(name);
            let name = name.strip_suffix("_total").unwrap_or(&name).to_owned();
            let sum = sums.entry((name, task.task)).or_default();
            *sum = sum.saturating_add(*count);
        }
    }
    by_name(sums.into_iter().map(|((name, task), sum)| (name, Some(task), sum.into())))
}

fn gauges(topology: &Topology<'_>, component: &ComponentSpec) -> Values {
    let mut sums: BTreeMap<(String, u32), f64> = BTreeMap::new();
    for report in &topology.reports {
        let running = report.tasks.iter().filter(|task| has(component, task.task) && runs(report, task.task));
        for task in running {
            for (name, value) in task.user_metrics.iter().flat_map(|user| &user.gauges) {
                *sums.entry((exported(name), task.task)).or_default() += value;
            }
        }
    }
    by_name(sums.into_iter().map(|((name, task), sum)| (name, Some(task), sum.into())))
}

fn histograms(topology: &Topology<'_>, component: &ComponentSpec) -> Values {
    let mut sums: BTreeMap<String, Numbers> = BTreeMap::new();
    let reported = topology.reports.iter().flat_map(|report| &report.user_histograms);
    for of in reported.filter(|of| of.component == component.id) {
        for (name, HistogramReport { values, counts }) in &of.histograms {
            let sum = sums.entry(exported(name)).or_default();
            values.iter().zip(counts).for_each(|(value, count)| sum.note_many(*value, *count));
        }
    }
    by_name(sums.into_iter().map(|(name, sum)| (name, None, sum.into())))
}

fn by_name(values: impl Iterator<Item = (String, Option<u32>, Value)>) -> Values {
    let mut all = Values::new();
    for (name, task, value) in values {
        all.entry(name).or_default().insert(task, value);
    }
    all
}

/// A name of which nothing but letters, digits and `_` is left.
fn exported(name: &str) -> String {
    let plain = |one: char| if one.is_ascii_alphanumeric() { one } else { '_' };
    name.chars().take(LONGEST_NAME).map(plain).collect()
}

/// The name of the family. `taken` are the names that are given already, without the ending of counters.
fn family_name(name: &str, kind: Kind, taken: &mut BTreeMap<String, Kind>) -> String {
    let mut base = format!("galerna_user_{name}");
    let is_reserved = kind != Kind::Counter && RESERVED.iter().any(|ending| base.ends_with(ending));
    while is_reserved && !base.ends_with(&format!("_{kind}")) || *taken.entry(base.clone()).or_insert(kind) != kind {
        base = format!("{base}_{kind}");
    }
    if kind == Kind::Counter { base + "_total" } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_and_kinds_keep_apart() {
        assert_eq!(exported("cache.hits/é-1"), "cache_hits___1");
        let mut taken = BTreeMap::new();
        let names = [
            ("hits", Kind::Counter, "galerna_user_hits_total"),
            ("hits", Kind::Counter, "galerna_user_hits_total"),
            ("size", Kind::Gauge, "galerna_user_size"),
            ("hits", Kind::Gauge, "galerna_user_hits_gauge"),
            ("hits", Kind::Gauge, "galerna_user_hits_gauge"),
            ("bytes_count", Kind::Gauge, "galerna_user_bytes_count_gauge"),
            ("bytes", Kind::Histogram, "galerna_user_bytes"),
            ("size", Kind::Histogram, "galerna_user_size_histogram"),
        ];
        for (name, kind, expected) in names {
            assert_eq!(family_name(name, kind, &mut taken), expected);
        }
    }
}
