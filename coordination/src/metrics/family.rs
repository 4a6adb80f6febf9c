//! Families of samples, each with its description, and their text.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::distribution::Distribution;
use super::numbers::Numbers;

/// Which numbers a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They only grow while the daemon runs.
    Counter,
    /// They go up and down.
    Gauge,
    /// Distributions.
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// The description of a metric: what is documented and exported is made from the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit, and `_total` at the end of a counter's.
    pub name: &'static str,
    /// Which numbers it has.
    pub kind: Kind,
    /// What it means, as a sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// Something that only grows.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Counter, help, labels }
    }

    /// Something that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Gauge, help, labels }
    }

    /// Something that is distributed.
    pub const fn histogram(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Histogram, help, labels }
    }
}

/// A value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any number.
    Real(f64),
    /// A distribution of times.
    Distributed(Distribution),
    /// A distribution of numbers.
    Numbers(Numbers),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<Distribution> for Value {
    fn from(value: Distribution) -> Self {
        Self::Distributed(value)
    }
}

impl From<Numbers> for Value {
    fn from(value: Numbers) -> Self {
        Self::Numbers(value)
    }
}

/// Families in the order in which their first samples came.
#[derive(Debug, Default)]
pub struct Families {
    families: Vec<Family>,
}

#[derive(Debug)]
struct Family {
    name: Cow<'static, str>,
    kind: Kind,
    help: &'static str,
    samples: Vec<(Labels, Value)>,
}

impl Family {
    /// What OpenMetrics calls it: the suffix of counters belongs to their samples.
    fn open_name(&self) -> &str {
        match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(&self.name),
            _ => &self.name,
        }
    }
}

#[derive(Debug)]
struct Labels {
    names: &'static [&'static str],
    values: Vec<String>,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        for label in self.names.iter().copied().zip(self.values.iter().map(String::as_str)) {
            label.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

impl Families {
    /// Adds a sample; the labels' values in the order of the metric's labels. No two of one metric may have
    /// the same.
    ///
    /// # Panics
    /// In debug builds, if there are too few or too many values of labels.
    pub fn add(&mut self, metric: &Metric, labels: &[&str], value: impl Into<Value>) {
        self.add_to(Cow::Borrowed(metric.name), metric, labels, value.into());
    }

    /// As [`add`](Self::add), to a family of another name, which users have chosen. The name ends in `_total` if the
    /// metric is a counter.
    ///
    /// # Panics
    /// In debug builds, if there are too few or too many values of labels.
    pub fn add_named(&mut self, name: &str, metric: &Metric, labels: &[&str], value: impl Into<Value>) {
        self.add_to(Cow::Owned(name.to_owned()), metric, labels, value.into());
    }

    fn add_to(&mut self, name: Cow<'static, str>, metric: &Metric, labels: &[&str], value: Value) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "labels of {name}");
        let labels = Labels { names: metric.labels, values: labels.iter().map(|&value| value.to_owned()).collect() };
        let sample = (labels, value);
        // Mostly the last one, or one of few.
        match self.families.iter_mut().rev().find(|family| family.name == name) {
            Some(family) => family.samples.push(sample),
            None => {
                let (kind, help) = (metric.kind, metric.help);
                self.families.push(Family { name, kind, help, samples: vec![sample] });
            }
        }
    }

    /// All of them, in the text format of OpenMetrics.
    pub fn into_text(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        if text::encode(&mut text, &registry).is_err() {
            // Nothing of ours fails to be written into a string.
            tracing::error!("metrics cannot be written");
        }
        text
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for family in &self.families {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(family.open_name(), family.help, None, kind)?;
            for (labels, value) in &family.samples {
                match labels.names {
                    [] => write(&mut encoder, family.kind, value)?,
                    _ => write(&mut encoder.encode_family(labels)?, family.kind, value)?,
                }
            }
        }
        Ok(())
    }
}

fn write(sample: &mut MetricEncoder, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => sample.encode_counter(value, NO_EXEMPLAR),
        (Kind::Counter, Value::Real(value)) => sample.encode_counter(value, NO_EXEMPLAR),
        (_, Value::Whole(value)) => sample.encode_gauge(value),
        (_, Value::Real(value)) => sample.encode_gauge(value),
        (_, Value::Distributed(value)) => {
            let buckets: Vec<(f64, u64)> = value.buckets().collect();
            sample.encode_histogram::<NoLabelSet>(value.sum(), value.count(), &buckets, None)
        }
        (_, Value::Numbers(value)) => {
            let buckets: Vec<(f64, u64)> = value.buckets().collect();
            sample.encode_histogram::<NoLabelSet>(value.sum(), value.count(), &buckets, None)
        }
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;
