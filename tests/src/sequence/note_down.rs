//! The bolt at the end.

use std::fs;
use std::path::PathBuf;

use galerna::prelude::*;

use crate::journal::{Journal, monotonic_ns};

/// Writes each tuple down, then acks it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoteDown {
    /// Where its files stand.
    folder: PathBuf,
    #[serde(skip)]
    seen: Option<Journal>,
}

impl Bolt for NoteDown {
    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        let run = monotonic_ns();
        fs::create_dir_all(&self.folder)?;
        self.seen = Some(Journal::create(&self.folder.join(format!("seen-{}-{run}.txt", context.task_id())))?);
        Ok(())
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, _out: &mut Emitter<'_>) -> BoltResult {
        let line = format!(
            "{} {} {} {} {} {} {}\n",
            monotonic_ns(),
            tuple.i64("number")?,
            i32::from(tuple.bool("is_replay")?),
            tuple.i64("spout_task")?,
            tuple.i64("spout_run")?,
            tuple.i64("middle_task")?,
            tuple.i64("middle_run")?,
        );
        self.seen.as_mut().ok_or("not prepared")?.append(&line)?;
        Ok(())
    }
}
