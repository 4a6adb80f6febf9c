//! A bolt that takes more memory than it was given.

use galerna::prelude::*;

/// Keeps some memory for each tuple, for good.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hog {
    /// How many bytes for each tuple.
    bytes: usize,
    #[serde(skip)]
    kept: Vec<Vec<u8>>,
}

impl Bolt for Hog {
    async fn execute(&mut self, _tuple: &Tuple<'_>, _out: &mut Emitter<'_>) -> BoltResult {
        // Not zeros: those take no memory before they are written.
        self.kept.push(vec![1; self.bytes]);
        Ok(())
    }
}
