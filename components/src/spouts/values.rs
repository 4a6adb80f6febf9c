//! `values`: rows that stand in the YAML, for tests.

use galerna_topology_api::{
    DeadLetters, Fields, Next, OnGiveUp, Result, Retries, RetryPolicy, SpoutEmitter, Streams, TopologyContext, Value,
};
use serde::Deserialize;
use smol_str::SmolStr;

use super::made::{Maker, made_spout};
use super::retries::retry_policy;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "values",
    aliases: &[],
    summary: "Rows that stand in the YAML, once each; reliable. For tests.",
    example: include_str!("values.yaml"),
};

/// Emits the rows that are given, once each, and ends.
///
#[doc = concat!("```yaml\n", include_str!("values.yaml"), "```")]
///
/// Several tasks deal the rows among themselves, in turns.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct Values {
    properties: Properties,
    policy: RetryPolicy,
    /// The first row of this task, and the step to its next.
    places: (usize, usize),
    maker: Option<Maker>,
}

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "Values", deny_unknown_fields)]
struct Properties {
    fields: Vec<SmolStr>,
    rows: Vec<Vec<Value>>,
    #[serde(default)]
    retries: Retries,
    on_give_up: Option<OnGiveUp>,
    dead_letter: Option<DeadLetters>,
}

retry_policy!(Properties);

impl TryFrom<Properties> for Values {
    type Error = String;

    fn try_from(properties: Properties) -> Result<Self, String> {
        let fields = Fields::new(properties.fields.iter().cloned());
        for (index, row) in properties.rows.iter().enumerate() {
            if row.len() != fields.len() {
                return Err(format!("row {} has {} values, the fields are {fields}", index + 1, row.len()));
            }
        }
        let policy = properties.policy().map_err(|error| error.to_string())?;
        Ok(Self { properties, policy, places: (0, 1), maker: None })
    }
}

impl Values {
    fn streams(&self) -> Streams {
        self.policy.output(Streams::default_fields(Fields::new(self.properties.fields.iter().cloned())))
    }

    fn start(&mut self, context: &TopologyContext) -> Result<()> {
        self.places = (context.task_index() as usize, context.task_count() as usize);
        let rows = self.properties.rows.len() as u64;
        self.maker = Some(Maker::new(Some(rows), None, self.policy.clone(), context)?);
        Ok(())
    }

    fn row(&mut self, index: u64) -> Vec<Value> {
        self.properties.rows[self.places.0 + index as usize * self.places.1].clone()
    }
}

made_spout!(Values);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use galerna_topology_api::values;
    use tokio::time::advance;

    use super::*;
    use crate::harness::{refusal, spout, spout_task};

    const ROWS: &str = "{fields: [a, b], rows: [[1, x], [2, y], [3, null]], retries: {limit: 1, backoff: 1s}}";

    #[tokio::test]
    async fn each_row_comes_once_over_all_tasks() {
        let first = spout_task::<Values>(ROWS, 0, 2).await.unwrap().complete().await.unwrap();
        let second = spout_task::<Values>(ROWS, 1, 2).await.unwrap().complete().await.unwrap();
        assert_eq!(first, [values![1, "x"], values![3, ()]]);
        assert_eq!(second, [values![2, "y"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_row_comes_again_after_its_back_off_and_is_given_up_at_the_limit() {
        let mut test = spout::<Values>(ROWS).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 3));
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Exhausted, 0));
        test.fail(1).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
        advance(Duration::from_secs(1)).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 1));
        assert_eq!(test.rows()[3], values![2, "y"]);
        test.fail(3).await;
        assert_eq!(test.next().await.unwrap().outcome(), (Next::Exhausted, 0));
        assert_eq!(test.given_up(), [values![2, "y"].to_vec()]);
    }

    #[test]
    fn a_row_that_does_not_fit_the_fields_is_refused() {
        assert!(refusal::<Values>("{fields: [a], rows: [[1], [2, 3]]}").contains("row 2 has 2 values"));
    }
}
