//! `filter`: passes on the tuples that meet conditions.

use std::cmp::Ordering;

use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, Tuple, Value, Wiring};
use regex::Regex;
use serde::{Deserialize, Deserializer, de};
use smol_str::SmolStr;

use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "filter",
    aliases: &[],
    summary: "Passes on the tuples of which a field meets all conditions given.",
    example: include_str!("filter.yaml"),
};

/// Passes a tuple on unchanged if a field of it meets all conditions that are given, of which there
/// must be one at least.
///
#[doc = concat!("```yaml\n", include_str!("filter.yaml"), "```")]
///
/// Integers and floats compare by their value. A field of another kind than a condition compares
/// with fails the tuple, except that `equals` and `not_equals` take any two kinds as different.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct Filter(Properties);

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "Filter", deny_unknown_fields)]
struct Properties {
    field: SmolStr,
    fields: Vec<SmolStr>,
    equals: Option<Value>,
    not_equals: Option<Value>,
    contains: Option<SmolStr>,
    #[serde(default, deserialize_with = "pattern")]
    matches: Option<Regex>,
    greater: Option<Value>,
    at_least: Option<Value>,
    less: Option<Value>,
    at_most: Option<Value>,
    #[serde(default)]
    negate: bool,
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    let Some(pattern) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    Regex::new(&pattern).map(Some).map_err(|error| de::Error::custom(format!("`{pattern}` is not a pattern: {error}")))
}

impl TryFrom<Properties> for Filter {
    type Error = &'static str;

    fn try_from(properties: Properties) -> Result<Self, &'static str> {
        let Properties { equals, not_equals, greater, at_least, less, at_most, .. } = &properties;
        let values = [equals, not_equals, greater, at_least, less, at_most];
        let has_one = values.iter().any(|value| value.is_some());
        if !has_one && properties.contains.is_none() && properties.matches.is_none() {
            return Err("a filter needs a condition: equals, not_equals, contains, matches, greater, at_least, \
                        less or at_most");
        }
        Ok(Self(properties))
    }
}

impl Filter {
    fn is_met(&self, tuple: &Tuple<'_>) -> galerna_topology_api::Result<bool> {
        let conditions = &self.0;
        let field = &conditions.field;
        let value = tuple.get(field)?;
        let equality = |wanted: &Option<Value>, is_wanted| {
            wanted.as_ref().is_none_or(|wanted| (compare(value, wanted) == Some(Ordering::Equal)) == is_wanted)
        };
        let text = |test: &dyn Fn(&str) -> bool| tuple.str(field).map(test);
        let order = |limit: &Option<Value>, accepted: &[Ordering]| {
            let Some(limit) = limit else { return Ok(true) };
            let order = compare(value, limit).ok_or_else(|| {
                format!("field `{field}` is {}, which does not compare with {limit}, a {}", value.kind(), limit.kind())
            })?;
            Ok::<_, String>(accepted.contains(&order))
        };
        Ok(equality(&conditions.equals, true)
            && equality(&conditions.not_equals, false)
            && conditions.contains.as_ref().map_or(Ok(true), |part| text(&|all| all.contains(part.as_str())))?
            && conditions.matches.as_ref().map_or(Ok(true), |pattern| text(&|all| pattern.is_match(all)))?
            && order(&conditions.greater, &[Ordering::Greater])?
            && order(&conditions.at_least, &[Ordering::Greater, Ordering::Equal])?
            && order(&conditions.less, &[Ordering::Less])?
            && order(&conditions.at_most, &[Ordering::Less, Ordering::Equal])?)
    }
}

/// How two values compare, if they do: those of one kind, and numbers.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (a, b) => (a.kind() == b.kind()).then(|| a.cmp(b)),
    }
}

impl Bolt for Filter {
    fn output(&self) -> Streams {
        Streams::default_fields(self.0.fields.clone())
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        wiring.expect_field("field", &self.0.field);
        self.0.fields.iter().for_each(|field| wiring.expect_field("fields", field));
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        if self.is_met(tuple)? != self.0.negate {
            let row = self.0.fields.iter().map(|field| tuple.get(field).cloned()).collect::<Result<Vec<_>, _>>()?;
            out.emit(row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::values;

    use super::*;
    use crate::harness::{bolt, refusal};

    /// The words of those rows that pass.
    async fn passing(conditions: &str, field: &str) -> Vec<String> {
        let properties = format!("{{field: {field}, fields: [word], {conditions}}}");
        let mut test = bolt::<Filter>(&properties, ["word", "n"]).await;
        for row in [values!["one", 1], values!["two", 2.0], values!["three", 3]] {
            test.execute(row).await.into_result().unwrap();
        }
        test.take_rows().into_iter().map(|row| row[0].to_string()).collect()
    }

    #[tokio::test]
    async fn each_condition_passes_what_it_says() {
        for (conditions, field, expected) in [
            ("equals: two", "word", vec!["two"]),
            ("not_equals: two", "word", vec!["one", "three"]),
            ("contains: o", "word", vec!["one", "two"]),
            ("matches: '^t.*e$'", "word", vec!["three"]),
            ("equals: 2", "n", vec!["two"]),
            ("greater: 1", "n", vec!["two", "three"]),
            ("at_least: 2, less: 3", "n", vec!["two"]),
            ("at_most: 1.5", "n", vec!["one"]),
            ("greater: 1, negate: true", "n", vec!["one"]),
            ("equals: '1'", "n", vec![]),
        ] {
            assert_eq!(passing(conditions, field).await, expected, "{conditions}");
        }
    }

    #[tokio::test]
    async fn kinds_that_do_not_compare_fail_the_tuple() {
        let mut test = bolt::<Filter>("{field: n, fields: [n], greater: 1}", ["n"]).await;
        let error = test.execute(values!["x"]).await.into_result().unwrap_err();
        assert_eq!(error.to_string(), "field `n` is string, which does not compare with 1, a i64");
    }

    #[test]
    fn a_filter_without_condition_or_with_a_broken_pattern_is_refused() {
        assert!(refusal::<Filter>("{field: n, fields: [n]}").contains("a filter needs a condition"));
        assert!(refusal::<Filter>("{field: n, fields: [n], matches: '('}").contains("`(` is not a pattern"));
    }
}
