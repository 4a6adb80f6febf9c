//! `test-word-counter`: Storm's `TestWordCounter`.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, Tuple, values};
use serde::Deserialize;

use super::key::KeyMap;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "test-word-counter",
    aliases: &["org.apache.storm.testing.TestWordCounter"],
    summary: "Storm's TestWordCounter: counts by the first field, whatever its name, and emits each new count.",
    example: include_str!("test_word_counter.yaml"),
};

/// Counts by the first field of its input, whatever that is called, and emits `word` and `count` for
/// every tuple, as Storm's `TestWordCounter` does.
///
#[doc = concat!("```yaml\n", include_str!("test_word_counter.yaml"), "```")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestWordCounter {
    #[serde(skip)]
    counts: KeyMap<i64>,
}

impl Bolt for TestWordCounter {
    fn output(&self) -> Streams {
        Streams::default_fields(["word", "count"])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let word = tuple.get(0)?;
        let count = self.counts.entry(word.clone()).or_default();
        *count += 1;
        out.emit(values![word, *count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::bolt;

    #[tokio::test]
    async fn the_first_field_is_counted_whatever_its_name() {
        let mut test = bolt::<TestWordCounter>("{}", ["anything", "other"]).await;
        for word in ["mike", "golda", "mike"] {
            test.execute(values![word, 7]).await.into_result().unwrap();
        }
        assert_eq!(test.take_rows(), [values!["mike", 1], values!["golda", 1], values!["mike", 2]]);
    }
}
