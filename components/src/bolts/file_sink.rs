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
use galerna_topology_api::{BoltResult, Error, ManualBolt, ManualEmitter, Result, TopologyContext, Tuple};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::catalogue::StockType;
use crate::format::Format;
use part::Part;
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
/// **When a file appears.** A file is written as `PATH.tmp` and gets its name, by atomic rename, when
/// the run has finished; it then replaces one of that name. With `roll` this happens at a size or
/// age, too, and files are numbered: `counts-000001.tsv`, `counts-000002.tsv`; none is replaced. A
/// file that a run left unfinished is taken up by the next: what was acked is in it, and a line that
/// was torn is cut off. That suits inputs of which a tuple that was acked never comes again; where
/// each run reads all of its input, `resume: false` begins anew. What is not a regular file (`/dev/null`, `/dev/stdout`, a pipe) is written
/// into and never renamed; a symbolic link is followed.
///
/// **When tuples are acked.** After `sync.interval`, or earlier after `sync.tuples`. Under load one
/// sync follows the other, and each covers all tuples that came meanwhile.
///
/// **Several tasks** cannot share a file: `{task}` must stand in the path then.
///
/// A failed write, such as on a full disk, ends the run with an error that says how much is in the
/// file, unless there is room for it at the second or third try; whole lines remain, under the name
/// of an unfinished file.
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

/// When a new file begins.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Roll {
    size: Option<ByteSize>,
    interval: Option<HumanDuration>,
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
