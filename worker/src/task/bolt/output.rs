//! Takes up output of spawned work between batches, and between calls that had to wait.

use galerna_topology_api::engine::{ErasedBolt, OutputCommand, Unstaged};

use super::super::Fatal;
use super::super::bolt_host::{Host, Lent};
use super::BoltTask;
use crate::output::Submission;

impl BoltTask {
    /// Takes up commands of spawned work, then waits for room if there is none.
    pub(super) async fn take_output(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        submission: Submission,
    ) -> Result<(), Fatal> {
        self.take_commands(submission);
        if self.core.outbox.is_blocked() {
            self.leave(cell).await?;
        }
        Ok(())
    }

    fn take_commands(&mut self, submission: Submission) {
        let Submission { commands, asker } = submission;
        self.core.outbox.ask(asker);
        for command in commands {
            self.take_command(command);
        }
        self.core.outbox.ask(None);
    }

    /// Takes up one command: emits its rows, then decides about tuples. If a row could not be emitted, the
    /// tuples that the command acks fail instead.
    fn take_command(&mut self, command: OutputCommand) {
        let (rows, decisions) = command.into_parts();
        let (mut host, Lent { staging, .. }) = Host::new(&mut self.core, &mut self.submissions, None);
        let staged = staging.stage_command(rows);
        if staged == Err(Unstaged::Lost) {
            // The tuples failed with the instance that kept them.
            return;
        }
        let refused = match &staged {
            Err(Unstaged::Refused(refusal)) => Some(host.list(refusal)),
            _ => None,
        };
        let failure = host.deal_outside(staging).or(refused);
        for (held, outcome) in decisions {
            let own = outcome.err().map(|error| host.list(&error));
            let failure = own.as_ref().or(failure.as_ref());
            if let Some(slot) = staging.held.decide(held, failure.is_none()) {
                host.settle_held(staging, slot, failure.map_or(Ok(()), Err));
            }
        }
    }

    /// Closes the output of spawned work, and takes up all submissions that were accepted before.
    pub(super) async fn close_output(&mut self) {
        self.submissions.close();
        while let Some(submission) = self.submissions.next_accepted().await {
            self.take_commands(submission);
            if self.core.outbox.is_blocked() {
                self.core.leave().await;
            }
        }
    }
}
