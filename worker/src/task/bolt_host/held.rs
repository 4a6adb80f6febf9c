//! Settles tuples that a bolt keeps.

use std::sync::Arc;

use galerna_topology_api::Failure;
use galerna_topology_api::engine::{HeldEntry, HeldEvent, Staging};

use super::Host;

impl Host<'_> {
    /// Follows the decisions of a call about held tuples. After a call that failed, the tuples that it acked fail.
    pub(super) fn decide_held(&mut self, staging: &mut Staging, outcome: Result<(), &Arc<Failure>>) {
        for event in std::mem::take(&mut staging.events) {
            match (event, outcome) {
                (HeldEvent::Ack(slot), Ok(())) => {
                    if staging.held.count_ack(slot) {
                        self.settle_held(staging, slot, Ok(()));
                    }
                }
                (HeldEvent::Ack(slot) | HeldEvent::Fail(slot), Err(_)) => self.settle_held(staging, slot, outcome),
                (HeldEvent::Fail(slot), Ok(())) => {
                    let failure = self.failure("the bolt failed the tuple");
                    self.settle_held(staging, slot, Err(&failure));
                }
            }
        }
        if staging.held.has_dropped() {
            self.fail_dropped(staging);
        }
    }

    /// Fails the held tuples whose tokens were dropped without a decision.
    pub(in crate::task) fn fail_dropped(&mut self, staging: &mut Staging) {
        let failure = self.failure("a kept tuple was dropped without ack or fail");
        for slot in staging.held.take_dropped() {
            self.settle_held(staging, slot, Err(&failure));
        }
    }

    /// Settles a held tuple, unless it is settled already.
    pub(in crate::task) fn settle_held(
        &mut self,
        staging: &mut Staging,
        slot: u32,
        outcome: Result<(), &Arc<Failure>>,
    ) {
        if let Some(entry) = staging.held.remove(slot) {
            self.settle_entry(&entry, outcome);
            self.note_held(&staging.held);
        }
    }

    /// Settles what was held in an entry that is taken out already.
    pub(in crate::task) fn settle_entry(&mut self, entry: &HeldEntry, outcome: Result<(), &Arc<Failure>>) {
        self.outbox.settle_held(entry, outcome);
        let (task, stream) = entry.source;
        let place = self.in_streams.place_of(task, stream);
        if outcome.is_err() {
            self.count_failed(place, entry.is_final, !entry.anchors.is_empty());
            return;
        }
        self.count_acked(place);
        if let Some(called) = entry.called {
            let now = *self.now.get_or_insert_with(|| self.run.clock.now());
            self.counts.processed(now.saturating_sub(called).as_nanos() as u64, self.stats);
        }
    }

    /// Fails all held tuples: the instance that kept them is lost, or no call follows that could decide about
    /// them.
    pub(in crate::task) fn fail_held(&mut self, staging: &mut Staging, failure: &Arc<Failure>) {
        for entry in staging.held.clear() {
            self.settle_entry(&entry, Err(failure));
        }
        self.note_held(&staging.held);
    }
}
