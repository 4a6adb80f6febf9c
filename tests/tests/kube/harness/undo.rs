//! What has to be taken away at the end, however it comes: after the last test, or at Ctrl-C.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::Command;

use super::command::Shell;
use super::report::say;

/// Commands that take away what was made, the last one first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undo {
    steps: Arc<Mutex<Vec<Step>>>,
    /// Held while everything is taken away: who comes second waits for it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Step {
    name: String,
    words: Vec<OsString>,
    shell: Shell,
}

impl Undo {
    /// Has `words` run at the end, unless [`forget`](Self::forget) is called for `name` before.
    pub(super) fn remember(&self, name: &str, shell: &Shell, words: impl IntoIterator<Item = impl Into<OsString>>) {
        let step =
            Step { name: name.to_owned(), words: words.into_iter().map(Into::into).collect(), shell: shell.clone() };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// It has been taken away already.
    pub(super) fn forget(&self, name: &str) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).retain(|step| step.name != name);
    }

    /// Takes everything away. What fails is said, and does not hold up the rest.
    pub(super) async fn everything(&self) {
        let _turn = self.turn.lock().await;
        loop {
            let Some(step) = self.steps.lock().unwrap_or_else(PoisonError::into_inner).pop() else { return };
            let mut command = Command::new(&step.words[0]);
            // A group of its own: a second Ctrl-C does not end it half-way.
            command.args(&step.words[1..]).envs(step.shell.environment).stdin(Stdio::null()).process_group(0);
            match command.output().await {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    say(&format!("could not undo {}: {}", step.name, String::from_utf8_lossy(&output.stderr)));
                }
                Err(error) => say(&format!("could not undo {}: {error}", step.name)),
            }
        }
    }
}
