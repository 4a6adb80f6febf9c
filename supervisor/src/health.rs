//! How this supervisor stands, for probes and Prometheus.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galerna_coordination::metrics::StoreTimings;
use galerna_coordination::{Beat, Check, Lease, Observed};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics;
use crate::shared::Shared;
use crate::view::View;

/// What the loops note of themselves.
pub(crate) struct Health {
    /// The keeper's.
    pub(crate) keeping: Beat,
    /// The reporter's.
    pub(crate) reporting: Beat,
    /// The lease of the newest registration: until when it surely lives, and whether it is known to be lost.
    lease: Mutex<Option<(watch::Receiver<Instant>, watch::Receiver<bool>)>>,
    /// By topology: how often a worker of it was launched.
    launches: Mutex<BTreeMap<String, u64>>,
    /// What was measured of the store.
    pub(crate) store: Arc<StoreTimings>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").field("keeping", &self.keeping).finish_non_exhaustive()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            keeping: Beat::new("keeper"),
            reporting: Beat::new("reporter"),
            lease: Mutex::default(),
            launches: Mutex::default(),
            store: Arc::default(),
        }
    }
}

impl Health {
    /// A worker of this topology was launched.
    pub(crate) fn note_launch(&self, topology: &str) {
        *lock(&self.launches).entry(topology.to_owned()).or_default() += 1;
    }

    /// How often workers were launched, by topology.
    pub(crate) fn launches(&self) -> BTreeMap<String, u64> {
        lock(&self.launches).clone()
    }

    /// Forgets topologies that are gone.
    pub(crate) fn forget(&self, is_there: impl Fn(&str) -> bool) {
        lock(&self.launches).retain(|topology, _| is_there(topology));
    }

    /// The supervisor is registered, for as long as this lives.
    pub(crate) fn note_registered(&self, lease: &Lease) {
        let lease = (lease.alive_until.clone(), lease.lost.clone());
        *lock(&self.lease) = Some(lease);
    }

    /// Whether the registration surely holds at this moment; why not, if it does not.
    pub(crate) fn registration(&self) -> Result<(), String> {
        let lease = lock(&self.lease);
        let Some((alive_until, lost)) = &*lease else { return Err("not registered yet".to_owned()) };
        if *lost.borrow() {
            return Err("the registration was lost; trying to register again".to_owned());
        }
        let late = Instant::now().saturating_duration_since(*alive_until.borrow());
        if late.is_zero() { Ok(()) } else { Err(format!("the lease ran out {} s ago", late.as_secs())) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Observable {
    pub(crate) shared: Arc<Shared>,
    pub(crate) views: watch::Receiver<Arc<View>>,
}

impl Observable {
    /// Whether it is about to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leave_by.borrow().is_some()
    }
}

impl Observed for Observable {
    fn metrics(&self) -> String {
        metrics::text(self)
    }

    fn liveness(&self) -> Vec<Check> {
        vec![self.shared.health.keeping.check(), self.shared.health.reporting.check()]
    }

    fn readiness(&self) -> Vec<Check> {
        let id = &self.shared.options.id;
        let registered = self.shared.health.registration().map(|()| format!("as {id}"));
        let leaving = if self.is_leaving() { Err("is leaving") } else { Ok("no") };
        // Workers of an earlier start are adopted before the keeper comes round for the first time.
        let has_adopted = self.shared.health.keeping.has_begun();
        let adopted = if has_adopted { Ok("done") } else { Err("workers of an earlier start are looked for") };
        vec![
            Check::needed("registered", registered),
            Check::needed("leaving", leaving),
            Check::needed("adoption", adopted),
        ]
    }
}
