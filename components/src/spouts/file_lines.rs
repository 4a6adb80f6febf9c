//! `file-lines`: the lines of files.

mod content;
mod copies;
#[cfg(test)]
mod copies_tests;
mod files;
mod fingerprint;
mod position;
mod reader;
#[cfg(test)]
mod rewritten_tests;
mod source;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use galerna_topology_api::human::{ByteSize, HumanDuration};
use galerna_topology_api::{
    Boundedness, DeadLetters, Error, Failed, Failure, Next, OnGiveUp, Result, Retries, RetryBuffer, Spout,
    SpoutEmitter, Streams, TopologyContext, values,
};
use serde::Deserialize;
use smol_str::SmolStr;

use super::position::is_due;
use super::retries::spout_with_retries;
use crate::catalogue::StockType;
use crate::lines::{Encoding, OnBadLine, default_max_line, default_output};
use files::Files;

pub(crate) const STOCK: StockType = StockType {
    name: "file-lines",
    aliases: &[],
    summary: "The lines of a file, of all files of a pattern, or of a folder that files are moved into; reliable.",
    example: include_str!("file_lines.yaml"),
};

/// Emits the lines of files, without their ends (`\n` or `\r\n`), and again those that failed.
///
#[doc = concat!("```yaml\n", include_str!("file_lines.yaml"), "```")]
///
/// **Which files.** One file is read by the first task alone. The files that match a pattern, and
/// those of a folder, are dealt to the tasks by their names and read in the order of these. In a
/// folder hidden files and `*.tmp` are left alone.
///
/// **Until when.** Without `follow` the input ends with the files that were there at the start.
/// With it, more is waited for: a file that is renamed is read to its end before the new one of its
/// name, and files are picked up as they appear. Files of a folder count as complete when they are
/// moved there and are not looked at again.
///
/// **Files that are cut off.** A followed file that is cut off (logrotate's `copytruncate`) is read
/// from its start, also if it has grown beyond its old length before the next look, or while nothing
/// ran: its first 512 bytes and the last 512 before the place that was read are compared with what
/// stood there. If it has grown beyond, an error is listed that names the file. Lines that were
/// written after the last look and cut off before the next are lost, unless a pattern covers the copy,
/// too (below). A file that is written again with the same 512 bytes at both places cannot be told
/// from one that was added to.
///
/// **From where.** From the start, each time; or, with `position`, from the first line that an
/// earlier run had not seen acked (or given up and listed). That file is written once a second, by
/// atomic rename; tasks beyond the first add their number to its name. A file is known again by
/// inode, time of creation and content, under another name, too, so that with a pattern for both,
/// such as `app.log*`, nothing is missed when it was rotated while nobody looked.
///
/// **Compressed files** (gzip, zstd) are recognized by their first bytes, whatever their names, and
/// read as what they decompress to, which is also what positions count. They are complete once their
/// compressed data is: with `follow` and a pattern, one that is being written is waited for. To go on
/// within one, it is decompressed from its start. xz, bzip2 and lz4 are an error that names them.
///
/// **Copies.** With `follow` or `position` and a pattern, a new file whose content begins with what
/// was read of another one is its copy (`app.log` copied to `app.log.1` or compressed to
/// `app.log.2.gz`) and read on from there, not again. Less than 128 bytes are too little to tell, and
/// such a file is read whole. What one task has read another one does not know: where files are
/// rotated, let one task read. Without `follow` and `position`, and in folders, all files are read.
///
/// **What is no text.** A line that is not UTF-8 or is longer than `max_line` ends the run with an
/// error that names the file and the byte. With `on_bad_line: skip` it is left out and counted as
/// `lines_refused`; the first of each file is listed. With `lossy` bytes that are not UTF-8 are
/// replaced by U+FFFD, and such lines counted as `lines_replaced` (`encoding: lossy` means the same).
/// A UTF-8 byte order mark at the start of a file is left out, and so are zero bytes there. UTF-16,
/// known by its mark, ends the run, or with `skip` the file is left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct FileLines {
    path: PathBuf,
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default)]
    follow: bool,
    #[serde(default = "default_poll")]
    poll: HumanDuration,
    position: Option<PathBuf>,
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
    running: Option<Running>,
}

const fn default_poll() -> HumanDuration {
    HumanDuration(Duration::from_millis(250))
}

/// Lines that one call emits at most: enough to make the call's cost disappear, few enough that
/// acks are not kept waiting.
const LINES_PER_CALL: usize = 64;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineId {
    /// The file, in the order in which this task opened them.
    file: u32,
    /// The line's first byte.
    offset: u64,
}

struct Running {
    files: Files,
    retries: RetryBuffer<LineId>,
    /// An error met behind lines that were to be emitted first.
    error: Option<Error>,
    /// When the position was reported last.
    reported_at: Option<Duration>,
}

impl FileLines {
    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| "the spout is not open".into())
    }
}

impl Running {
    fn fill(&mut self, out: &mut SpoutEmitter<'_, LineId>) -> Result<Next> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let most = out.room_left().min(LINES_PER_CALL);
        let mut emitted = self.retries.emit_due(out, most);
        if emitted == 0 && self.retries.is_full() {
            return Ok(Next::Idle);
        }
        while emitted < most && !self.retries.is_full() {
            match self.files.next_line(out.context()) {
                Ok(Some((id, line))) => {
                    self.retries.sent(id, vec![line.clone().into()]);
                    out.emit(id, values![line]);
                    emitted += 1;
                }
                Ok(None) if emitted == 0 => return self.at_end(out.context()),
                Err(error) if emitted == 0 => return Err(error),
                Ok(None) => break,
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        Ok(Next::Emitted)
    }

    fn at_end(&mut self, context: &TopologyContext) -> Result<Next> {
        self.files.look_for_more(context)?;
        let is_more_to_come = self.files.poll().is_some() || self.retries.is_waiting();
        Ok(if is_more_to_come { Next::Idle } else { Next::Exhausted })
    }

    fn settled(&mut self, id: LineId) {
        if let Some(positions) = &mut self.files.positions {
            positions.settled(id.file, id.offset);
        }
    }

    fn report_position(&mut self, context: &TopologyContext) {
        if is_due(&mut self.reported_at, context)
            && let Some((position, lag)) = self.files.source()
        {
            context.report_source(&position, lag);
        }
    }

    async fn save(&mut self, is_last: bool, context: &TopologyContext) -> Result<()> {
        self.files.save(is_last, &self.retries, context).await
    }
}

spout_with_retries!(FileLines);

impl Spout for FileLines {
    type MessageId = LineId;

    fn output(&self) -> Streams {
        let own = Streams::default_fields([self.output.clone()]);
        self.policy().map_or_else(|_| Streams::none(), |policy| policy.output(own))
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        let files = Files::open(self, context)?;
        let input = if self.follow { Boundedness::Unbounded } else { Boundedness::Bounded };
        let retries = RetryBuffer::new(self.policy()?, input);
        retries.check_dead_letters(context)?;
        self.running = Some(Running { files, retries, error: None, reported_at: None });
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, LineId>) -> Result<Next> {
        let running = self.running()?;
        running.save(false, out.context()).await?;
        let outcome = running.fill(out);
        running.report_position(out.context());
        outcome
    }

    async fn ready(&mut self, context: &TopologyContext) {
        let Some(running) = &self.running else { return };
        let poll = running.files.poll().filter(|_| !running.retries.is_full());
        let waits = [poll, running.retries.next_try(context)];
        match waits.into_iter().flatten().min() {
            Some(wait) => context.sleep(wait).await,
            None => context.back_off().await,
        }
    }

    async fn ack(&mut self, id: LineId, context: &TopologyContext) -> Result<()> {
        let running = self.running()?;
        running.retries.ack(&id, context);
        running.settled(id);
        running.save(false, context).await
    }

    async fn fail(&mut self, id: LineId, failure: &Failure, context: &TopologyContext) -> Result<()> {
        let running = self.running()?;
        if running.retries.fail(&id, failure, context) == Failed::Passed {
            running.settled(id);
        }
        Ok(())
    }

    async fn close(&mut self, context: &TopologyContext) -> Result<()> {
        match &mut self.running {
            Some(running) => running.save(true, context).await,
            None => Ok(()),
        }
    }
}
