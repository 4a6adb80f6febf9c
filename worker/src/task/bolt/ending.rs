//! The end of a bolt task: spawned work ends, `finish` is called, the instance cleans up.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use galerna_topology_api::Failure;
use galerna_topology_api::engine::{BoltEvent, ErasedBolt};
use tokio::time::timeout_at;

use super::super::Fatal;
use super::super::bolt_host::{Host, Lent};
use super::{BoltTask, LastOrder, Work};
use crate::edges::{Ending, InputState, Marker};
use crate::panics::{Panic, caught};

/// How long spawned work may take at the end of a run whose messages have no time-out.
const LONGEST_PATIENCE: Duration = Duration::from_secs(30);

impl BoltTask {
    /// The task moves, and everything that came before has been executed: has the bolt let go of what
    /// it holds, and ends. Its successor says what there is to say about the edges.
    pub(super) async fn release(&mut self, cell: &mut Box<dyn ErasedBolt>) -> Result<(), Fatal> {
        self.event(cell, BoltEvent::Flush).await?;
        self.wait_for_spawned_work(cell, |_| true).await?;
        self.close_output().await;
        self.core.leave().await;
        self.clean_up(cell).await;
        Ok(())
    }

    /// Waits until spawned work has decided about all held tuples and dropped its guards, as long as
    /// `waits` says so. Tracked tuples were decided before the input could end, so the held tuples are
    /// untracked: no spout replays them.
    async fn wait_for_spawned_work(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        waits: impl Fn(&InputState) -> bool,
    ) -> Result<(), Fatal> {
        let patience = self.core.context.config().message_timeout().unwrap_or(LONGEST_PATIENCE);
        let deadline = self.core.run.clock.at(self.core.run.clock.now() + patience);
        while self.order != Some(LastOrder::Exit) && waits(&self.input.state) {
            match timeout_at(deadline, self.next_of_spawned_work()).await {
                Ok(Some(work)) => self.handle(cell, work).await?,
                Ok(None) => break,
                Err(_) => {
                    let (held, guards) = (self.core.staging.held.len(), self.submissions.guards());
                    let message = format!(
                        "spawned work was cut off after {patience:?}: it still had held tuples ({held}) or output guards \
                         ({guards}) when the task was to end or move"
                    );
                    self.core.report(&message);
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next work, or `None` once spawned work holds neither tuples nor guards.
    ///
    /// # Cancel safety
    /// If the future is dropped, no work is lost.
    async fn next_of_spawned_work(&mut self) -> Option<Work> {
        if self.leave_or_tick().await {
            return Some(Work::Tick);
        }
        poll_fn(|cx| match self.poll_work(cx) {
            Poll::Ready(work) => Poll::Ready(Some(work)),
            Poll::Pending if self.submissions.poll_guards(cx) == 0 && self.core.staging.held.is_empty() => {
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// All inputs have ended: says last words and tells the receivers, unless an input is opened again
    /// before; whether it did. A bolt that was resumed says last words again only if more tuples came.
    pub(super) async fn say_last_words(
        &mut self,
        cell: &mut Box<dyn ErasedBolt>,
        ending: Ending,
    ) -> Result<bool, Fatal> {
        self.wait_for_spawned_work(cell, |input| input.ending.is_some()).await?;
        if self.input.state.ending.is_none() {
            return Ok(false);
        }
        self.close_output().await;
        // After output of a `finish` was lost, no other bolt may report success: `finish` is not called.
        let is_whole = self.core.run.failure().is_none_or(|failure| failure.code != "finish_failed");
        let is_due = self.said_at != Some(self.executed);
        if ending == Ending::Finished && is_whole && is_due {
            self.said_at = Some(self.executed);
            self.core.outbox.is_final = true;
            if !self.event(cell, BoltEvent::Finish).await? {
                let message = format!("`{}` (task {}) failed in `finish`", self.core.component, self.core.task);
                self.core.run.mark_failed("finish_failed", &message);
            }
        }
        self.fail_held();
        self.core.leave().await;
        self.core.outbox.send_marker(Marker::End(ending));
        Ok(true)
    }

    /// Fails the tuples that the bolt still holds: no call follows that could decide about them.
    fn fail_held(&mut self) {
        let (mut host, Lent { staging, .. }) = Host::new(&mut self.core, &mut self.submissions, None);
        host.fail_held(staging, &Arc::new(Failure::Lost));
    }

    /// Ends the output of spawned work and calls `cleanup`.
    pub(super) async fn clean_up(&mut self, cell: &mut Box<dyn ErasedBolt>) {
        self.close_output().await;
        self.fail_held();
        self.core.flush(self.core.run.clock.now());
        match caught(cell.cleanup(&self.core.context)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.core.report(&format!("cleanup: {error}")),
            Err(Panic(message)) => self.core.report(&format!("cleanup: {message}")),
        }
        self.core.counts.publish(&self.core.stats);
    }
}
