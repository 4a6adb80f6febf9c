//! `test-words`: Storm's `TestWordSpout`.

use galerna_topology_api::{Failure, Next, Result, Spout, SpoutEmitter, Streams, TopologyContext};
use serde::Deserialize;

use super::random_words::RandomWords;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "test-words",
    aliases: &["org.apache.storm.testing.TestWordSpout"],
    summary: "Storm's TestWordSpout: one of nathan, mike, jackson, golda and bertels every 100 ms; reliable.",
    example: include_str!("test_words.yaml"),
};

/// Emits one of five names every 100 ms, as Storm's `TestWordSpout` does, in the field `word`.
///
#[doc = concat!("```yaml\n", include_str!("test_words.yaml"), "```")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestWords {
    #[serde(skip, default = "RandomWords::of_storm")]
    words: RandomWords,
}

impl Spout for TestWords {
    type MessageId = u64;

    fn output(&self) -> Streams {
        self.words.output()
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        self.words.open(context).await
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        self.words.next(out).await
    }

    async fn ready(&mut self, context: &TopologyContext) {
        self.words.ready(context).await;
    }

    async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
        self.words.ack(id, context).await
    }

    async fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.words.fail(id, failure, context).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::harness::spout;

    #[tokio::test(start_paused = true)]
    async fn one_of_the_five_names_comes_every_100_ms() {
        let mut test = spout::<TestWords>("{}").await;
        for _ in 0..3 {
            assert_eq!(test.next().await.unwrap().outcome(), (Next::Emitted, 1));
            assert_eq!(test.next().await.unwrap().outcome(), (Next::Idle, 0));
            advance(Duration::from_millis(100)).await;
        }
        let names = ["nathan", "mike", "jackson", "golda", "bertels"];
        assert!(test.rows().iter().all(|row| names.contains(&row[0].as_str().unwrap())));
    }
}
