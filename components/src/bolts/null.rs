//! `null`: takes tuples and does nothing.

use galerna_topology_api::{Bolt, BoltResult, Emitter, Tuple};
use serde::Deserialize;

use crate::catalogue::StockType;

pub(crate) const STOCK: StockType = StockType {
    name: "null",
    aliases: &[],
    summary: "Takes every tuple and does nothing with it. For tests and benchmarks.",
    example: include_str!("null.yaml"),
};

/// Takes every tuple and does nothing with it. The name wants quotes in YAML, where a bare `null` is
/// no text.
///
#[doc = concat!("```yaml\n", include_str!("null.yaml"), "```")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Null {}

impl Bolt for Null {
    async fn execute(&mut self, _: &Tuple<'_>, _: &mut Emitter<'_>) -> BoltResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_topology_api::values;

    use super::*;
    use crate::harness::bolt;

    #[tokio::test]
    async fn every_tuple_is_acked() {
        let mut test = bolt::<Null>("{}", ["a"]).await;
        test.execute(values![1]).await.into_result().unwrap();
        assert_eq!(test.acked(), 1);
    }
}
