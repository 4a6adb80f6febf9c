//! The last report of every incarnation, in memory and on disk, so that totals outlive workers and
//! this daemon.

mod fold;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use galerna_protocol::{WorkerEnd, WorkerReport, WorkerState};

/// So many ended incarnations of one slot are kept apart; older ones are summed up in one.
const KEPT_APART: usize = 16;
/// So many unexpected ends of one slot are kept; of earlier ones only the number.
const KEPT_ENDS: usize = 5;

/// One launch of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) topology: String,
    pub(crate) slot: u32,
    pub(crate) incarnation: u64,
}

#[derive(Debug)]
struct Stored {
    report: WorkerReport,
    is_dirty: bool,
    /// How many heartbeats this start of the daemon has received.
    heartbeats: u64,
    /// Whether heartbeats have been missing for so long that people should know.
    is_silent: bool,
}

impl Stored {
    fn new(report: WorkerReport, is_dirty: bool) -> Self {
        Self { report, is_dirty, heartbeats: 0, is_silent: false }
    }

    /// The report for others, who also learn whether the worker is silent.
    fn shown(&self) -> WorkerReport {
        let mut report = self.report.clone();
        if self.is_silent && matches!(report.state(), WorkerState::Starting | WorkerState::Running) {
            report.set_state(WorkerState::NotResponding);
        }
        report
    }
}

/// All reports.
#[derive(Debug)]
pub(crate) struct Reports {
    folder: PathBuf,
    entries: BTreeMap<Key, Stored>,
    /// Files of entries that were folded into others.
    stale: Vec<PathBuf>,
}

/// What is to be done on disk.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) files: Vec<(PathBuf, WorkerReport)>,
    /// Removed only after the above are written.
    pub(crate) stale: Vec<PathBuf>,
}

impl Reports {
    /// Reads what an earlier start has left.
    pub(crate) fn load(folder: PathBuf) -> Self {
        let mut entries = BTreeMap::new();
        for path in files_in(&folder) {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let Some(report) = crate::files::read_json::<WorkerReport>(&path) else { continue };
            let Some(id) = &report.id else { continue };
            let key = Key { topology: report.topology_id.clone(), slot: id.slot, incarnation: report.incarnation };
            entries.insert(key, Stored::new(report, false));
        }
        Self { folder, entries, stale: Vec::new() }
    }

    /// A worker was launched or adopted.
    pub(crate) fn begin(&mut self, key: Key, report: WorkerReport) {
        let (topology, slot) = (key.topology.clone(), key.slot);
        self.entries.insert(key, Stored::new(report, true));
        self.fold_old(&topology, slot);
    }

    /// Has this report replace the one before. Whether something has changed that others wait for.
    pub(crate) fn take(&mut self, key: &Key, mut report: WorkerReport) -> bool {
        let Some(stored) = self.entries.get_mut(key) else { return false };
        stored.heartbeats += 1;
        let before = &stored.report;
        report.topology_id = key.topology.clone();
        report.id.clone_from(&before.id);
        report.incarnation = key.incarnation;
        report.pid = before.pid;
        if report.address.is_empty() {
            report.address.clone_from(&before.address);
        }
        if report.started_unix_ms == 0 {
            report.started_unix_ms = before.started_unix_ms;
        }
        report.exit.clone_from(&before.exit);
        report.end.clone_from(&before.end);
        report.unexpected_ends = before.unexpected_ends;
        report.may_lack_counts = before.may_lack_counts;
        if before.state() == WorkerState::Gone || report.state() == WorkerState::Gone {
            // Whether it is gone is for its supervisor to say. Its last words may come after its end.
            report.state = before.state;
            // What its supervisor has to say of its end is of no component.
            report.errors.extend(before.errors.iter().filter(|error| error.component.is_empty()).cloned());
        }
        if report.state() == WorkerState::Gone {
            fold::clear_gauges(&mut report);
        }
        let is_news = (before.state, before.generation, before.settled_generation, &before.failure, &before.executors)
            != (report.state, report.generation, report.settled_generation, &report.failure, &report.executors);
        // That time goes on is no reason to write the disk.
        stored.report.uptime_ms = report.uptime_ms;
        stored.is_dirty |= stored.report != report;
        stored.report = report;
        is_news
    }

    /// A worker has said where it is reached.
    pub(crate) fn note_address(&mut self, key: &Key, address: &str) {
        if let Some(stored) = self.entries.get_mut(key) {
            stored.report.address = address.to_owned();
            stored.is_dirty = true;
        }
    }

    /// A worker without anything to report yet is alive.
    pub(crate) fn note_heartbeat(&mut self, key: &Key) {
        if let Some(stored) = self.entries.get_mut(key) {
            stored.heartbeats += 1;
        }
    }

    /// How many heartbeats of a worker were received.
    pub(crate) fn heartbeats(&self, key: &Key) -> u64 {
        self.entries.get(key).map_or(0, |stored| stored.heartbeats)
    }

    /// Notes whether a worker is shown as not responding. Whether that has changed.
    pub(crate) fn set_silent(&mut self, key: &Key, is_silent: bool) -> bool {
        let stored = self.entries.get_mut(key);
        stored.is_some_and(|stored| std::mem::replace(&mut stored.is_silent, is_silent) != is_silent)
    }

    /// A worker is gone; nobody had ordered that if there is an `end`.
    pub(crate) fn note_exit(&mut self, key: &Key, exit: String, may_lack_counts: bool, end: Option<WorkerEnd>) {
        if let Some(stored) = self.entries.get_mut(key) {
            stored.report.set_state(WorkerState::Gone);
            fold::clear_gauges(&mut stored.report);
            stored.report.exit = exit;
            stored.report.may_lack_counts = may_lack_counts;
            stored.report.unexpected_ends = u64::from(end.is_some());
            stored.report.end = end;
            stored.is_dirty = true;
        }
        self.drop_old_ends(&key.topology, key.slot);
    }

    fn drop_old_ends(&mut self, topology: &str, slot: u32) {
        let key = |incarnation| Key { topology: topology.to_owned(), slot, incarnation };
        let launches = self.entries.range_mut(key(0)..=key(u64::MAX)).rev();
        for (_, stored) in launches.filter(|(_, stored)| stored.report.end.is_some()).skip(KEPT_ENDS) {
            stored.report.end = None;
            stored.is_dirty = true;
        }
    }

    /// The report of one incarnation.
    pub(crate) fn of(&self, key: &Key) -> Option<&WorkerReport> {
        self.entries.get(key).map(|stored| &stored.report)
    }

    /// The report of the worker that lives in a slot.
    pub(crate) fn living(&self, topology: &str, slot: u32) -> Option<&WorkerReport> {
        let reports = self.of_slot(topology, slot).rev().map(|(_, stored)| &stored.report);
        reports.into_iter().find(|report| report.state() != WorkerState::Gone)
    }

    /// Those that should live, as far as is known here.
    pub(crate) fn all_living(&self) -> Vec<Key> {
        let living = self.entries.iter().filter(|(_, stored)| stored.report.state() != WorkerState::Gone);
        living.map(|(key, _)| key.clone()).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<WorkerReport> {
        self.entries.values().map(Stored::shown).collect()
    }

    /// Forgets topologies that are gone, except for workers that still live.
    pub(crate) fn forget(&mut self, is_there: impl Fn(&str) -> bool) {
        let mut gone = BTreeSet::new();
        self.entries.retain(|key, stored| {
            let stays = is_there(&key.topology) || stored.report.state() != WorkerState::Gone;
            if !stays {
                gone.insert(key.clone());
            }
            stays
        });
        self.stale.extend(gone.iter().map(|key| path_in(&self.folder, key)));
    }

    /// What has changed since the last call.
    pub(crate) fn take_writes(&mut self) -> Writes {
        let mut files = Vec::new();
        for (key, stored) in &mut self.entries {
            if std::mem::take(&mut stored.is_dirty) {
                files.push((path_in(&self.folder, key), stored.report.clone()));
            }
        }
        Writes { files, stale: std::mem::take(&mut self.stale) }
    }

    fn of_slot(&self, topology: &str, slot: u32) -> impl DoubleEndedIterator<Item = (&Key, &Stored)> {
        let key = |incarnation| Key { topology: topology.to_owned(), slot, incarnation };
        self.entries.range(key(0)..=key(u64::MAX))
    }

    fn fold_old(&mut self, topology: &str, slot: u32) {
        let gone: Vec<Key> = self
            .of_slot(topology, slot)
            .filter(|(_, stored)| stored.report.state() == WorkerState::Gone)
            .map(|(key, _)| key.clone())
            .collect();
        for pair in gone.windows(2).take(gone.len().saturating_sub(KEPT_APART)) {
            let Some(older) = self.entries.remove(&pair[0]) else { continue };
            if let Some(newer) = self.entries.get_mut(&pair[1]) {
                fold::add(&mut newer.report, older.report);
                newer.is_dirty = true;
            }
            self.stale.push(self.path(&pair[0]));
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        path_in(&self.folder, key)
    }
}

impl Writes {
    /// Does it. What fails is logged: reports are sent all the same.
    pub(crate) fn carry_out(self) {
        for (path, report) in self.files {
            if let Err(error) = crate::files::write_json(&path, &report) {
                tracing::warn!("{} cannot be written: {error}", path.display());
            }
        }
        for path in self.stale {
            crate::files::remove(&path);
            if let Some(folder) = path.parent() {
                // Only the last one of a topology succeeds.
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

fn path_in(folder: &Path, key: &Key) -> PathBuf {
    folder.join(&key.topology).join(format!("{}-{}.json", key.slot, key.incarnation))
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    list(folder).flat_map(|topology| list(&topology).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use galerna_protocol::{TaskReport, WorkerId};

    use super::*;

    fn key(incarnation: u64) -> Key {
        Key { topology: "t-1".to_owned(), slot: 7, incarnation }
    }

    fn report(acked: u64) -> WorkerReport {
        let tasks = vec![TaskReport { task: 1, acked, pending: 3, queued: 4, queue_capacity: 5, ..Default::default() }];
        let state = WorkerState::Running.into();
        WorkerReport {
            topology_id: "t-1".to_owned(),
            id: Some(WorkerId::new("s", 7)),
            state,
            tasks,
            ..Default::default()
        }
    }

    fn total(reports: &Reports) -> u64 {
        reports.all().iter().flat_map(|report| &report.tasks).map(|task| task.acked).sum()
    }

    fn gauges(reports: &Reports) -> (u64, u64, u64) {
        let task = &reports.all()[0].tasks[0];
        (task.pending, task.queued, task.queue_capacity)
    }

    #[test]
    fn counts_of_many_incarnations_survive_a_restart_in_few_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        for incarnation in 1..=50 {
            reports.begin(key(incarnation), report(0));
            let counted = WorkerReport { incarnation: 99, ..report(incarnation) };
            reports.take(&key(incarnation), counted);
            reports.note_exit(&key(incarnation), "exited with code 1".to_owned(), true, None);
            reports.take_writes().carry_out();
        }
        assert_eq!(total(&reports), 50 * 51 / 2);
        let again = Reports::load(folder.path().to_owned());
        assert_eq!(again.all(), reports.all());
        assert!(files_in(folder.path()).len() <= KEPT_APART + 1);
    }

    #[test]
    fn the_last_five_ends_of_a_slot_are_kept_and_all_are_counted_over_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        for incarnation in 1..=40 {
            reports.begin(key(incarnation), report(0));
            let end = WorkerEnd { incarnation, ..WorkerEnd::default() };
            // Each third one was told to end.
            let end = Some(end).filter(|_| incarnation % 3 != 0);
            reports.note_exit(&key(incarnation), String::new(), false, end);
            // What it said last arrives after its end.
            reports.take(&key(incarnation), report(1));
            reports.take_writes().carry_out();
        }
        let reports = Reports::load(folder.path().to_owned()).all();
        let kept: Vec<u64> = reports.iter().filter_map(|report| Some(report.end.as_ref()?.incarnation)).collect();
        assert_eq!(kept, [34, 35, 37, 38, 40]);
        assert_eq!(reports.iter().map(|report| report.unexpected_ends).sum::<u64>(), 27);
    }

    #[test]
    fn a_silent_worker_is_shown_as_not_responding_unless_it_has_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        reports.begin(key(1), report(0));
        let state = |reports: &Reports| reports.all()[0].state();
        assert!(reports.set_silent(&key(1), true) && !reports.set_silent(&key(1), true));
        assert_eq!(state(&reports), WorkerState::NotResponding);
        assert!(reports.living("t-1", 7).is_some());
        assert!(reports.set_silent(&key(1), false));
        assert_eq!(state(&reports), WorkerState::Running);
        reports.set_silent(&key(1), true);
        let drained = WorkerReport { state: WorkerState::Drained.into(), ..report(0) };
        reports.take(&key(1), drained);
        assert_eq!(state(&reports), WorkerState::Drained, "whoever waits for that has to see it");
        reports.note_exit(&key(1), String::new(), false, None);
        assert_eq!(state(&reports), WorkerState::Gone);
    }

    #[test]
    fn last_words_count_after_the_end_but_do_not_bring_a_worker_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        reports.begin(key(1), report(0));
        assert_eq!(gauges(&reports), (3, 4, 5));
        reports.note_exit(&key(1), "exited with code 0".to_owned(), false, None);
        assert_eq!(gauges(&reports), (0, 0, 0), "nothing waits in a worker that is gone");
        reports.take(&key(1), report(5));
        assert_eq!(total(&reports), 5);
        assert_eq!(reports.all()[0].state(), WorkerState::Gone);
        assert_eq!(gauges(&reports), (0, 0, 0));
        assert_eq!(reports.all()[0].exit, "exited with code 0");
        assert!(reports.living("t-1", 7).is_none());
    }

    #[test]
    fn report_in_which_only_time_went_on_is_kept_but_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        reports.begin(key(1), report(0));
        reports.take(&key(1), WorkerReport { uptime_ms: 1_000, ..report(5) });
        assert_eq!(reports.take_writes().files.len(), 1);
        reports.take(&key(1), WorkerReport { uptime_ms: 2_000, ..report(5) });
        assert!(reports.take_writes().files.is_empty());
        assert_eq!(reports.all()[0].uptime_ms, 2_000);
        reports.take(&key(1), WorkerReport { uptime_ms: 3_000, ..report(6) });
        assert_eq!(reports.take_writes().files.len(), 1);
    }

    #[test]
    fn reports_of_topologies_that_are_gone_are_forgotten_on_disk_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reports = Reports::load(folder.path().to_owned());
        reports.begin(key(1), report(1));
        reports.take_writes().carry_out();
        reports.forget(|_| false);
        assert_eq!(reports.all().len(), 1, "it still lives");
        reports.note_exit(&key(1), String::new(), false, None);
        reports.forget(|_| true);
        assert_eq!(reports.all().len(), 1);
        reports.forget(|_| false);
        reports.take_writes().carry_out();
        assert!(reports.all().is_empty());
        assert!(files_in(folder.path()).is_empty());
    }
}
