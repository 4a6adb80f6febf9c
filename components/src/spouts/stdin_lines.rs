//! `stdin-lines`: the lines of standard input.

use galerna_topology_api::human::ByteSize;
use galerna_topology_api::{
    DeadLetters, Error, Failure, Next, OnGiveUp, Result, Retries, Spout, SpoutEmitter, Streams, TopologyContext,
};
use serde::Deserialize;
use smol_str::SmolStr;

use super::retries::spout_with_retries;
use crate::catalogue::StockType;
use crate::lines::{
    Encoding, LineFeed, LineSettings, OnBadLine, Refusals, default_max_line, default_output, pump_blocking,
};

pub(crate) const STOCK: StockType = StockType {
    name: "stdin-lines",
    aliases: &[],
    summary: "The lines of standard input; reliable while the process lives.",
    example: include_str!("stdin_lines.yaml"),
};

/// Emits the lines of standard input, without their ends, until it is closed.
///
#[doc = concat!("```yaml\n", include_str!("stdin_lines.yaml"), "```")]
///
/// The first task alone reads. Lines are kept in memory until they are acked. One that is not UTF-8
/// or is longer than `max_line` ends the run with an error. With `on_bad_line: skip` it is left out
/// and counted as `lines_refused`, and the first is listed; with `lossy` bytes that are not UTF-8
/// are replaced by U+FFFD, and such lines counted as `lines_replaced`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct StdinLines {
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default = "default_max_line")]
    max_line: ByteSize,
    #[serde(default)]
    encoding: Encoding,
    on_bad_line: Option<OnBadLine>,
    #[serde(default)]
    retries: Retries,
    on_give_up: Option<OnGiveUp>,
    dead_letter: Option<DeadLetters>,
    #[serde(skip)]
    feed: Option<LineFeed>,
}

spout_with_retries!(StdinLines);

impl Spout for StdinLines {
    type MessageId = u64;

    fn output(&self) -> Streams {
        let own = Streams::default_fields([self.output.clone()]);
        self.policy().map_or_else(|_| Streams::none(), |policy| policy.output(own))
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        let settings = LineSettings::new(self.encoding, self.on_bad_line, self.max_line, Refusals::AreFatal);
        let (chunks, feed) = LineFeed::open(self.policy()?, settings.refusals, context)?;
        self.feed = Some(feed);
        if context.task_index() == 0 {
            let read = move || pump_blocking(std::io::stdin().lock(), "standard input".to_owned(), settings, chunks);
            // A thread, because nothing can interrupt a read of a terminal or a pipe: a runtime that
            // owned it could not shut down before the next line, and the end of the process can.
            let thread = std::thread::Builder::new().name("stdin-lines".to_owned());
            thread.spawn(read).map_err(|error| Error::fatal(format!("cannot start a thread: {error}")))?;
        }
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        self.feed.as_mut().ok_or("the spout is not open")?.next(out)
    }

    async fn ready(&mut self, context: &TopologyContext) {
        if let Some(feed) = &mut self.feed {
            feed.ready(context).await;
        }
    }

    async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
        self.feed.iter_mut().for_each(|feed| feed.ack(id, context));
        Ok(())
    }

    async fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.feed.iter_mut().for_each(|feed| feed.fail(id, failure, context));
        Ok(())
    }
}
