//! `logs`: what a topology's workers log.

use std::collections::BTreeMap;
use std::time::Duration;

use galerna_protocol::{LogChunk, LogsRequest, Signals};
use serde_json::json;
use tokio::time::interval;
use tonic::Streaming;

use super::args::{Logs, Output};
use super::exit::Exit;
use super::failure::Failure;
use super::io::Io;
use super::nimbus::{Client, Nimbus, block_on};
use super::reader;

/// How often is looked whether anybody still reads.
const LOOK: Duration = Duration::from_millis(500);
/// A line that is longer is printed in parts.
const LONGEST_LINE: usize = 1024 * 1024;

pub(super) fn run(args: &Logs, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let request = LogsRequest { name: args.name.clone(), follow: args.follow, last_lines: args.lines };
    block_on(async {
        let mut signals = Signals::listen().map_err(|error| Failure::start(&error))?;
        let logs = async |mut client: Client| client.logs(request.clone()).await;
        let nimbus = Nimbus::of(&args.cluster);
        let mut lines = Lines { output: args.cluster.output, unfinished: BTreeMap::new() };
        tokio::select! {
            biased;
            // Whoever follows a log ends it so.
            () = signals.next() => Ok(if args.follow { Exit::Done } else { Exit::Interrupted }),
            printed = async {
                let chunks = nimbus.call(logs).await?.into_inner();
                print_all(chunks, &mut lines, io).await
            } => printed,
        }
    })
}

async fn print_all(mut chunks: Streaming<LogChunk>, lines: &mut Lines, io: &mut Io<'_>) -> Result<Exit, Failure> {
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            biased;
            chunk = chunks.message() => match chunk? {
                Some(chunk) if !chunk.note.is_empty() => io.say(&format!("note: {}", chunk.note)),
                Some(chunk) => io.print(&lines.of(&chunk))?,
                None => break,
            },
            _ = look.tick() => if reader::has_left() {
                return Ok(Exit::Done);
            },
        }
    }
    io.print(&lines.rest())?;
    Ok(Exit::Done)
}

/// Lines as they are printed, each with its worker.
struct Lines {
    output: Output,
    /// By worker, what its last chunk ended with.
    unfinished: BTreeMap<String, Vec<u8>>,
}

impl Lines {
    /// The lines that end with this chunk.
    fn of(&mut self, chunk: &LogChunk) -> String {
        let worker = chunk.worker.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut bytes = self.unfinished.remove(&worker).unwrap_or_default();
        bytes.extend_from_slice(&chunk.content);
        let end = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if bytes.len() >= LONGEST_LINE => bytes.len(),
            None => 0,
        };
        let rest = bytes.split_off(end);
        let text = self.render(&worker, &bytes);
        if !rest.is_empty() {
            self.unfinished.insert(worker, rest);
        }
        text
    }

    /// What never ended.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.unfinished).iter().map(|(worker, bytes)| self.render(worker, bytes)).collect()
    }

    fn render(&self, worker: &str, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let line = |line: &str| match self.output {
            Output::Text => format!("{worker}  {line}\n"),
            Output::Json => format!("{}\n", json!({ "worker": worker, "line": line })),
        };
        text.lines().map(line).collect()
    }
}
