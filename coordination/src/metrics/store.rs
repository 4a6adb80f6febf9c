//! A store whose answers are timed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::distribution::Timings;
use super::family::{Families, Metric};
use crate::store::{Entry, Lease, Listing, Revision, Store, StoreError, Transaction, Watch};

const OPERATIONS: Metric = Metric::histogram(
    "galerna_store_operation_seconds",
    "How long the store took to do what this daemon asked of it.",
    &["operation", "outcome"],
);
const DISCONNECTS: Metric = Metric::counter(
    "galerna_store_watch_disconnects_total",
    "How often this daemon lost sight of the store while it watched it.",
    &[],
);

/// All metrics of the store.
pub const STORE_METRICS: &[Metric] = &[OPERATIONS, DISCONNECTS];

/// What was measured of a store.
#[derive(Debug, Default)]
pub struct StoreTimings {
    operations: Timings<2>,
    disconnects: AtomicU64,
}

impl StoreTimings {
    /// A watch has told that the store cannot be reached.
    pub fn note_disconnect(&self) {
        self.disconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// What has come together up to now.
    pub fn add_to(&self, families: &mut Families) {
        for (labels, distribution) in self.operations.all() {
            families.add(&OPERATIONS, &labels, distribution);
        }
        families.add(&DISCONNECTS, &[], self.disconnects.load(Ordering::Relaxed));
    }

    fn note<T>(&self, operation: &'static str, began: Instant, answer: &Result<T, StoreError>, good: &'static str) {
        let outcome = match answer {
            Ok(_) => good,
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::Refused(_)) => "refused",
            Err(StoreError::Malformed { .. }) => "malformed",
        };
        self.operations.note([operation, outcome], began.elapsed());
    }
}

/// A store that does what another does, and times it. What is dropped before it is answered is not noted.
#[derive(Debug)]
pub struct MeasuredStore {
    store: Arc<dyn Store>,
    timings: Arc<StoreTimings>,
}

impl MeasuredStore {
    /// Has what this store does be noted there.
    pub fn new(store: Arc<dyn Store>, timings: Arc<StoreTimings>) -> Self {
        Self { store, timings }
    }
}

#[async_trait]
impl Store for MeasuredStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let began = Instant::now();
        let answer = self.store.get(key).await;
        self.timings.note("get", began, &answer, "ok");
        answer
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let began = Instant::now();
        let answer = self.store.list(prefix).await;
        self.timings.note("list", began, &answer, "ok");
        answer
    }

    async fn commit(&self, transaction: Transaction) -> Result<Option<Revision>, StoreError> {
        let began = Instant::now();
        let answer = self.store.commit(transaction).await;
        let good = if matches!(answer, Ok(None)) { "conflict" } else { "ok" };
        self.timings.note("commit", began, &answer, good);
        answer
    }

    fn watch(&self, prefix: &str) -> Watch {
        self.store.watch(prefix)
    }

    async fn lease(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let began = Instant::now();
        let answer = self.store.lease(ttl).await;
        self.timings.note("lease", began, &answer, "ok");
        answer
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        let began = Instant::now();
        let answer = self.store.revoke(lease).await;
        self.timings.note("revoke", began, &answer, "ok");
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, MemoryStore};

    #[tokio::test]
    async fn operations_are_told_apart_by_what_became_of_them() {
        let timings = Arc::new(StoreTimings::default());
        let store = MeasuredStore::new(Arc::new(MemoryStore::new()), Arc::clone(&timings));
        for _ in 0..2 {
            let absent = Condition::Absent("/a".to_owned());
            store.commit(Transaction::new().when(absent).put("/a", "1")).await.expect("it answers");
        }
        store.get("/a").await.expect("it answers");
        timings.note_disconnect();
        let mut families = Families::default();
        timings.add_to(&mut families);
        let text = families.into_text();
        for line in [
            "galerna_store_operation_seconds_count{operation=\"commit\",outcome=\"conflict\"} 1",
            "galerna_store_operation_seconds_count{operation=\"commit\",outcome=\"ok\"} 1",
            "galerna_store_operation_seconds_count{operation=\"get\",outcome=\"ok\"} 1",
            "galerna_store_watch_disconnects_total 1",
        ] {
            assert!(text.lines().any(|one| one == line), "`{line}` is not in {text}");
        }
    }
}
