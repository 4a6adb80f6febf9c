//! Reading what Prometheus reads.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Series {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// The series in the text of one pod, none of which may be there twice.
pub(super) fn read(pod: &str, text: &str) -> Result<Vec<Series>> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let series = one(line).with_context(|| format!("{pod} serves `{line}`"))?;
        ensure!(seen.insert((series.name.clone(), series.labels.clone())), "{pod} serves twice: {line}");
        all.push(series);
    }
    ensure!(!all.is_empty(), "{pod} serves no series: {text}");
    Ok(all)
}

/// `name{label="value",…} 1`. None of the tests' labels holds a quote or a comma.
fn one(line: &str) -> Result<Series> {
    let (series, value) = line.rsplit_once(' ').context("there is no value")?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').context("the labels have no end")?;
    let pairs = labels.split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').context("a label without a value")?;
        anyhow::Ok((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    let value = value.parse().context("the value is no number")?;
    Ok(Series { name: name.to_owned(), labels: labels.collect::<Result<_>>()?, value })
}
