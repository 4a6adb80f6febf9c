//! Credit goes back to the lanes that sent the rows.

use std::sync::{Arc, MutexGuard, PoisonError};

use galerna_topology_api::TaskId;

use super::{DestId, Lane, LaneCredits};
use crate::credit::Progress;
use crate::exchange::Exchange;
use crate::link::give_back_by;
use crate::parcel::Origin;

/// The credits of the lanes of this worker, as one of them has come to know them.
#[derive(Debug)]
pub(super) struct Origins {
    exchange: Arc<Exchange>,
    /// By lane.
    credits: Vec<Option<Arc<LaneCredits>>>,
}

impl Origins {
    pub(super) fn new(exchange: Arc<Exchange>) -> Self {
        Self { exchange, credits: Vec::new() }
    }

    /// The credits of a lane, if there is such a lane.
    fn of(&mut self, lane: DestId) -> Option<&LaneCredits> {
        let place = lane as usize;
        if place >= self.credits.len() {
            self.credits.resize(place + 1, None);
        }
        let known = &mut self.credits[place];
        if known.is_none() {
            *known = self.exchange.port(lane).map(|port| port.credits.clone());
        }
        known.as_deref()
    }
}

/// Gives back the credit for rows that a task has processed. The memory of the rows counts as free when this is
/// dropped.
pub(crate) struct Repayment<'a> {
    lane: &'a Lane,
    origins: MutexGuard<'a, Origins>,
    task: TaskId,
    progress: Progress,
    bytes: i64,
}

impl Repayment<'_> {
    /// Gives back the weight of rows to those who sent them.
    pub(crate) fn give_back(&mut self, origin: &Origin, weight: usize) {
        let (task, progress) = (self.task, self.progress);
        match origin {
            Origin::Lane(lane) => {
                if let Some(credits) = self.origins.of(*lane) {
                    self.bytes += credits.give_back_rows(task, weight, progress);
                }
            }
            Origin::Link { link, lane, launch } => give_back_by(&**link, (*lane, *launch), task, weight, progress),
        }
    }
}

/// All lanes count their memory together, so each change of the count costs much.
impl Drop for Repayment<'_> {
    fn drop(&mut self) {
        self.lane.port.credits.free(self.bytes);
    }
}

impl Lane {
    /// Begins to give back credit for rows that a task of the lane has processed.
    pub(crate) fn repay(&self, task: TaskId, progress: Progress) -> Repayment<'_> {
        let origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        Repayment { lane: self, origins, task, progress, bytes: 0 }
    }
}
