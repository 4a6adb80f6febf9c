//! What became of each tuple of a batch.

use galerna_topology_api::engine::{RowAnchors, Staging};
use galerna_topology_api::{Error, Result};

use super::{Executed, Host};

impl Host {
    /// Notes what a call did that was given several rows, from row `first` of its batch on.
    pub(super) fn settle_rows(&mut self, staging: &mut Staging, first: usize, outcome: Result<()>) {
        staging.take_handed_over();
        let refusal = staging.take_refusal().map(Error::from);
        let error = outcome.err().or(refusal);
        if error.is_none() {
            staging.withdraw_failed();
            self.take_rows(&mut staging.staged);
        }
        staging.withdraw();
        let mut rows = Vec::new();
        for decision in staging.decisions.take() {
            let mut executed = Executed { error: decision.error, ..Executed::default() };
            if let Some(error) = &error {
                executed.error.get_or_insert_with(|| error.to_string().into());
            }
            let is_ok = executed.error.is_none();
            if let Some(slot) = decision.kept
                && !is_ok
            {
                staging.held.remove(slot);
            }
            executed.is_kept = is_ok && decision.kept.is_some();
            executed.is_acked = is_ok && !executed.is_kept;
            rows.push(executed);
        }
        self.decide(staging, error.is_none());
        let call = std::mem::take(&mut self.executed);
        let last = rows.len() - 1;
        for (emitted, anchors) in call.emitted.into_iter().zip(self.anchors.drain(..)) {
            let row = if let RowAnchors::Input(row) = anchors { row as usize - first } else { last };
            rows[row].emitted.push(emitted);
        }
        rows[last].settled = call.settled;
        self.rows.append(&mut rows);
    }
}
