//! `map-fields`: selects, renames and converts fields.

use std::fmt;

use galerna_topology_api::{Bolt, BoltResult, Emitter, Result, Streams, Tuple, Value, Wiring};
use serde::{Deserialize, Deserializer, de};
use smol_str::{SmolStr, StrExt};

use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "map-fields",
    aliases: &[],
    summary: "Selects, renames and converts fields, and adds constants.",
    example: include_str!("map_fields.yaml"),
};

/// Emits for each tuple one with other fields.
///
#[doc = concat!("```yaml\n", include_str!("map_fields.yaml"), "```")]
///
/// Steps of `apply` are taken in order. A value that one cannot be applied to, such as text that is
/// no number, fails the tuple; null stays null.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapFields {
    fields: Vec<Output>,
}

/// One field of the output.
#[derive(Debug)]
struct Output {
    name: SmolStr,
    source: Source,
    apply: Vec<Step>,
}

#[derive(Debug)]
enum Source {
    Field(SmolStr),
    Constant(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Upper,
    Lower,
    Trim,
    Length,
    ToText,
    ToInt,
    ToFloat,
}

/// A field as written in full.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: SmolStr,
    from: Option<SmolStr>,
    value: Option<Value>,
    #[serde(default)]
    apply: Vec<Step>,
}

impl<'de> Deserialize<'de> for Output {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrMap;

        impl<'de> de::Visitor<'de> for NameOrMap {
            type Value = Output;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field, or a map with `name` and `from`, `value` or `apply`")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Output, E> {
                let name = SmolStr::new(name);
                Ok(Output { source: Source::Field(name.clone()), name, apply: Vec::new() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Output, A::Error> {
                let written = Written::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let name = written.name;
                let source = match (written.from, written.value) {
                    (Some(_), Some(_)) => {
                        return Err(de::Error::custom(format!("field `{name}` has both `from` and `value`")));
                    }
                    (None, Some(value)) => Source::Constant(value),
                    (from, None) => Source::Field(from.unwrap_or_else(|| name.clone())),
                };
                Ok(Output { name, source, apply: written.apply })
            }
        }

        deserializer.deserialize_any(NameOrMap)
    }
}

impl Output {
    fn value(&self, tuple: &Tuple<'_>) -> Result<Value> {
        let value = match &self.source {
            Source::Field(field) => tuple.get(field)?,
            Source::Constant(value) => value,
        };
        self.apply.iter().try_fold(value.clone(), |value, step| {
            step.apply(&value).ok_or_else(|| {
                let name = &self.name;
                // In quotes, so that errors of all values are of one kind.
                let step = step.name();
                format!("cannot apply {step} to \"{value}\", a {}, for field `{name}`", value.kind()).into()
            })
        })
    }
}

impl Step {
    /// As it is written in YAML.
    fn name(self) -> &'static str {
        match self {
            Self::Upper => "upper",
            Self::Lower => "lower",
            Self::Trim => "trim",
            Self::Length => "length",
            Self::ToText => "to_text",
            Self::ToInt => "to_int",
            Self::ToFloat => "to_float",
        }
    }

    fn apply(self, value: &Value) -> Option<Value> {
        Some(match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Upper, Value::Str(text)) => text.to_uppercase_smolstr().into(),
            (Self::Lower, Value::Str(text)) => text.to_lowercase_smolstr().into(),
            (Self::Trim, Value::Str(text)) => text.trim().into(),
            (Self::Length, Value::Str(text)) => Value::Int(text.chars().count() as i64),
            (Self::Length, Value::Bytes(bytes)) => Value::Int(bytes.len() as i64),
            (Self::Length, Value::List(items)) => Value::Int(items.len() as i64),
            (Self::ToText, value) => value.to_string().into(),
            (Self::ToInt, Value::Int(number)) => Value::Int(*number),
            // Beyond 2^63 a float is no i64 any more.
            (Self::ToInt, Value::Float(number)) if number.abs() < 9.2e18 => Value::Int(*number as i64),
            (Self::ToInt, Value::Str(text)) => Value::Int(text.trim().parse().ok()?),
            (Self::ToFloat, Value::Float(number)) => Value::Float(*number),
            (Self::ToFloat, Value::Int(number)) => Value::Float(*number as f64),
            (Self::ToFloat, Value::Str(text)) => Value::Float(text.trim().parse().ok()?),
            _ => return None,
        })
    }
}

impl Bolt for MapFields {
    fn output(&self) -> Streams {
        Streams::default_fields(self.fields.iter().map(|field| field.name.clone()).collect::<Vec<_>>())
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        for field in &self.fields {
            if let Source::Field(from) = &field.source {
                wiring.expect_field("fields", from);
            }
        }
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let row = self.fields.iter().map(|field| field.value(tuple)).collect::<Result<Vec<_>>>()?;
        out.emit(row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::values;

    use super::*;
    use crate::harness::{bolt, refusal};

    #[tokio::test]
    async fn fields_are_selected_renamed_converted_and_added() {
        let properties =
            "fields: [n, {name: up, from: w, apply: [trim, upper]}, {name: size, from: w, apply: [length]},
             {name: k, value: 7}, {name: x, from: n, apply: [to_float]}]";
        let mut test = bolt::<MapFields>(properties, ["w", "n", "unused"]).await;
        test.execute(values![" süß ", "12", ()]).await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["12", "SÜSS", 5, 7, 12.0]]);
    }

    #[tokio::test]
    async fn a_value_that_does_not_convert_fails_the_tuple() {
        let mut test = bolt::<MapFields>("fields: [{name: n, apply: [to_int]}]", ["n"]).await;
        let error = test.execute(values!["twelve"]).await.into_result().unwrap_err();
        assert_eq!(error.to_string(), "cannot apply to_int to \"twelve\", a string, for field `n`");
        test.execute(values![()]).await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values![()]]);
    }

    #[test]
    fn a_field_with_two_sources_or_an_unknown_step_is_refused() {
        let error = refusal::<MapFields>("fields: [{name: n, from: a, value: 1}]");
        assert!(error.contains("field `n` has both `from` and `value`"), "{error}");
        assert!(refusal::<MapFields>("fields: [{name: n, apply: [shout]}]").contains("unknown variant `shout`"));
    }
}
