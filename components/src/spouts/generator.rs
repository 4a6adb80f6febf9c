//! `generator`: numbers, for tests and benchmarks.

use galerna_topology_api::human::ByteSize;
use galerna_topology_api::{
    DeadLetters, Fields, Next, OnGiveUp, Result, Retries, RetryPolicy, SpoutEmitter, Streams, TopologyContext, Value,
};
use serde::Deserialize;
use smol_str::SmolStr;

use super::made::{Maker, made_spout};
use super::retries::retry_policy;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "generator",
    aliases: &[],
    summary: "Numbers from 0 up, with a payload if asked, at a rate or as fast as can be; reliable.",
    example: include_str!("generator.yaml"),
};

/// Emits the numbers from 0 up, and beside each a text of a given size if asked.
///
#[doc = concat!("```yaml\n", include_str!("generator.yaml"), "```")]
///
/// `count` and `rate` are those of all tasks together; no number comes twice unless it failed. The
/// fields are `number` and, with a payload, `payload`, unless other names are given.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct Generator {
    properties: Properties,
    fields: Fields,
    payload: Option<Value>,
    policy: RetryPolicy,
    /// The first number of this task, and the step to its next.
    numbers: (u64, u64),
    maker: Option<Maker>,
}

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "Generator", deny_unknown_fields)]
struct Properties {
    count: Option<u64>,
    #[serde(default, deserialize_with = "super::pace::rate")]
    rate: Option<f64>,
    #[serde(default)]
    payload: ByteSize,
    fields: Option<Vec<SmolStr>>,
    #[serde(default)]
    retries: Retries,
    on_give_up: Option<OnGiveUp>,
    dead_letter: Option<DeadLetters>,
}

/// More would not be a test but an accident.
const LARGEST_PAYLOAD: u64 = 64 << 20;

retry_policy!(Properties);

impl TryFrom<Properties> for Generator {
    type Error = String;

    fn try_from(properties: Properties) -> Result<Self, String> {
        let bytes = properties.payload.0;
        if bytes > LARGEST_PAYLOAD {
            return Err(format!("a payload of {bytes} bytes is too large; the limit is 64MiB"));
        }
        let defaults: &[&'static str] = if bytes > 0 { &["number", "payload"] } else { &["number"] };
        let fields = match &properties.fields {
            Some(names) if names.len() != defaults.len() => {
                return Err(format!("{} names in `fields`, expected {} for {defaults:?}", names.len(), defaults.len()));
            }
            Some(names) => Fields::new(names.iter().cloned()),
            None => Fields::new(defaults.iter().copied()),
        };
        let policy = properties.policy().map_err(|error| error.to_string())?;
        let payload = (bytes > 0).then(|| Value::from("x".repeat(bytes as usize)));
        Ok(Self { properties, fields, payload, policy, numbers: (0, 1), maker: None })
    }
}

impl Generator {
    fn streams(&self) -> Streams {
        self.policy.output(Streams::default_fields(self.fields.clone()))
    }

    fn start(&mut self, context: &TopologyContext) -> Result<()> {
        let Properties { count, rate, .. } = self.properties;
        self.numbers = (context.task_index().into(), context.task_count().into());
        self.maker = Some(Maker::new(count, rate, self.policy.clone(), context)?);
        Ok(())
    }

    fn row(&mut self, index: u64) -> Vec<Value> {
        let number = Value::Int((self.numbers.0 + index * self.numbers.1) as i64);
        std::iter::once(number).chain(self.payload.clone()).collect()
    }
}

made_spout!(Generator);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::harness::{refusal, spout, spout_task};

    #[tokio::test]
    async fn tasks_share_the_numbers_without_gap_or_double() {
        let mut numbers = Vec::new();
        for task in 0..3 {
            let test = spout_task::<Generator>("{count: 200, payload: 3}", task, 3).await.unwrap();
            numbers.extend(test.complete().await.unwrap().into_iter().map(|row| {
                assert_eq!(row[1], Value::from("xxx"));
                row[0].as_i64().unwrap()
            }));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_and_missed_time_made_up_for() {
        let mut test = spout::<Generator>("{rate: 10}").await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 1));
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
        advance(Duration::from_millis(500)).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 5));
        advance(Duration::from_secs(3600)).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 1));
    }

    #[test]
    fn names_that_do_not_fit_the_values_are_refused() {
        let error = refusal::<Generator>("{fields: [a, b]}");
        assert!(error.contains(r#"2 names in `fields`, expected 1 for ["number"]"#), "{error}");
        assert!(refusal::<Generator>("{rate: 0}").contains("a rate of 0 is not one"));
    }
}
