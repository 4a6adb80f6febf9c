//! Lines from sources that cannot be asked again (pipes, sockets, commands): read in the
//! background, queued within bounds, and kept in memory until they are acked.

use std::io::Read;
use std::vec;

use galerna_topology_api::{
    Boundedness, Error, Failure, Next, Result, RetryBuffer, RetryPolicy, SpoutEmitter, TopologyContext, values,
};
use smol_str::SmolStr;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::{Cut, LineBuffer, LineError, LineSettings, Refusals};

/// What a reader hands to its spout.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Lines, and how many of them had bytes replaced.
    Lines(Vec<SmolStr>, u64),
    /// A line that cannot be emitted, and whether it is the first of its source; reading went on
    /// behind it.
    Refused(LineError, bool),
    /// Reading failed.
    Failed(Error),
}

/// Chunks that may wait to be emitted. A chunk holds what one read brought, so this bounds memory.
const QUEUED: usize = 8;

/// How much is read at a time: there may be a thousand connections, each with a buffer of its own.
const READ: usize = 32 << 10;

/// Lines that one call of `next` emits at most.
const LINES_PER_CALL: usize = 64;

/// The spout's end: queue, lines in hand, and what waits for its ack.
pub(crate) struct LineFeed {
    chunks: mpsc::Receiver<Chunk>,
    ahead: Option<Chunk>,
    lines: vec::IntoIter<SmolStr>,
    next_id: u64,
    retries: RetryBuffer<u64>,
    refusals: Refusals,
    has_ended: bool,
}

impl LineFeed {
    /// A feed, and where its readers put chunks. It has ended when all clones of that are dropped.
    ///
    /// # Errors
    /// When the file of dead letters cannot be written.
    pub(crate) fn open(
        policy: RetryPolicy,
        refusals: Refusals,
        context: &TopologyContext,
    ) -> Result<(mpsc::Sender<Chunk>, Self)> {
        let (sender, feed) = Self::new(policy, refusals);
        feed.retries.check_dead_letters(context)?;
        Ok((sender, feed))
    }

    fn new(policy: RetryPolicy, refusals: Refusals) -> (mpsc::Sender<Chunk>, Self) {
        let (sender, chunks) = mpsc::channel(QUEUED);
        let feed = Self {
            chunks,
            ahead: None,
            lines: Vec::new().into_iter(),
            next_id: 0,
            // Nobody knows whether the source has an end before it is there.
            retries: RetryBuffer::new(policy, Boundedness::Unbounded),
            refusals,
            has_ended: false,
        };
        (sender, feed)
    }

    /// As `Spout::next`.
    pub(crate) fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        let most = out.room_left().min(LINES_PER_CALL);
        let mut emitted = self.retries.emit_due(out, most);
        while emitted < most && !self.retries.is_full() {
            if let Some(line) = self.lines.next() {
                self.retries.sent(self.next_id, vec![line.clone().into()]);
                out.emit(self.next_id, values![line]);
                self.next_id += 1;
            } else if !self.take_chunk(emitted, out.context())? {
                break;
            } else {
                continue;
            }
            emitted += 1;
        }
        Ok(match emitted {
            0 if self.has_ended && !self.retries.is_waiting() => Next::Exhausted,
            0 => Next::Idle,
            _ => Next::Emitted,
        })
    }

    /// Takes up the next chunk if there is one. An error waits until a call has emitted nothing: it
    /// would withdraw the lines in front of it.
    fn take_chunk(&mut self, emitted: usize, context: &TopologyContext) -> Result<bool> {
        if self.ahead.is_none() {
            self.ahead = match self.chunks.try_recv() {
                Ok(chunk) => Some(chunk),
                Err(mpsc::error::TryRecvError::Empty) => None,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.end();
                    None
                }
            };
        }
        let is_error = !matches!(self.ahead, None | Some(Chunk::Lines(..)));
        if is_error && emitted > 0 {
            return Ok(false);
        }
        match self.ahead.take() {
            None => return Ok(false),
            Some(Chunk::Lines(lines, replaced)) => {
                if replaced > 0 {
                    context.counter("lines_replaced").add(replaced);
                }
                self.lines = lines.into_iter();
            }
            Some(Chunk::Refused(error, is_first)) if self.refusals == Refusals::AreListed => {
                context.counter("lines_refused").add(1);
                if is_first {
                    context.report_error(error.as_first_refusal());
                }
            }
            Some(Chunk::Refused(error, _)) => return Err(error.into_fatal()),
            Some(Chunk::Failed(error)) => return Err(error),
        }
        Ok(true)
    }

    /// As `Spout::ready`: waits for a line or for a retry to be due.
    ///
    /// # Cancel safety
    /// What arrives is kept for `next`.
    pub(crate) async fn ready(&mut self, context: &TopologyContext) {
        let wait = self.retries.next_try(context);
        let retry = async {
            match wait {
                Some(wait) => context.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        if self.retries.is_full() {
            return retry.await;
        }
        if self.lines.len() > 0 || self.ahead.is_some() {
            return;
        }
        if self.has_ended {
            // Only a retry can follow, and without one there is nothing to wait for.
            if self.retries.is_waiting() {
                retry.await;
            }
            return;
        }
        tokio::select! {
            biased;
            chunk = self.chunks.recv() => {
                if chunk.is_none() {
                    self.end();
                }
                self.ahead = chunk;
            }
            () = retry => {}
        }
    }

    /// As `Spout::ack`.
    pub(crate) fn ack(&mut self, id: u64, context: &TopologyContext) {
        self.retries.ack(&id, context);
    }

    /// As `Spout::fail`.
    pub(crate) fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) {
        self.retries.fail(&id, failure, context);
    }

    /// All readers have ended.
    fn end(&mut self) {
        self.has_ended = true;
        self.retries.input_ended();
    }
}

/// Cuts what one source brings into chunks.
struct Cutter {
    buffer: LineBuffer,
    settings: LineSettings,
    origin: String,
    has_refused: bool,
    /// Whether no line of the source can be read.
    is_refused: bool,
}

impl Cutter {
    fn new(origin: String, settings: LineSettings) -> Self {
        let buffer = LineBuffer::new(0, settings.max_line, READ);
        Self { buffer, settings, origin, has_refused: false, is_refused: false }
    }

    /// All whole lines in the buffer, and after the end also what is left of it.
    fn chunks(&mut self, is_end: bool) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let (mut lines, mut replaced) = (Vec::new(), 0);
        let mut is_rest = false;
        loop {
            let cut = if is_rest { self.buffer.rest() } else { self.buffer.cut() };
            let outcome = match cut {
                Cut::Line(_) | Cut::TooLong(_) if self.is_refused => continue,
                Cut::Line(line) => self.settings.text(self.buffer.bytes(line), line.offset, || self.origin.clone()),
                Cut::TooLong(offset) => {
                    Err(LineError::TooLong { origin: self.origin.clone(), offset, limit: self.settings.max_line })
                }
                Cut::More if is_end && !is_rest => {
                    is_rest = true;
                    continue;
                }
                Cut::More => break,
            };
            match outcome {
                Ok((line, is_replaced)) => {
                    lines.push(line);
                    replaced += u64::from(is_replaced);
                }
                Err(error) => {
                    chunks.push(Chunk::Lines(std::mem::take(&mut lines), std::mem::take(&mut replaced)));
                    self.is_refused |= matches!(error, LineError::Utf16 { .. });
                    chunks.push(Chunk::Refused(error, !std::mem::replace(&mut self.has_refused, true)));
                }
            }
        }
        chunks.push(Chunk::Lines(lines, replaced));
        chunks.retain(|chunk| !matches!(chunk, Chunk::Lines(lines, _) if lines.is_empty()));
        chunks
    }
}

/// Reads a source to its end. Ends early when the spout is gone.
pub(crate) async fn pump(
    mut source: impl AsyncRead + Unpin,
    origin: String,
    settings: LineSettings,
    chunks: &mpsc::Sender<Chunk>,
) -> std::io::Result<()> {
    let mut cutter = Cutter::new(origin, settings);
    loop {
        let bytes = source.read(cutter.buffer.space()).await?;
        cutter.buffer.filled(bytes);
        for chunk in cutter.chunks(bytes == 0) {
            if chunks.send(chunk).await.is_err() {
                return Ok(());
            }
        }
        if bytes == 0 {
            return Ok(());
        }
    }
}

/// As [`pump`], for a source that only a thread of its own can wait for.
#[allow(clippy::needless_pass_by_value, reason = "the thread owns its end of the queue, so that the feed ends with it")]
pub(crate) fn pump_blocking(
    mut source: impl Read,
    origin: String,
    settings: LineSettings,
    chunks: mpsc::Sender<Chunk>,
) {
    let mut cutter = Cutter::new(origin.clone(), settings);
    loop {
        let bytes = match source.read(cutter.buffer.space()) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = Error::fatal(format!("cannot read {origin}: {error}"));
                let _ = chunks.blocking_send(Chunk::Failed(error));
                return;
            }
        };
        cutter.buffer.filled(bytes);
        for chunk in cutter.chunks(bytes == 0) {
            if chunks.blocking_send(chunk).is_err() {
                return;
            }
        }
        if bytes == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks_of(source: &'static [u8], max_line: usize) -> Vec<String> {
        let (sender, mut feed) = LineFeed::new(RetryPolicy::default(), Refusals::AreFatal);
        let settings = LineSettings { is_lossy: false, max_line, refusals: Refusals::AreFatal };
        pump_blocking(source, "a pipe".to_owned(), settings, sender);
        let mut found = Vec::new();
        while let Ok(chunk) = feed.chunks.try_recv() {
            found.push(match chunk {
                Chunk::Lines(lines, _) => lines.join(" "),
                Chunk::Refused(error, is_first) => format!("{}{error}", if is_first { "first: " } else { "" }),
                Chunk::Failed(error) => error.to_string(),
            });
        }
        assert!(feed.chunks.is_closed());
        found
    }

    #[test]
    fn a_thread_delivers_lines_errors_and_the_rest_in_order_and_then_ends() {
        let found = chunks_of(b"one\ntoo long\n\xff\nlast", 4);
        assert_eq!(
            found,
            [
                "one",
                "first: the line at byte 4 of a pipe is longer than 4 bytes (`max_line`)",
                "byte 13 of a pipe is not UTF-8 text",
                "last",
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_utf_16_refuses_the_whole_source() {
        assert_eq!(chunks_of(b"\xef\xbb\xbfone\n\xef\xbb\xbf2\n", 8), ["one \u{feff}2"]);
        for source in [&b"\xff\xfea\0\n\0b\0\n\0"[..], b"\xfe\xff\0a\0\n\0b\0\n"] {
            let refusal = "first: a pipe is UTF-16 text by its byte order mark; only UTF-8 can be read";
            assert_eq!(chunks_of(source, 8), [refusal]);
        }
    }
}
