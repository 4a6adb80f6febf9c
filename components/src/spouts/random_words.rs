//! `random-words`: words picked at random.

use galerna_topology_api::{
    DeadLetters, Next, OnGiveUp, Result, Retries, SpoutEmitter, Streams, TopologyContext, Value,
};
use serde::Deserialize;
use smol_str::SmolStr;

use super::made::{Maker, made_spout};
use super::retries::spout_with_retries;
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "random-words",
    aliases: &[],
    summary: "Words picked at random, at a rate or as fast as can be; reliable.",
    example: include_str!("random_words.yaml"),
};

/// Emits words picked at random from a list.
///
#[doc = concat!("```yaml\n", include_str!("random_words.yaml"), "```")]
///
/// `count` and `rate` are those of all tasks together. With a `seed` each task picks the same words
/// in each run, and other words than the other tasks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct RandomWords {
    #[serde(default = "winds", deserialize_with = "at_least_one")]
    words: Vec<SmolStr>,
    count: Option<u64>,
    #[serde(default, deserialize_with = "super::pace::rate")]
    rate: Option<f64>,
    seed: Option<u64>,
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default)]
    retries: Retries,
    on_give_up: Option<OnGiveUp>,
    dead_letter: Option<DeadLetters>,
    #[serde(skip)]
    random: Option<fastrand::Rng>,
    #[serde(skip)]
    maker: Option<Maker>,
}

const fn default_output() -> SmolStr {
    SmolStr::new_static("word")
}

const WINDS: [&str; 32] = [
    "galerna",
    "mistral",
    "tramontana",
    "sirocco",
    "levante",
    "poniente",
    "bora",
    "foehn",
    "meltemi",
    "ostro",
    "libeccio",
    "gregale",
    "khamsin",
    "harmattan",
    "simoom",
    "haboob",
    "shamal",
    "monsoon",
    "chinook",
    "santa-ana",
    "norther",
    "pampero",
    "zonda",
    "sudestada",
    "williwaw",
    "squall",
    "gale",
    "breeze",
    "zephyr",
    "typhoon",
    "hurricane",
    "storm",
];

fn winds() -> Vec<SmolStr> {
    WINDS.iter().map(|wind| SmolStr::new_static(wind)).collect()
}

fn at_least_one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<SmolStr>, D::Error> {
    let words = Vec::<SmolStr>::deserialize(deserializer)?;
    if words.is_empty() { Err(serde::de::Error::custom("`words` is empty, expected at least one")) } else { Ok(words) }
}

impl RandomWords {
    /// The words and the pace of Storm's `TestWordSpout`.
    pub(super) fn of_storm() -> Self {
        let names = ["nathan", "mike", "jackson", "golda", "bertels"];
        Self {
            words: names.map(SmolStr::new_static).into(),
            count: None,
            rate: Some(10.0),
            seed: None,
            output: default_output(),
            retries: Retries::default(),
            on_give_up: None,
            dead_letter: None,
            random: None,
            maker: None,
        }
    }

    fn streams(&self) -> Streams {
        let own = Streams::default_fields([self.output.clone()]);
        self.policy().map_or_else(|_| Streams::none(), |policy| policy.output(own))
    }

    fn start(&mut self, context: &TopologyContext) -> Result<()> {
        let task = u64::from(context.task_index());
        self.random = Some(match self.seed {
            Some(seed) => fastrand::Rng::with_seed(seed.wrapping_add(task.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
            None => fastrand::Rng::new(),
        });
        self.maker = Some(Maker::new(self.count, self.rate, self.policy()?, context)?);
        Ok(())
    }

    fn row(&mut self, _: u64) -> Vec<Value> {
        let random = self.random.get_or_insert_with(fastrand::Rng::new);
        vec![self.words[random.usize(..self.words.len())].clone().into()]
    }
}

spout_with_retries!(RandomWords);
made_spout!(RandomWords);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{refusal, spout_task};

    #[tokio::test]
    async fn a_seed_picks_the_same_words_again_and_others_in_another_task() {
        let mut runs = Vec::new();
        for task in [0, 0, 1] {
            let test = spout_task::<RandomWords>("{words: [a, b, c], count: 100, seed: 7}", task, 2).await.unwrap();
            runs.push(test.complete().await.unwrap());
        }
        assert_eq!(runs[0].len(), 50);
        assert_eq!(runs[0], runs[1]);
        assert_ne!(runs[0], runs[2]);
    }

    #[test]
    fn an_empty_list_of_words_is_refused() {
        assert!(refusal::<RandomWords>("{words: []}").contains("`words` is empty"));
    }
}
