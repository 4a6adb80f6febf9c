//! What spouts that make up their tuples have in common: pace, an end, and retries.

use std::time::Duration;

use galerna_topology_api::{
    Boundedness, Failure, Next, Result, RetryBuffer, RetryPolicy, SpoutEmitter, TopologyContext, Value,
};

use super::pace::Pace;
use super::position::is_due;

/// Tuples that one call of `next` emits at most.
const ROWS_PER_CALL: usize = 64;

/// Emits rows that are made up one after the other, in a spout that is open.
pub(crate) struct Maker {
    pace: Pace,
    retries: RetryBuffer<u64>,
    /// The number of the next row, counted over this task.
    next: u64,
    /// How many rows this task emits.
    count: u64,
    /// When the position was reported last.
    reported_at: Option<Duration>,
}

impl Maker {
    /// For `count` rows (or endlessly many) over all tasks, `rate` of them a second.
    ///
    /// # Errors
    /// When the file of dead letters cannot be written.
    pub(crate) fn new(
        count: Option<u64>,
        rate: Option<f64>,
        policy: RetryPolicy,
        context: &TopologyContext,
    ) -> Result<Self> {
        let input = if count.is_some() { Boundedness::Bounded } else { Boundedness::Unbounded };
        let retries = RetryBuffer::new(policy, input);
        retries.check_dead_letters(context)?;
        let count = count.map_or(u64::MAX, |count| share(count, context));
        Ok(Self { pace: Pace::new(rate, context), retries, next: 0, count, reported_at: None })
    }

    /// As `Spout::next`; `make` gives the row of a number.
    pub(crate) fn next(
        &mut self,
        out: &mut SpoutEmitter<'_, u64>,
        mut make: impl FnMut(u64) -> Vec<Value>,
    ) -> Result<Next> {
        let most = out.room_left().min(ROWS_PER_CALL);
        let emitted = self.retries.emit_due(out, most);
        let room = if self.retries.is_full() { 0 } else { (most - emitted) as u64 };
        let due = self.pace.due(out.context()).min(room).min(self.count - self.next);
        for number in self.next..self.next + due {
            let row = make(number);
            out.emit(number, &row);
            self.retries.sent(number, row);
        }
        self.next += due;
        self.pace.emitted(due);
        self.report_position(out.context());
        Ok(match emitted as u64 + due {
            0 if self.next == self.count && !self.retries.is_waiting() => Next::Exhausted,
            0 => Next::Idle,
            _ => Next::Emitted,
        })
    }

    /// Reports how many rows were made, and how many are left if there is an end.
    fn report_position(&mut self, context: &TopologyContext) {
        if is_due(&mut self.reported_at, context) {
            let left = (self.count < u64::MAX).then(|| self.count - self.next);
            context.report_source(&format!("row {}", self.next), left);
        }
    }

    /// As `Spout::ready`.
    pub(crate) async fn ready(&self, context: &TopologyContext) {
        let goes_on = self.next < self.count && !self.retries.is_full();
        let next = goes_on.then(|| self.pace.wait(context));
        match [next, self.retries.next_try(context)].into_iter().flatten().min() {
            Some(wait) => context.sleep(wait).await,
            None => context.back_off().await,
        }
    }

    /// As `Spout::ack`.
    pub(crate) fn ack(&mut self, id: u64, context: &TopologyContext) {
        self.retries.ack(&id, context);
    }

    /// As `Spout::fail`.
    pub(crate) fn fail(&mut self, id: u64, failure: &Failure, context: &TopologyContext) {
        self.retries.fail(&id, failure, context);
    }
}

/// This task's share of what all tasks of the component do together.
fn share(all: u64, context: &TopologyContext) -> u64 {
    let (task, tasks) = (u64::from(context.task_index()), u64::from(context.task_count().max(1)));
    all / tasks + u64::from(task < all % tasks)
}

/// Implements [`Spout`](galerna_topology_api::Spout) for a type whose `maker: Option<Maker>` makes
/// its rows; the type adds `streams`, `start` and `row`.
macro_rules! made_spout {
    ($type:ty) => {
        impl galerna_topology_api::Spout for $type {
            type MessageId = u64;

            fn output(&self) -> galerna_topology_api::Streams {
                self.streams()
            }

            async fn open(&mut self, context: &TopologyContext) -> Result<()> {
                self.start(context)
            }

            async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
                // Taken out for the call, so that it and what makes the rows can both be changed.
                let mut maker = self.maker.take().ok_or("the spout is not open")?;
                let outcome = maker.next(out, |number| self.row(number));
                self.maker = Some(maker);
                outcome
            }

            async fn ready(&mut self, context: &TopologyContext) {
                if let Some(maker) = &self.maker {
                    maker.ready(context).await;
                }
            }

            async fn ack(&mut self, id: u64, context: &TopologyContext) -> Result<()> {
                self.maker.iter_mut().for_each(|maker| maker.ack(id, context));
                Ok(())
            }

            async fn fail(
                &mut self,
                id: u64,
                failure: &galerna_topology_api::Failure,
                context: &TopologyContext,
            ) -> Result<()> {
                self.maker.iter_mut().for_each(|maker| maker.fail(id, failure, context));
                Ok(())
            }
        }
    };
}

pub(crate) use made_spout;
