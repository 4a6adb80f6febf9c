//! `file-sink`: tuples into files, acked when they are safe there.

mod part;
mod room;
mod target;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

use galerna_topology_api::human::{ByteSize, HumanDuration};
use galerna_topology_api::{BoltResult, Error, ManualBolt, ManualEmitter, Result, TopologyContext, Tuple, Wiring};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::catalogue::StockType;
use crate::format::Format;
use part::Part;
use target::Target;
use writer::Writer;

pub(crate) const STOCK: StockType = StockType {
    name: "file-sink",
    aliases: &[],
    summary: "Writes each tuple as a line of a file, and acks it when it is synced.",
    example: include_str!("file_sink.yaml"),
};

/// Writes each tuple as a line of a file, and acks it when the file was synced.
///
#[doc = concat!("```yaml\n", include_str!("file_sink.yaml"), "```")]
///
/// **Formats.** `text`: values separated by tabs, as they are. `tsv`: the same, with a tab, line
/// feed or carriage return in a value written as `\t`, `\n`, `\r`; a backslash stays as it is.
/// `csv`: RFC 4180 without a header. `json`: an object of the fields on each line.
///
/// **One file.** Without `roll` the file is written in place, and may be read while it grows. What was
/// acked is in it, however the run ends: at the end of the input, by a stop, `kill` or a move, or by a
/// crash. The next run goes on behind what is there, and so does a task that starts again elsewhere; a
/// line that a crash has torn is cut off. Tuples that were written but not acked before a crash come
/// again, so that their lines may stand there twice. That suits inputs of which a tuple that was acked
/// never comes again. Where each run reads all of its input, `resume: false` empties the file at the
/// start; on a cluster also whenever the task starts again, such as by a move, which loses the lines
/// before. Rename no file that is being written: lines would follow it. Roll instead.
///
/// **Parts.** With `roll` a file is written as `PATH.tmp` and gets its name, by atomic rename, at a size
/// or age, and when the run ends in good order: `counts-000001.tsv`, `counts-000002.tsv`. None is
/// replaced, and none is empty. A part that a crash left unfinished is taken up by the next run, or
/// begun anew with `resume: false`.
///
/// What is not a regular file (`/dev/null`, `/dev/stdout`, a pipe) is written into and never renamed; a
/// symbolic link is followed.
///
/// **When tuples are acked.** After `sync.interval`, or earlier after `sync.tuples`. Under load one
/// sync follows the other, and each covers all tuples that came meanwhile.
///
/// **Several tasks** cannot share a file: `{task}` must stand in the path then.
///
/// A failed write, such as on a full disk, ends the run with an error that says how much is in the
/// file, unless there is room for it at the second or third try; whole lines remain, and a part
/// remains unfinished.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSink {
    path: PathBuf,
    #[serde(default)]
    format: Format,
    #[serde(default)]
    sync: Sync,
    #[serde(default)]
    roll: Roll,
    #[serde(default = "yes")]
    resume: bool,
    #[serde(skip)]
    running: Option<Running>,
}

const fn yes() -> bool {
    true
}

/// Stands in a path for the number of the task.
const TASK: &str = "{task}";

/// How long tuples may wait for their ack.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sync {
    tuples: usize,
    interval: HumanDuration,
}

impl Default for Sync {
    fn default() -> Self {
        Self { tuples: 10_000, interval: HumanDuration(Duration::from_millis(50)) }
    }
}

/// When a new part begins.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Roll {
    size: Option<ByteSize>,
    interval: Option<HumanDuration>,
}

impl Roll {
    /// Whether the file is written in parts.
    fn is_any(self) -> bool {
        self.size.is_some() || self.interval.is_some()
    }
}

struct Running {
    writer: writer::Handle,
    _tasks: JoinSet<()>,
}

impl FileSink {
    /// The path of one task.
    fn path_of(&self, context: &TopologyContext) -> PathBuf {
        self.path.to_string_lossy().replace(TASK, &context.task_index().to_string()).into()
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| "the bolt is not prepared".into())
    }
}

impl ManualBolt for FileSink {
    fn check(&self, wiring: &mut Wiring<'_>) {
        let tasks = wiring.task_count();
        let is_stream = matches!(Target::of(&self.path), Ok(Target::Stream(_)));
        if tasks > 1 && !is_stream && !self.path.to_string_lossy().contains(TASK) {
            wiring.problem("path", format!("{tasks} tasks cannot write one file; put {TASK} into the path"));
        }
    }

    async fn prepare(&mut self, context: &TopologyContext) -> BoltResult {
        let path = self.path_of(context);
        let is_shared = context.task_count() > 1 && !self.path.to_string_lossy().contains(TASK);
        let part = Part::open(path, self.roll, self.resume, is_shared, context).await.map_err(Error::fatal)?;
        let mut tasks = JoinSet::new();
        let writer = Writer::start(part, self.sync, context, &mut tasks);
        self.running = Some(Running { writer, _tasks: tasks });
        Ok(())
    }

    async fn execute(&mut self, tuple: &Tuple<'_>, out: &mut ManualEmitter<'_>) -> BoltResult {
        let mut line = Vec::new();
        self.format.append(tuple, &mut line)?;
        let writer = &mut self.running()?.writer;
        writer.ack_synced(out);
        writer.write(line, out.keep(tuple)).await
    }

    async fn flush(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        let writer = &mut self.running()?.writer;
        writer.sync(false).await?;
        writer.ack_synced(out);
        Ok(())
    }

    async fn finish(&mut self, out: &mut ManualEmitter<'_>) -> BoltResult {
        let writer = &mut self.running()?.writer;
        writer.sync(true).await?;
        writer.ack_synced(out);
        Ok(())
    }

    async fn cleanup(&mut self, _: &TopologyContext) -> BoltResult {
        match self.running.take() {
            Some(running) => running.writer.close().await,
            None => Ok(()),
        }
    }
}
