//! Reads the text of metrics back, strictly: for tests.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a sample.
pub type SampleLabels = BTreeMap<String, String>;

/// Text that keeps to the rules, of OpenMetrics if it says where it ends, else of Prometheus's older format.
#[derive(Debug, Default)]
pub struct Exposition {
    is_open: bool,
    /// Which kind each family is of; by the name that its samples begin with.
    families: BTreeMap<String, String>,
    samples: BTreeMap<(String, SampleLabels), f64>,
    /// The name that the samples here belong to.
    current: Option<String>,
}

impl Exposition {
    /// Reads all of it.
    ///
    /// # Errors
    /// With the first rule that is broken: each family has one help and one type before its samples, which
    /// stand together; none comes twice; counters end in `_total`; the buckets of histograms grow, and the last
    /// one holds all.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut read = Self { is_open: text.ends_with("\n# EOF\n") || text == "# EOF\n", ..Self::default() };
        if !text.ends_with('\n') && !text.is_empty() {
            return Err("the last line does not end".to_owned());
        }
        let mut help = None;
        for line in text.lines() {
            let place = |problem: &str| format!("{problem}: `{line}`");
            if line == "# EOF" && read.is_open {
                continue;
            }
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, text) = rest.split_once(' ').ok_or_else(|| place("help without text"))?;
                if help.replace(name).is_some() || text.is_empty() {
                    return Err(place("help that belongs to nothing"));
                }
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or_else(|| place("type without a name"))?;
                if help.take() != Some(name) {
                    return Err(place("type without help"));
                }
                read.begin(name, kind).map_err(|problem| place(&problem))?;
            } else {
                read.sample(line).map_err(|problem| place(&problem))?;
            }
        }
        read.check_histograms()?;
        Ok(read)
    }

    /// The families, by the names that are documented, each with its kind.
    pub fn families(&self) -> BTreeMap<String, String> {
        let suffix = |kind: &str| if self.is_open && kind == "counter" { "_total" } else { "" };
        self.families.iter().map(|(name, kind)| (format!("{name}{}", suffix(kind)), kind.clone())).collect()
    }

    /// The samples of this name that have these labels, among others.
    pub fn samples<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = (&'a SampleLabels, f64)> + 'a {
        let fits = |has: &SampleLabels| {
            labels.iter().all(|(name, value)| has.get(*name).map(String::as_str).unwrap_or_default() == *value)
        };
        let named = self.samples.iter().filter(move |((one, _), _)| one == name);
        named.filter(move |((_, has), _)| fits(has)).map(|((_, has), value)| (has, *value))
    }

    /// The sum of these samples; `None` if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples(name, labels).map(|(_, value)| value).reduce(|sum, value| sum + value)
    }

    fn begin(&mut self, name: &str, kind: &str) -> Result<(), String> {
        if !is_name(name) {
            return Err("that is no name".to_owned());
        }
        if !["counter", "gauge", "histogram"].contains(&kind) {
            return Err(format!("unknown kind {kind}"));
        }
        if kind != "counter" && name.ends_with("_total")
            || kind == "counter" && name.ends_with("_total") == self.is_open
        {
            return Err("`_total` belongs to counters".to_owned());
        }
        if self.families.insert(name.to_owned(), kind.to_owned()).is_some() {
            return Err("a family comes twice".to_owned());
        }
        self.current = Some(name.to_owned());
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let (name, labels, value) = split(line)?;
        let family = self.current.as_deref().ok_or("a sample before all families")?;
        let kind = self.families.get(family).map(String::as_str).unwrap_or_default();
        let suffix = name.strip_prefix(family).ok_or("a sample of another family")?;
        let is_right = match kind {
            "counter" => suffix == if self.is_open { "_total" } else { "" },
            "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
            _ => suffix.is_empty(),
        };
        if !is_right || (suffix == "_bucket") != labels.contains_key("le") {
            return Err(format!("that is no sample of a {kind}"));
        }
        if value.is_nan() || kind != "gauge" && value < 0.0 {
            return Err("that cannot be counted".to_owned());
        }
        if self.samples.insert((name, labels), value).is_some() {
            return Err("a sample comes twice".to_owned());
        }
        Ok(())
    }

    fn check_histograms(&self) -> Result<(), String> {
        for family in self.families.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut series: BTreeMap<SampleLabels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, value) in self.samples(&format!("{family}_bucket"), &[]) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap_or_default();
                let bound = bound.parse().map_err(|_| format!("{family} has the bound {bound}"))?;
                series.entry(labels).or_default().push((bound, value));
            }
            let counted = format!("{family}_count");
            let counted: BTreeSet<_> = self.samples(&counted, &[]).map(|(labels, _)| labels).collect();
            if !counted.into_iter().eq(series.keys()) {
                return Err(format!("{family} has buckets without a count, or a count without buckets"));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let one = |suffix: &str| self.samples.get(&(format!("{family}{suffix}"), labels.clone())).copied();
                let last = buckets.last().copied();
                if !buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
                    || last != one("_count").map(|count| (f64::INFINITY, count))
                    || one("_sum").is_none()
                {
                    return Err(format!("{family} {labels:?} does not add up: {buckets:?}"));
                }
            }
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

/// The name, the labels and the value of a sample.
fn split(line: &str) -> Result<(String, SampleLabels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = SampleLabels::new();
    if let Some(mut list) = rest.strip_prefix('{') {
        loop {
            let (label, after) = list.split_once("=\"").ok_or("a label without a value")?;
            if !is_name(label) {
                return Err(format!("{label} is no label"));
            }
            let (value, after) = quoted(after)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err(format!("{label} comes twice"));
            }
            match after.strip_prefix(',') {
                Some(more) => list = more,
                None => {
                    rest = after.strip_prefix('}').ok_or("labels that do not end")?;
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = value.parse().map_err(|_| format!("{value} is no number"))?;
    if !is_name(name) {
        return Err(format!("{name} is no name"));
    }
    Ok((name.to_owned(), labels, value))
}

/// What stands up to the closing quote, and what comes behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, one)) = characters.next() {
        match one {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                _ => return Err("an unknown escape".to_owned()),
            },
            _ => value.push(one),
        }
    }
    Err("a value that does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Distribution, Families, Metric};
    use super::*;

    #[test]
    fn what_families_write_is_read_back_with_strange_labels_too() {
        let strange = "a \"b\\c\"\n{d=\"e\"},";
        let mut families = Families::default();
        let mut distribution = Distribution::default();
        distribution.note(Duration::from_millis(3));
        distribution.note(Duration::from_secs(99));
        families.add(&Metric::counter("a_total", "Some.", &["b", "c"]), &[strange, ""], 7_u64);
        families.add(&Metric::gauge("d_bytes", "Some.", &[]), &[], u64::MAX);
        families.add(&Metric::histogram("e_seconds", "Some.", &["b"]), &["x"], distribution);
        families.add(&Metric::counter("a_total", "Some.", &["b", "c"]), &["", "1"], 2.5);
        let read = Exposition::read(&families.into_text()).expect("it keeps to the rules");
        assert_eq!(read.families().into_keys().collect::<Vec<_>>(), ["a_total", "d_bytes", "e_seconds"]);
        assert_eq!(read.sum("a_total", &[("b", strange)]), Some(7.0));
        assert_eq!((read.sum("a_total", &[]), read.sum("a_total", &[("b", "y")])), (Some(9.5), None));
        assert_eq!(read.sum("e_seconds_bucket", &[("le", "+Inf")]), Some(2.0));
        assert_eq!(read.sum("e_seconds_sum", &[("b", "x")]), Some(99.003));
    }

    #[test]
    fn broken_rules_are_found() {
        let family = "# HELP a Some.\n# TYPE a gauge\n";
        let histogram = "# HELP h Some.\n# TYPE h histogram\nh_sum 1\nh_count 2\n";
        assert!(Exposition::read(&format!("{family}a 1\n")).is_ok());
        assert!(Exposition::read(&format!("{histogram}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\n")).is_ok());
        for broken in [
            format!("{family}a 1\na 2\n"),
            format!("{family}a 1\n{family}"),
            format!("{family}b 1\n"),
            format!("{family}a{{x=\"1\",x=\"2\"}} 1\n"),
            format!("{family}a{{x=\"\\t\"}} 1\n"),
            format!("{family}a 1"),
            "# TYPE a gauge\na 1\n".to_owned(),
            "# HELP a Some.\n# TYPE a counter\na 1\n".to_owned(),
            "# HELP a_total Some.\n# TYPE a_total counter\na_total -1\n".to_owned(),
            "# HELP a_total Some.\n# TYPE a_total gauge\na_total 1\n".to_owned(),
            format!("{histogram}h_bucket{{le=\"1\"}} 3\nh_bucket{{le=\"+Inf\"}} 2\n"),
            format!("{histogram}h_bucket{{le=\"+Inf\"}} 1\n"),
            histogram.to_owned(),
        ] {
            assert!(Exposition::read(&broken).is_err(), "{broken}");
        }
    }
}
