//! `count-by`: how often each value comes.

mod window;

use std::collections::BTreeSet;

use galerna_topology_api::human::HumanDuration;
use galerna_topology_api::{Bolt, BoltResult, Emitter, Streams, Tuple, Value, Wiring};
use serde::Deserialize;
use smol_str::SmolStr;

use super::key::{KeyMap, key_of, values_of};
use super::{EmitWhen, ROWS_BEFORE_ROOM};
use crate::catalogue::StockType;
use window::Window;

pub(crate) const STOCK: StockType = StockType {
    name: "count-by",
    aliases: &[],
    summary: "How often each value, or combination of values, has come.",
    example: include_str!("count_by.yaml"),
};

/// Counts tuples by the values of some fields, and emits these fields and the count.
///
#[doc = concat!("```yaml\n", include_str!("count_by.yaml"), "```")]
///
/// With several tasks it wants a fields grouping by the same fields. `emit: finish` emits every
/// count when the input has ended, in the order of the values; `tick` emits those that have changed
/// since the last tick (`topology.tick.tuple.freq.secs`), and at the end; `each` emits the new count
/// for every tuple. Counts live in memory, about 70 bytes each and what text is longer than 23 bytes:
/// 3 million words take 220 MB. A tuple that is replayed counts again.
///
/// With a `window`, which goes with `emit: tick`, only what came within that time counts, to
/// within a tick; a count that falls to 0 is emitted once more.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct CountBy {
    fields: Vec<SmolStr>,
    emit: EmitWhen,
    output: SmolStr,
    counts: KeyMap<i64>,
    /// What has changed and was not emitted yet, with `emit: tick`.
    changed: BTreeSet<Value>,
    window: Option<Window>,
}

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "CountBy", deny_unknown_fields)]
struct Properties {
    fields: Vec<SmolStr>,
    #[serde(default)]
    emit: EmitWhen,
    #[serde(default = "default_output")]
    output: SmolStr,
    window: Option<HumanDuration>,
}

impl TryFrom<Properties> for CountBy {
    type Error = &'static str;

    fn try_from(properties: Properties) -> Result<Self, &'static str> {
        let Properties { fields, emit, output, window } = properties;
        if window.is_some() && emit != EmitWhen::Tick {
            return Err("a `window` moves with each tick: it needs `emit: tick`");
        }
        let (counts, changed) = Default::default();
        Ok(Self { fields, emit, output, counts, changed, window: window.map(|length| Window::new(length.0)) })
    }
}

const fn default_output() -> SmolStr {
    SmolStr::new_static("count")
}

impl CountBy {
    fn row(&self, key: &Value, count: i64) -> Vec<Value> {
        let values = values_of(key, self.fields.len()).iter().cloned();
        values.chain([Value::Int(count)]).collect()
    }

    async fn emit_all<'k>(&self, counts: impl Iterator<Item = (&'k Value, i64)> + Send, out: &mut Emitter<'_>) {
        for (index, (key, count)) in counts.enumerate() {
            if index > 0 && index % ROWS_BEFORE_ROOM == 0 {
                out.room().await;
            }
            out.emit(self.row(key, count));
        }
    }

    async fn emit_changed(&mut self, out: &mut Emitter<'_>) {
        let changed = std::mem::take(&mut self.changed);
        let counts = changed.iter().map(|key| (key, self.counts.get(key).copied().unwrap_or(0)));
        self.emit_all(counts, out).await;
    }
}

/// Lowers a count; at 0 the key is forgotten.
fn subtract(counts: &mut KeyMap<i64>, key: &Value, count: i64) {
    if let Some(all) = counts.get_mut(key) {
        *all -= count;
        if *all == 0 {
            counts.remove(key);
        }
    }
}

impl Bolt for CountBy {
    fn output(&self) -> Streams {
        let names = self.fields.iter().chain([&self.output]).cloned();
        Streams::default_fields(names.collect::<Vec<_>>())
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        self.fields.iter().for_each(|field| wiring.expect_field("fields", field));
    }

    fn needs_ticks(&self) -> bool {
        self.emit == EmitWhen::Tick
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let key = key_of(tuple, &self.fields)?;
        // Found far more often than new: the key is moved in only then.
        let count = match self.counts.get_mut(&key) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.insert(key.clone(), 1);
                1
            }
        };
        match self.emit {
            EmitWhen::Finish => {}
            EmitWhen::Tick => {
                if let Some(window) = &mut self.window {
                    window.add(key.clone());
                }
                self.changed.insert(key);
            }
            EmitWhen::Each => out.emit(self.row(&key, count)),
        }
        Ok(())
    }

    async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        if let Some(window) = &mut self.window {
            let gone = window.advance(out.context().elapsed());
            for (key, count) in gone {
                subtract(&mut self.counts, &key, count);
                self.changed.insert(key);
            }
        }
        self.emit_changed(out).await;
        Ok(())
    }

    async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        if self.emit == EmitWhen::Finish {
            let mut counts: Vec<_> = self.counts.iter().map(|(key, count)| (key, *count)).collect();
            counts.sort_unstable();
            self.emit_all(counts.into_iter(), out).await;
        }
        self.emit_changed(out).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use galerna_topology_api::values;
    use galerna_worker::testing::BoltHarness;
    use tokio::time::advance;

    use super::*;
    use crate::harness::{bolt, refusal};

    async fn counting(properties: &str) -> BoltHarness {
        let mut test = bolt::<CountBy>(properties, ["word", "lang"]).await;
        for (word, lang) in [("b", "en"), ("a", "en"), ("b", "de"), ("b", "en")] {
            test.execute(values![word, lang]).await.into_result().unwrap();
        }
        test
    }

    #[tokio::test]
    async fn counts_come_once_at_the_end_in_the_order_of_the_values() {
        let mut test = counting("{fields: [word]}").await;
        test.tick().await.into_result().unwrap();
        test.flush().await.into_result().unwrap();
        assert!(test.take_rows().is_empty());
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 1], values!["b", 3]]);
    }

    #[tokio::test]
    async fn several_fields_count_as_one() {
        let mut test = counting("{fields: [lang, word], output: n}").await;
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["de", "b", 1], values!["en", "a", 1], values!["en", "b", 2]]);
    }

    #[tokio::test]
    async fn a_tick_brings_what_has_changed_since_the_last() {
        let mut test = counting("{fields: [word], emit: tick}").await;
        test.tick().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 1], values!["b", 3]]);
        test.execute(values!["a", "en"]).await.into_result().unwrap();
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 2]]);
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_window_old_tuples_stop_counting_and_a_zero_is_told_once() {
        let mut test = counting("{fields: [word], emit: tick, window: 60s}").await;
        advance(Duration::from_secs(40)).await;
        test.tick().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 1], values!["b", 3]]);
        test.execute(values!["b", "en"]).await.into_result().unwrap();
        advance(Duration::from_secs(60)).await;
        test.tick().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 0], values!["b", 1]]);
        advance(Duration::from_secs(60)).await;
        test.tick().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["b", 0]]);
        test.tick().await.into_result().unwrap();
        assert!(test.take_rows().is_empty());
    }

    #[tokio::test]
    async fn each_tuple_brings_its_new_count() {
        let mut test = counting("{fields: [word], emit: each}").await;
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["b", 1], values!["a", 1], values!["b", 2], values!["b", 3]]);
    }

    #[tokio::test]
    async fn very_many_keys_are_emitted_in_parts() {
        let mut test = bolt::<CountBy>("{fields: [n]}", ["n"]).await;
        for number in 0..10_000 {
            test.execute(values![number]).await.into_result().unwrap();
        }
        test.finish().await.into_result().unwrap();
        let emitted = test.take_rows();
        assert_eq!(emitted.len(), 10_000);
        assert!(emitted.is_sorted());
    }

    #[test]
    fn an_unknown_property_or_a_window_without_ticks_is_refused() {
        assert!(refusal::<CountBy>("{fields: [a], emits: tick}").contains("unknown field `emits`"));
        assert!(refusal::<CountBy>("{fields: [a], window: 1m}").contains("it needs `emit: tick`"));
    }
}
