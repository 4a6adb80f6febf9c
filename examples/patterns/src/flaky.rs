//! A bolt that fails now and then, to show replay.

use galerna::prelude::*;

/// Passes a field on, but fails every so many tuples. What failed comes again: the spout replays it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Flaky {
    /// The field to pass on.
    field: String,
    /// Every how many tuples it fails.
    every: u64,
    /// Fails by a panic, as a bug would, in place of an error.
    #[serde(default)]
    panics: bool,
    /// Tuples so far. A task that is made anew after a panic starts over.
    #[serde(skip)]
    seen: u64,
}

impl Bolt for Flaky {
    fn output(&self) -> Streams {
        Streams::default_fields([self.field.as_str()])
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut Emitter<'_>) -> BoltResult {
        self.seen += 1;
        if self.seen.is_multiple_of(self.every) {
            if self.panics {
                // Fails this tuple and makes the task anew; the process and the other tasks go on.
                panic!("a bug in tuple {}", self.seen);
            }
            // Fails this tuple and its tree at once; the error stands in the summary.
            return Err("bad luck with this one".into());
        }
        out.emit(values![tuple.get(&self.field)?.clone()]);
        Ok(())
    }
}
