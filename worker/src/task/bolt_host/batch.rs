//! Settles a call for several rows of a batch: one decision for each row.

use std::ops::Range;
use std::sync::Arc;

use galerna_topology_api::engine::{Batch, Decision, Flow, Staging};
use galerna_topology_api::{Error, ExecuteInfo, Failure, Result};

use super::Host;
use crate::acks::AckKind;
use crate::routing::Stray;

impl Host<'_> {
    /// Deals the rows that the call emitted, and acks, fails or keeps each input. After an error all inputs
    /// fail.
    pub(super) fn settle_rows(&mut self, staging: &mut Staging, rows: Range<usize>, outcome: Result<()>) -> Flow {
        let Some(batch) = self.batch else { return Flow::Stop };
        self.stats.activity.progress();
        self.now = None;
        self.count_executed(rows.len());
        let early = self.take_early(staging, Some(rows.start));
        let mut made = early.made;
        made.resize(rows.len(), 0);
        let refusal = staging.take_refusal().map(Error::from);
        let error = outcome.err().or(fail_strays(staging, early.strays)).or(refusal).or_else(|| {
            staging.withdraw_failed();
            let strays = self.deal(&mut staging.staged, &mut staging.held, Some(rows.start), &mut made);
            fail_strays(staging, strays)
        });
        staging.withdraw();
        let failure = error.map(|error| self.list_failure(error));
        for ((row, decision), made) in rows.zip(staging.decisions.take()).zip(made) {
            let Decision { kept, error } = decision;
            let own = error.map(|error| self.list_failure(error));
            let outcome = own.as_ref().or(failure.as_ref()).map_or(Ok(made), Err);
            self.settle_one(staging, (batch, row), kept, outcome);
        }
        self.note_held(&staging.held);
        self.decide_held(staging, failure.as_ref().map_or(Ok(()), Err));
        self.timed = None;
        self.was_pending = false;
        self.call_began = self.now.take().unwrap_or_else(|| self.run.clock.now());
        self.flow(self.call_began)
    }

    /// Settles one row of a call. `outcome`: the XOR of the edges made for the row, or why it failed. `kept`: the
    /// slot of a kept row.
    fn settle_one(
        &mut self,
        staging: &mut Staging,
        (batch, row): (&Batch, usize),
        kept: Option<u32>,
        outcome: Result<u64, &Arc<Failure>>,
    ) {
        let is_ok = outcome.is_ok();
        self.hooks.execute(&ExecuteInfo { task: self.task, tuple: batch.tuple(row), is_ok }, self.run);
        match (outcome, kept) {
            (Ok(made), None) => {
                self.outbox.ack_inputs(batch, [(row, made)].into_iter());
                self.count_acked(self.place);
                self.note_timed();
            }
            (Ok(made), Some(slot)) => {
                if let Some(entry) = staging.held.entry(slot) {
                    entry.emitted ^= made;
                    entry.called = Some(self.call_began);
                }
                self.outbox.say_of_input(batch, row, AckKind::Held);
            }
            (Err(failure), kept) => {
                // Without its entry, a kept row cannot fail a second time.
                if let Some(slot) = kept {
                    staging.held.remove(slot);
                }
                self.fail_row(batch, row, failure);
            }
        }
    }

    /// After a panic of a call: fails all its rows, from `row` on. Returns the number of these rows.
    pub(in crate::task) fn fail_call(
        &mut self,
        staging: &mut Staging,
        batch: &Batch,
        row: usize,
        message: &str,
    ) -> usize {
        let failure = self.failure(message);
        let mut slots: Vec<u32> = staging.kept.take().into_iter().collect();
        let decisions = staging.decisions.take();
        slots.extend(decisions.iter().filter_map(|decision| decision.kept));
        // Without their entries, kept rows cannot fail a second time.
        for slot in slots {
            staging.held.remove(slot);
        }
        let rows = row..batch.rows.min(row + decisions.len().max(1));
        for row in rows.clone() {
            self.fail_row(batch, row, &failure);
        }
        self.count_executed(rows.len());
        rows.len()
    }
}

/// Fails the inputs of rows without a receiver. Returns the first error of a row that has no input: the call
/// fails then.
fn fail_strays(staging: &mut Staging, strays: Vec<(Option<usize>, Stray)>) -> Option<Error> {
    let mut error = None;
    for (row, stray) in strays {
        match row {
            Some(row) => staging.decisions.fail(row, stray.into()),
            None => {
                error.get_or_insert_with(|| stray.into());
            }
        }
    }
    error
}
