//! Running the programs that people run clusters with.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use galerna_tests::bound::secs;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

/// What a command has printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        self.code == Some(0)
    }
}

/// The environment that commands run in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shell {
    /// What differs from that of the tests.
    pub(super) environment: BTreeMap<&'static str, OsString>,
}

/// No command takes longer, unless it says so.
const LONGEST: Duration = secs(120);

impl Shell {
    pub(super) fn with(name: &'static str, value: impl Into<OsString>) -> Self {
        Self { environment: BTreeMap::from([(name, value.into())]) }
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.insert(name, value.into());
    }

    pub(super) fn prepend_path(&mut self, folder: PathBuf) -> Result<()> {
        self.set("PATH", env::join_paths([folder].into_iter().chain(self.path()))?);
        Ok(())
    }

    pub(super) fn append_path(&mut self, folder: PathBuf) -> Result<()> {
        self.set("PATH", env::join_paths(self.path().into_iter().chain([folder]))?);
        Ok(())
    }

    fn path(&self) -> Vec<PathBuf> {
        let path = self.environment.get("PATH").cloned().or_else(|| env::var_os("PATH")).unwrap_or_default();
        env::split_paths(&path).collect()
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).envs(&self.environment);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub(crate) async fn answer(&self, words: &[&str]) -> Result<Answer> {
        self.answer_within(LONGEST, words).await
    }

    pub(crate) async fn answer_within(&self, limit: Duration, words: &[&str]) -> Result<Answer> {
        output(self.command(words), words, limit, None).await
    }

    /// Runs a command, which must succeed: what it has printed.
    pub(crate) async fn run(&self, words: &[&str]) -> Result<String> {
        succeeded(words, self.answer(words).await?)
    }

    /// Runs a command that is a file, which must succeed.
    pub(crate) async fn run_file(&self, file: &Path, words: &[&str], limit: Duration) -> Result<String> {
        let file = file.display().to_string();
        let words: Vec<&str> = [file.as_str()].into_iter().chain(words.iter().copied()).collect();
        succeeded(&words, self.answer_within(limit, &words).await?)
    }

    /// Runs a command that reads `input`.
    pub(crate) async fn feed(&self, words: &[&str], input: &str) -> Result<Answer> {
        output(self.command(words), words, LONGEST, Some(input)).await
    }

    /// Runs a command that reads `input`, and must succeed.
    pub(crate) async fn run_fed(&self, words: &[&str], input: &str) -> Result<String> {
        succeeded(words, self.feed(words, input).await?)
    }
}

pub(super) fn succeeded(words: &[&str], answer: Answer) -> Result<String> {
    let Answer { code, output, errors } = &answer;
    ensure!(answer.is_good(), "`{}` ended with {code:?}: {}{}", words.join(" "), errors.trim(), last_lines(output, 30));
    Ok(answer.output)
}

pub(super) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("\n{line}")).collect()
}

pub(super) async fn output(
    mut command: Command,
    words: &[&str],
    limit: Duration,
    input: Option<&str>,
) -> Result<Answer> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let run = async {
        let mut child = command.spawn().with_context(|| format!("cannot run `{}`", words[0]))?;
        let given = child.stdin.take().zip(input);
        let write = async {
            if let Some((mut stdin, input)) = given {
                // Who ends before it has read everything says why by itself.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), write);
        let output = output?;
        anyhow::Ok(Answer {
            code: output.status.code(),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    };
    timeout(limit, run).await.with_context(|| format!("`{}` takes more than {limit:?}", words.join(" ")))?
}
