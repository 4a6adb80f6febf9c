//! A bolt that blocks its thread with work for longer than anybody likes.

use std::time::Duration;

use galerna::prelude::*;
use tokio::time::Instant;

/// Computes for some seconds in each call, without a single await.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Burn {
    seconds: u64,
}

impl Bolt for Burn {
    async fn execute(&mut self, _tuple: &Tuple<'_>, _out: &mut Emitter<'_>) -> BoltResult {
        let until = Instant::now() + Duration::from_secs(self.seconds);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        Ok(())
    }
}
