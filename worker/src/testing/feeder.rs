//! A spout that a test feeds while the topology runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_topology_api::engine::{SpoutCell, SpoutFactory};
use galerna_topology_api::{Failure, Fields, Next, Result, Row, Spout, SpoutEmitter, Streams, TopologyContext, Value};
use tokio::sync::Notify;

/// The test's end of a spout: feeds it, and sees what is acked and what fails.
///
/// What fails is not emitted again, so that the test can see it. Cheap to clone.
#[derive(Clone)]
pub struct Feeder {
    fields: Fields,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Rows came or the end was said.
    fed: Notify,
    /// Something was acked or failed.
    settled: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<Value>>,
    is_finished: bool,
    fed: u64,
    acked: Vec<u64>,
    failed: Vec<u64>,
}

impl Feeder {
    /// A feeder of rows with these fields.
    pub fn new(fields: impl Into<Fields>) -> Self {
        Self { fields: fields.into(), shared: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_news(&self) -> bool {
        let state = self.state();
        !state.waiting.is_empty() || state.is_finished
    }

    fn count_settled(&self) -> usize {
        let state = self.state();
        state.acked.len() + state.failed.len()
    }

    /// What makes the spout, for a builder or for [`LocalCluster::replace_spout`](super::LocalCluster::replace_spout).
    pub fn factory(&self) -> SpoutFactory {
        let feeder = self.clone();
        SpoutCell::factory(move || Ok(Fed { feeder: feeder.clone(), next: 0 }))
    }

    /// Has the spout emit a row; its message ids count from 0.
    pub fn feed(&self, row: impl Row) {
        let mut values = Vec::new();
        row.append_to(&mut values);
        let mut state = self.state();
        state.waiting.push_back(values);
        state.fed += 1;
        drop(state);
        self.shared.fed.notify_one();
    }

    /// Says that nothing follows: the run ends once all is settled.
    pub fn finish(&self) {
        self.state().is_finished = true;
        self.shared.fed.notify_one();
    }

    /// The ids that were acked, in order.
    pub fn acked(&self) -> Vec<u64> {
        self.state().acked.clone()
    }

    /// The ids that failed, in order.
    pub fn failed(&self) -> Vec<u64> {
        self.state().failed.clone()
    }

    /// Waits until this many were acked or failed.
    pub async fn settled(&self, count: usize) {
        loop {
            let notified = self.shared.settled.notified();
            if self.count_settled() >= count {
                return;
            }
            notified.await;
        }
    }
}

/// The spout's end.
struct Fed {
    feeder: Feeder,
    next: u64,
}

impl Spout for Fed {
    type MessageId = u64;

    fn output(&self) -> Streams {
        Streams::default_fields(self.feeder.fields.clone())
    }

    async fn next(&mut self, out: &mut SpoutEmitter<'_, u64>) -> Result<Next> {
        let (row, is_finished) = {
            let mut state = self.feeder.state();
            (state.waiting.pop_front(), state.is_finished)
        };
        match row {
            Some(row) => {
                out.emit(self.next, row);
                self.next += 1;
                Ok(Next::Emitted)
            }
            None if is_finished => Ok(Next::Exhausted),
            None => Ok(Next::Idle),
        }
    }

    async fn ready(&mut self, _: &TopologyContext) {
        loop {
            let notified = self.feeder.shared.fed.notified();
            if self.feeder.has_news() {
                return;
            }
            notified.await;
        }
    }

    async fn ack(&mut self, id: u64, _: &TopologyContext) -> Result<()> {
        self.feeder.state().acked.push(id);
        self.feeder.shared.settled.notify_waiters();
        Ok(())
    }

    async fn fail(&mut self, id: u64, _: &Failure, _: &TopologyContext) -> Result<()> {
        self.feeder.state().failed.push(id);
        self.feeder.shared.settled.notify_waiters();
        Ok(())
    }
}
