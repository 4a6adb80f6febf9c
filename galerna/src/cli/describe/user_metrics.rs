//! What components keep by name, over all their tasks.

use galerna_protocol::user_metric::Value;
use galerna_protocol::{ComponentStats, UserDistribution};
use serde_json::{Map, json};

use crate::cli::numbers::count;
use crate::cli::table::{Align, Table};

/// A line for each metric; nothing if there are none.
pub(super) fn table(components: &[ComponentStats]) -> Option<Table> {
    let left = ["component", "metric", "kind"].map(|title| (title, Align::Left));
    let right = ["value", "p50", "p99", "max"].map(|title| (title, Align::Right));
    let mut table = Table::new(left.into_iter().chain(right));
    for of in components {
        for metric in &of.user_metrics {
            let Some(value) = &metric.value else { continue };
            let cells = [of.id.clone(), plain(&metric.name)];
            table.row(cells.into_iter().chain(value_cells(value)));
        }
    }
    (!table.is_empty()).then_some(table)
}

/// A name in one line.
fn plain(name: &str) -> String {
    name.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

fn value_cells(value: &Value) -> [String; 5] {
    let none = || "-".to_owned();
    match value {
        Value::Counter(number) => ["counter".to_owned(), count(*number), none(), none(), none()],
        Value::Gauge(number) => ["gauge".to_owned(), number.to_string(), none(), none(), none()],
        Value::Histogram(UserDistribution { count: number, p50, p99, max }) => {
            ["histogram".to_owned(), count(*number), count(*p50), count(*p99), count(*max)]
        }
    }
}

/// Adds `counters`, `gauges` and `histograms` to the JSON of a component, each if there are some.
pub(super) fn add_json(component: &mut serde_json::Value, of: &ComponentStats) {
    let (mut counters, mut gauges, mut histograms) = (Map::new(), Map::new(), Map::new());
    for metric in &of.user_metrics {
        let name = metric.name.clone();
        match &metric.value {
            Some(Value::Counter(count)) => counters.insert(name, json!(count)),
            Some(Value::Gauge(value)) => gauges.insert(name, json!(value)),
            Some(Value::Histogram(UserDistribution { count, p50, p99, max })) => {
                histograms.insert(name, json!({"count": count, "p50": p50, "p99": p99, "max": max}))
            }
            None => None,
        };
    }
    for (key, metrics) in [("counters", counters), ("gauges", gauges), ("histograms", histograms)] {
        if !metrics.is_empty() {
            component[key] = metrics.into();
        }
    }
}
