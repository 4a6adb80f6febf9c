//! `top-n`: the rows that rank highest.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Fields, Streams, Tuple, Value, Wiring};
use serde::Deserialize;
use smol_str::SmolStr;

use super::key::{KeyMap, key_of};
use super::{EmitWhen, ROWS_BEFORE_ROOM};
use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "top-n",
    aliases: &[],
    summary: "The rows that rank highest by a field, of each key the latest.",
    example: include_str!("top_n.yaml"),
};

/// Keeps the latest row of each key and emits the `n` that rank highest, in order; rows that are
/// level come in the order of their keys.
///
#[doc = concat!("```yaml\n", include_str!("top_n.yaml"), "```")]
///
/// It wants a global grouping. `emit: finish` emits the ranking when the input has ended; `tick` at
/// a tick (`topology.tick.tuple.freq.secs`), and `each` at a tuple, if the ranking has changed then,
/// and at the end if it has changed since. `each` goes through all keys for each tuple: it is for
/// few keys. The rows of all keys live in memory, about 130 bytes each with two short fields; `forget_zero` drops those that rank by a zero, as
/// counts over a window come to be.
#[derive(Deserialize)]
#[serde(try_from = "Properties")]
pub struct TopN {
    properties: Properties,
    key: Vec<SmolStr>,
    /// The place of the field to rank by among the fields.
    by: usize,
    rows: KeyMap<Box<[Value]>>,
    /// The ranking that was emitted last.
    emitted: Vec<Box<[Value]>>,
}

/// The properties as written.
#[derive(Deserialize)]
#[serde(rename = "TopN", deny_unknown_fields)]
struct Properties {
    by: SmolStr,
    n: usize,
    #[serde(default = "default_fields")]
    fields: Vec<SmolStr>,
    key: Option<Vec<SmolStr>>,
    #[serde(default)]
    emit: EmitWhen,
    #[serde(default)]
    forget_zero: bool,
}

fn default_fields() -> Vec<SmolStr> {
    vec![SmolStr::new_static("word"), SmolStr::new_static("count")]
}

impl TryFrom<Properties> for TopN {
    type Error = String;

    fn try_from(mut properties: Properties) -> Result<Self, String> {
        let fields = Fields::new(properties.fields.iter().cloned());
        let by = &properties.by;
        let by_place = fields.index_of(by).ok_or_else(|| format!("`by: {by}` is not one of the fields {fields}"))?;
        let others = || properties.fields.iter().filter(|field| *field != by).cloned().collect();
        let key = properties.key.take().unwrap_or_else(others);
        if let Some(unknown) = key.iter().find(|field| fields.index_of(field).is_none()) {
            return Err(format!("`{unknown}` in `key` is not one of the fields {fields}"));
        }
        Ok(Self { by: by_place, key, properties, rows: KeyMap::default(), emitted: Vec::new() })
    }
}

impl TopN {
    fn ranking(&self) -> Vec<Box<[Value]>> {
        let rank = |(a_key, a): &(&Value, &[Value]), (b_key, b): &(&Value, &[Value])| {
            b[self.by].cmp(&a[self.by]).then_with(|| a_key.cmp(b_key))
        };
        let mut rows: Vec<_> = self.rows.iter().map(|(key, row)| (key, &**row)).collect();
        let n = self.properties.n;
        if n == 0 {
            return Vec::new();
        }
        if rows.len() > n {
            // Only what is emitted needs sorting.
            rows.select_nth_unstable_by(n - 1, rank);
            rows.truncate(n);
        }
        rows.sort_unstable_by(rank);
        rows.into_iter().map(|(_, row)| row.into()).collect()
    }

    async fn emit_if_changed(&mut self, out: &mut Emitter<'_>) {
        let ranking = self.ranking();
        if ranking == self.emitted {
            return;
        }
        for (index, row) in ranking.iter().enumerate() {
            if index > 0 && index % ROWS_BEFORE_ROOM == 0 {
                out.room().await;
            }
            out.emit(&**row);
        }
        self.emitted = ranking;
    }
}

impl Bolt for TopN {
    fn output(&self) -> Streams {
        Streams::default_fields(self.properties.fields.clone())
    }

    fn check(&self, wiring: &mut Wiring<'_>) {
        let fields = &self.properties.fields;
        fields.iter().for_each(|field| wiring.expect_field("fields", field));
    }

    fn needs_ticks(&self) -> bool {
        self.properties.emit == EmitWhen::Tick
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        let fields = &self.properties.fields;
        let row: Box<[Value]> = fields.iter().map(|field| tuple.get(field).cloned()).collect::<Result<_, _>>()?;
        let key = key_of(tuple, &self.key)?;
        if self.properties.forget_zero && row[self.by] == Value::Int(0) {
            self.rows.remove(&key);
        } else {
            self.rows.insert(key, row);
        }
        if self.properties.emit == EmitWhen::Each {
            self.emit_if_changed(out).await;
        }
        Ok(())
    }

    async fn tick(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        if self.properties.emit == EmitWhen::Tick {
            self.emit_if_changed(out).await;
        }
        Ok(())
    }

    async fn finish(&mut self, out: &mut Emitter<'_>) -> BoltResult {
        self.emit_if_changed(out).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::values;
    use galerna_worker::testing::BoltHarness;

    use super::*;
    use crate::harness::{bolt, refusal};

    async fn ranking(properties: &str) -> BoltHarness {
        let mut test = bolt::<TopN>(properties, ["word", "count"]).await;
        for (word, count) in [("c", 2), ("a", 9), ("b", 2), ("d", 1), ("a", 5)] {
            test.execute(values![word, count]).await.into_result().unwrap();
        }
        test
    }

    #[tokio::test]
    async fn the_latest_rows_are_ranked_and_level_ones_come_by_key() {
        let mut test = ranking("{by: count, n: 3}").await;
        test.tick().await.into_result().unwrap();
        assert!(test.take_rows().is_empty());
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 5], values!["b", 2], values!["c", 2]]);
    }

    #[tokio::test]
    async fn a_tick_brings_the_ranking_if_it_has_changed() {
        let mut test = ranking("{by: count, n: 1, emit: tick}").await;
        test.tick().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["a", 5]]);
        test.execute(values!["d", 4]).await.into_result().unwrap();
        test.tick().await.into_result().unwrap();
        assert!(test.take_rows().is_empty());
        test.execute(values!["d", 6]).await.into_result().unwrap();
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["d", 6]]);
    }

    #[tokio::test]
    async fn each_change_brings_the_ranking() {
        let mut test = ranking("{by: count, n: 1, emit: each}").await;
        assert_eq!(test.take_rows(), [values!["c", 2], values!["a", 9], values!["a", 5]]);
    }

    #[tokio::test]
    async fn a_key_that_fell_to_zero_is_forgotten_if_asked() {
        let mut test = ranking("{by: count, n: 9, forget_zero: true}").await;
        for word in ["a", "c", "d"] {
            test.execute(values![word, 0]).await.into_result().unwrap();
        }
        test.finish().await.into_result().unwrap();
        assert_eq!(test.take_rows(), [values!["b", 2]]);
    }

    #[test]
    fn a_field_to_rank_by_that_is_not_passed_on_is_refused() {
        let error = refusal::<TopN>("{by: score, n: 3}");
        assert!(error.contains("`by: score` is not one of the fields [word, count]"), "{error}");
        assert!(refusal::<TopN>("{by: count, n: 3, key: [x]}").contains("`x` in `key`"));
    }
}
