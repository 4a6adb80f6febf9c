//! What all parts of a nimbus share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use galerna_coordination::keys::Keys;
use galerna_coordination::{Election, Leadership, Revision, Standing, Store, StoreError, Transaction};
use galerna_protocol::{Channel, SupervisorReport};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::artifact::Needs;
use crate::blobs::BlobStore;
use crate::counts;
use crate::health::Health;
use crate::metrics::Measured;
use crate::options::Options;
use crate::rates::Rates;
use crate::reports::Reports;
use crate::view::View;

/// How long one's own writes may take to be told back by the watch.
const TOLD_BACK: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) id: String,
    /// `host:port` where others reach it.
    pub(crate) address: String,
    pub(crate) keys: Keys,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) blobs: Arc<dyn BlobStore>,
    pub(crate) view: watch::Sender<View>,
    pub(crate) standing: watch::Receiver<Standing>,
    /// Taken when this nimbus stops.
    pub(crate) election: Mutex<Option<Election>>,
    pub(crate) reports: Mutex<Reports>,
    /// Locked after `reports`, where both are.
    pub(crate) rates: Mutex<Rates>,
    /// By topology: what it wants and does not get, and why.
    pub(crate) shortfalls: Mutex<BTreeMap<String, String>>,
    /// By artifact that is needed and not here: what that means for topologies; `None` before that was looked at.
    pub(crate) lacks: Mutex<Option<BTreeMap<String, String>>>,
    /// By artifact: what it needs to run.
    pub(crate) needs: Mutex<BTreeMap<String, Needs>>,
    /// Has the reconcile loop look again.
    pub(crate) wake: Notify,
    pub(crate) stopped: CancellationToken,
    /// The connection to the leader, by its address.
    pub(crate) leader_channel: Mutex<Option<(String, Channel)>>,
    pub(crate) health: Health,
    pub(crate) measured: Measured,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Our leadership, if we may believe in it at this moment.
    pub(crate) fn leadership(&self) -> Option<Leadership> {
        lock(&self.election).as_ref()?.leadership()
    }

    /// Carries out a transaction and waits until the watch has told it back, so that what is read
    /// afterwards shows it. `None` if its conditions do not hold.
    pub(crate) async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError> {
        let revision = self.store.commit(transaction).await?;
        if let Some(revision) = revision {
            self.has_seen(revision).await;
        }
        Ok(revision)
    }

    /// Waits, for a bounded time, until the watch has told everything up to this revision.
    pub(crate) async fn has_seen(&self, revision: Revision) -> bool {
        let mut view = self.view.subscribe();
        let seen = tokio::time::timeout(TOLD_BACK, view.wait_for(|view| view.revision >= revision)).await;
        matches!(seen, Ok(Ok(_)))
    }

    /// Takes what a supervisor reports.
    pub(crate) fn take_report(&self, report: SupervisorReport) {
        // Both are held, in the order in which all take them: nothing may be assigned in between.
        let view = self.view.borrow();
        let mut reports = lock(&self.reports);
        let supervisor = report.supervisor.clone();
        let is_assigned = |topology: &str| {
            let assignment = view.assignments.get(topology);
            assignment.is_some_and(|one| counts::supervisors_of(&one.value).any(|id| id == supervisor))
        };
        let now = Instant::now();
        let spec_of = |topology: &str| Some(&*view.topologies.get(topology)?.spec.as_ref()?.value);
        lock(&self.rates).take(&report, now, spec_of);
        reports.take(report, now, is_assigned);
    }

    /// How long what was reported counts as fresh.
    pub(crate) fn freshness(&self) -> Duration {
        self.options.lease.max(Duration::from_secs(3))
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.options.clock.now_ms()
    }
}

/// As it is told over gRPC, with whether a retry can help.
pub(crate) fn store_status(error: &StoreError) -> Status {
    match error {
        StoreError::Unavailable(_) => Status::unavailable(error.to_string()),
        _ => Status::internal(error.to_string()),
    }
}
