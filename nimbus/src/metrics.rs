//! What this nimbus exports to Prometheus: what it does itself, and, while it leads, how the cluster stands.
//! It counts no tuples: those are the supervisors' to tell.

mod catalogue;
mod cluster;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galerna_coordination::metrics::{
    Families, Metric, StoreTimings, Timings, add_build_info, add_process, common_metrics,
};

use crate::blobs::is_artifact_name;
use crate::core::{Core, lock};
use catalogue as of;

/// Everything that a nimbus may export.
pub fn metrics() -> Vec<Metric> {
    catalogue::ALL.iter().copied().chain(common_metrics()).collect()
}

/// What this nimbus notes of what it does.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    pub(crate) store: Arc<StoreTimings>,
    /// Answers to calls, by method and code.
    pub(crate) calls: Timings<2>,
    schedules: Timings<0>,
    rounds: Timings<0>,
    leader_changes: AtomicU64,
    assignment_changes: AtomicU64,
}

impl Measured {
    /// The scheduler has made a plan.
    pub(crate) fn note_schedule(&self, time: Duration) {
        self.schedules.note([], time);
    }

    /// The leader has compared what is wanted with what is, and written what followed.
    pub(crate) fn note_round(&self, time: Duration) {
        self.rounds.note([], time);
    }

    /// Another nimbus leads than the one before.
    pub(crate) fn note_leader_change(&self) {
        self.leader_changes.fetch_add(1, Ordering::Relaxed);
    }

    /// An assignment was written.
    pub(crate) fn note_assignment_change(&self) {
        self.assignment_changes.fetch_add(1, Ordering::Relaxed);
    }

    fn add_to(&self, families: &mut Families) {
        families.add(&of::LEADER_CHANGES, &[], self.leader_changes.load(Ordering::Relaxed));
        families.add(&of::ASSIGNMENT_CHANGES, &[], self.assignment_changes.load(Ordering::Relaxed));
        // There from the start, so that the first one is seen as a change.
        families.add(&of::SCHEDULES, &[], self.schedules.all().remove(&[]).unwrap_or_default());
        families.add(&of::ROUNDS, &[], self.rounds.all().remove(&[]).unwrap_or_default());
        for (labels, distribution) in self.calls.all() {
            families.add(&of::CALLS, &labels, distribution);
        }
        self.store.add_to(families);
    }
}

/// Everything that is measured, as text.
pub(crate) fn text(core: &Core) -> String {
    let is_leader = core.leadership().is_some();
    let mut families = Families::default();
    add_build_info(&mut families, "nimbus");
    families.add(&of::IS_LEADER, &[], u64::from(is_leader));
    if is_leader {
        let view = core.view.borrow().clone();
        let shortfalls: BTreeMap<String, String> = lock(&core.shortfalls).clone();
        cluster::add(&mut families, &view, &shortfalls);
    }
    let (count, bytes) = artifacts_in(&core.options.data.join("artifacts"));
    families.add(&of::ARTIFACTS, &[], count);
    families.add(&of::ARTIFACT_BYTES, &[], bytes);
    core.measured.add_to(&mut families);
    add_process(&mut families);
    families.into_text()
}

/// How many whole artifacts are in a folder, and how long they are together.
fn artifacts_in(folder: &Path) -> (u64, u64) {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let wholes = files.filter(|file| file.file_name().to_str().is_some_and(is_artifact_name));
    let lengths = wholes.filter_map(|file| Some(file.metadata().ok()?.len()));
    lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
}

#[cfg(test)]
mod tests;
