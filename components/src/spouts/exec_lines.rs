//! `exec-lines`: the lines that a command prints.

use std::process::Stdio;
use std::time::Duration;

use galerna_topology_api::human::ByteSize;
use galerna_topology_api::{
    DeadLetters, Error, Failure, Next, OnGiveUp, Result, Retries, Spout, SpoutEmitter, Streams, TopologyContext,
};
use serde::Deserialize;
use smol_str::SmolStr;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::back_off::BackOff;
use super::retries::spout_with_retries;
use crate::catalogue::StockType;
use crate::lines::{
    Chunk, Encoding, LineFeed, LineSettings, OnBadLine, Refusals, default_max_line, default_output, pump,
};

pub(crate) const STOCK: StockType = StockType {
    name: "exec-lines",
    aliases: &[],
    summary: "The lines that a command prints, started again when it ends if asked; reliable while the process lives.",
    example: include_str!("exec_lines.yaml"),
};

/// Runs a command and emits the lines that it prints, without their ends.
///
#[doc = concat!("```yaml\n", include_str!("exec_lines.yaml"), "```")]
///
/// The first task alone runs it, with nothing on its standard input; what it says on standard error
/// goes to the worker's. The input ends with the command, and an exit status other than 0 is an
/// error that ends the run. With `restart` it is started again instead: at once if it ran for more
/// than ten seconds, else after 100 ms and up to 10 s; a bad status is then listed. Lines are kept
/// in memory until they are acked. One that is not UTF-8 or is longer than `max_line` ends the run
/// with an error. With `on_bad_line: skip` it is left out and counted as `lines_refused`, and the
/// first of each start is listed; with `lossy` bytes that are not UTF-8 are replaced by U+FFFD, and
/// such lines counted as `lines_replaced`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct ExecLines {
    command: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default = "default_output")]
    output: SmolStr,
    #[serde(default)]
    restart: bool,
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
    running: Option<(LineFeed, JoinSet<()>)>,
}

/// A run this long counts as a success: the next start does not wait.
const LONG_RUN: Duration = Duration::from_secs(10);

/// What runs the command, in the background.
struct Runner {
    command: String,
    args: Vec<String>,
    restart: bool,
    settings: LineSettings,
    chunks: mpsc::Sender<Chunk>,
    context: TopologyContext,
}

impl Runner {
    async fn run(self) {
        let mut back_off = BackOff::default();
        while !self.chunks.is_closed() {
            let started = self.context.elapsed();
            let outcome = self.run_once().await;
            if !self.restart {
                if let Err(error) = outcome {
                    // The spout that no longer listens needs no telling.
                    let _ = self.chunks.send(Chunk::Failed(Error::fatal(error))).await;
                }
                return;
            }
            if let Err(error) = outcome {
                self.context.report_error(error);
            }
            if self.context.elapsed() - started > LONG_RUN {
                back_off = BackOff::default();
            } else {
                self.context.sleep(back_off.next_wait()).await;
            }
        }
    }

    async fn run_once(&self) -> Result<(), String> {
        let Self { command, args, settings, chunks, .. } = self;
        let mut child = Command::new(command)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("cannot run `{command}`: {error}"))?;
        if let Some(stdout) = child.stdout.take() {
            let origin = format!("the output of `{command}`");
            let read = pump(stdout, origin, *settings, chunks).await;
            read.map_err(|error| format!("cannot read the output of `{command}`: {error}"))?;
        }
        match child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{command}` ended with {status}")),
            Err(error) => Err(format!("cannot wait for `{command}`: {error}")),
        }
    }
}

spout_with_retries!(ExecLines);

impl Spout for ExecLines {
    type MessageId = u64;

    fn output(&self) -> Streams {
        let own = Streams::default_fields([self.output.clone()]);
        self.policy().map_or_else(|_| Streams::none(), |policy| policy.output(own))
    }

    async fn open(&mut self, context: &TopologyContext) -> Result<()> {
        let settings = LineSettings::new(self.encoding, self.on_bad_line, self.max_line, Refusals::AreFatal);
        let (chunks, feed) = LineFeed::open(self.policy()?, settings.refusals, context)?;
        let mut tasks = JoinSet::new();
        if context.task_index() == 0 {
            let runner = Runner {
                command: self.command.clone(),
                args: self.args.clone(),
                restart: self.restart,
                settings,
                chunks,
                context: context.clone(),
            };
            tasks.spawn(runner.run());
        }
        self.running = Some((feed, tasks));
        Ok(())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        self.running.as_mut().ok_or("the spout is not open")?.0.next(out)
    }

    async fn ready(&mut self, context: &TopologyContext) {
        if let Some((feed, _)) = &mut self.running {
            feed.ready(context).await;
        }
    }

    async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
        self.running.iter_mut().for_each(|(feed, _)| feed.ack(id, context));
        Ok(())
    }

    async fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) -> Result<()> {
        self.running.iter_mut().for_each(|(feed, _)| feed.fail(id, failure, context));
        Ok(())
    }

    async fn close(&mut self, _: &TopologyContext) -> Result<()> {
        // Kills the command, should it still run.
        self.running = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use galerna_worker::testing::SpoutHarness;

    use super::*;
    use crate::harness::{spout, texts};

    async fn shell(script: &str, more: &str) -> SpoutHarness {
        spout::<ExecLines>(&format!("{{command: sh, args: ['-c', '{script}'], {more}}}")).await
    }

    #[tokio::test]
    async fn the_input_ends_with_the_command() {
        let mut test = shell("echo one; printf two", "").await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test), ["one", "two"]);
    }

    #[tokio::test]
    async fn a_bad_status_ends_the_run_after_the_last_line() {
        let mut test = shell("echo one; exit 3", "").await;
        let error = test.exhaust().await.unwrap_err();
        assert!(error.is_fatal());
        assert_eq!(error.to_string(), "`sh` ended with exit status: 3");
        assert_eq!(texts(&test), ["one"]);
    }

    #[tokio::test(start_paused = true)]
    async fn restart_starts_it_again_and_lists_a_bad_status() {
        let mut test = shell("echo one; exit 3", "restart: true").await;
        test.run_until(3).await.unwrap();
        assert_eq!(test.reported()[0], "`sh` ended with exit status: 3");
    }

    #[tokio::test]
    async fn skip_leaves_out_a_line_that_is_no_text() {
        let mut test = shell("printf \"one\\n\\377\\ntwo\\n\"", "on_bad_line: skip").await;
        test.exhaust().await.unwrap();
        assert_eq!(texts(&test), ["one", "two"]);
        assert_eq!(test.context().counter("lines_refused").value(), 1);
    }

    #[tokio::test]
    async fn a_command_that_does_not_exist_is_named() {
        let mut test = spout::<ExecLines>("{command: no-such-command}").await;
        let error = test.exhaust().await.unwrap_err();
        assert!(error.to_string().starts_with("cannot run `no-such-command`: "), "{error}");
    }
}
