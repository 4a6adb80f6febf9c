//! How a bolt task ends: what it holds is decided, last words are said, the instance cleans up.

use std::time::Duration;

use galerna_topology_api::engine::{BoltEvent, ErasedBolt};
use tokio::time::timeout_at;

use super::super::Fatal;
use super::{BoltTask, LastOrder};
use crate::edges::{Ending, Marker};
use crate::panics::{Panic, caught};

/// How long spawned work may take at the end of a run whose messages have no time-out.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

impl BoltTask {
    /// The task moves, and everything that came before has been executed: has the bolt let go of what
    /// it holds, and ends. Its successor says what there is to say about the edges.
    pub(super) async fn release(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        self.event(cell, BoltEvent::Flush).await?;
        self.settle_held(cell).await?;
        self.core.leave().await;
        self.clean_up(cell).await;
        Ok(())
    }

    /// Gives spawned work the time to decide about what the bolt still holds. What is tracked was
    /// decided before the input could end, so this concerns tuples that nobody replays.
    pub(super) async fn settle_held(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        let patience = self.core.context.config().message_timeout().unwrap_or(LONGEST_PATIENCE);
        let deadline = self.core.run.clock.at(self.core.run.clock.now() + patience);
        while !self.core.staging.held.is_empty() {
            match timeout_at(deadline, self.next_work()).await {
                Ok(work) => {
                    self.handle(cell, work).await?;
                    if self.order == Some(LastOrder::Exit) {
                        break;
                    }
                }
                Err(_) => {
                    let held = self.core.staging.held.len();
                    self.core.report(&format!("{held} tuples were still held {patience:?} after the input ended"));
                    break;
                }
            }
        }
        Ok(())
    }

    /// All inputs have ended: says last words and tells the receivers. A bolt that was resumed says
    /// them again only if more tuples came.
    pub(super) async fn say_last_words(&mut self, cell: &mut Box<dyn ErasedBolt>, ending: Ending) -> Result<(), Fatal> {
        self.settle_held(cell).await?;
        // Where last words were lost, nobody is told that all is well.
        let is_whole = self.core.run.failure().is_none_or(|failure| failure.code != "finish_failed");
        let is_due = self.said_at != Some(self.executed);
        if ending == Ending::Finished && is_whole && is_due {
            self.said_at = Some(self.executed);
            self.core.outbox.is_final = true;
            if !self.event(cell, BoltEvent::Finish).await? {
                let message = format!("`{}` (task {}) failed in `finish`", self.core.component, self.core.task);
                self.core.run.mark_failed("finish_failed", message);
            }
            self.settle_held(cell).await?;
        }
        self.core.leave().await;
        self.core.outbox.send_marker(Marker::End(ending));
        Ok(())
    }

    pub(super) async fn clean_up(&mut self, cell: &mut Box<dyn ErasedBolt>) {
        match caught(cell.cleanup(&self.core.context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.core.report(&format!("cleanup: {error}")),
            Err(Panic(message)) => self.core.report(&format!("cleanup: {message}")),
        }
        self.core.counts.publish(&self.core.stats);
    }
}
