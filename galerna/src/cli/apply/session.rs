//! Talking with Nimbus for as long as there is time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use super::outcome::Outcome;
use crate::cli::args::{Apply, Output};
use crate::cli::failure::Failure;
use crate::cli::io::Io;
use crate::cli::nimbus::{Client, Nimbus};

/// How often is looked again.
const LOOK: Duration = Duration::from_millis(200);

/// One call of the command.
pub(super) struct Session<'a, 'io> {
    pub(super) nimbus: Nimbus<'a>,
    pub(super) args: &'a Apply,
    pub(super) io: &'a mut Io<'io>,
    until: Instant,
    /// Whether a Nimbus that does not answer is asked again: from the start with `--wait`, else once
    /// one has answered. What was begun is not left half done because the leader changes.
    perseveres: bool,
    /// The last that was told of the progress.
    told: String,
}

impl<'a, 'io> Session<'a, 'io> {
    pub(super) fn new(nimbus: Nimbus<'a>, args: &'a Apply, io: &'a mut Io<'io>) -> Self {
        let until = Instant::now() + Duration::from_secs(args.timeout.into());
        Self { nimbus, args, io, until, perseveres: args.wait, told: String::new() }
    }

    /// Calls Nimbus; what can be asked twice is asked again while none is available.
    pub(super) async fn ask<T>(&mut self, call: impl AsyncFn(Client) -> Result<T, Status>) -> Result<T, Status> {
        loop {
            match self.nimbus.call(&call).await {
                Err(status) if status.code() == Code::Unavailable && self.perseveres && self.has_time() => {
                    self.progress(&format!("waiting for Nimbus: {}", status.message()));
                    sleep(LOOK).await;
                }
                answer => {
                    self.perseveres |= !matches!(&answer, Err(status) if status.code() == Code::Unavailable);
                    return answer;
                }
            }
        }
    }

    /// Waits a little, before something is looked at again.
    pub(super) async fn pause(&self) {
        sleep(LOOK).await;
    }

    pub(super) fn has_time(&self) -> bool {
        Instant::now() < self.until
    }

    /// What is waited for now is not counted.
    pub(super) fn gets_more_time(&mut self, time: Duration) {
        self.until = self.until.max(Instant::now()) + time;
    }

    /// Tells how it is going, if that is something new.
    pub(super) fn progress(&mut self, text: &str) {
        if self.told != text {
            text.clone_into(&mut self.told);
            self.io.say(text);
        }
    }

    /// Tells what came of a topology, and keeps it.
    pub(super) fn tell(&mut self, outcome: Outcome, outcomes: &mut Vec<Outcome>) -> Result<(), Failure> {
        if self.args.cluster.output == Output::Text {
            self.io.print(&format!("{}\n", outcome.as_line()))?;
        }
        outcomes.push(outcome);
        Ok(())
    }
}
