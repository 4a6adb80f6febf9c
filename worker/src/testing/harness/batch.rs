//! The outcome of each tuple of a batch.

use galerna_topology_api::engine::{Decision, RowAnchors, Staging};
use galerna_topology_api::{Error, Result};

use super::bolt::Executed;
use super::bolt_host::Host;

impl Host {
    /// Notes the effects of a call for several rows, from row `first` of its batch on.
    pub(super) fn settle_rows(&mut self, staging: &mut Staging, first: usize, outcome: Result<()>) {
        self.take_early(staging);
        let refusal = staging.take_refusal().map(Error::from);
        let error = outcome.err().or(refusal);
        if error.is_none() {
            staging.withdraw_failed();
            self.take_rows(&mut staging.staged);
        }
        staging.withdraw();
        let decisions = staging.decisions.take();
        let mut rows: Vec<_> =
            decisions.into_iter().map(|decision| decided(staging, decision, error.as_ref())).collect();
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

/// The outcome of one row; `error` is the error of the call as a whole.
fn decided(staging: &mut Staging, decision: Decision, error: Option<&Error>) -> Executed {
    let error = decision.error.or_else(|| error.map(copy));
    let is_ok = error.is_none();
    if let Some(slot) = decision.kept
        && !is_ok
    {
        staging.held.remove(slot);
    }
    let is_kept = is_ok && decision.kept.is_some();
    Executed { is_acked: is_ok && !is_kept, is_kept, error, ..Executed::default() }
}

/// The text of an error, and whether it is fatal, for each row of the call that failed.
fn copy(error: &Error) -> Error {
    let text = error.to_string();
    if error.is_fatal() { Error::fatal(text) } else { text.into() }
}
