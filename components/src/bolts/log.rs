//! `log`: tuples into the log.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Tuple};
use serde::Deserialize;

use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "log",
    aliases: &["org.apache.storm.flux.wrappers.bolts.LogInfoBolt"],
    summary: "Writes each tuple to the log (Storm Flux's LogInfoBolt).",
    example: include_str!("log.yaml"),
};

/// Writes each tuple to the worker's log, with its source and the names of its fields.
///
#[doc = concat!("```yaml\n", include_str!("log.yaml"), "```")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    #[serde(default)]
    level: Level,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Bolt for Log {
    async fn execute(&mut self, tuple: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        match self.level {
            Level::Trace => tracing::trace!("{tuple:?}"),
            Level::Debug => tracing::debug!("{tuple:?}"),
            Level::Info => tracing::info!("{tuple:?}"),
            Level::Warn => tracing::warn!("{tuple:?}"),
            Level::Error => tracing::error!("{tuple:?}"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::values;

    use super::*;
    use crate::harness::{bolt, refusal};

    #[tokio::test]
    async fn every_tuple_is_taken_and_nothing_emitted() {
        let mut test = bolt::<Log>("{}", ["a"]).await;
        test.execute(values![1]).await.into_result().unwrap();
        assert_eq!((test.acked(), test.take_rows().len()), (1, 0));
    }

    #[test]
    fn an_unknown_level_is_refused() {
        assert!(refusal::<Log>("{level: loud}").contains("unknown variant `loud`"));
    }
}
