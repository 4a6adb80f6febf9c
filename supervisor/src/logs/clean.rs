//! Removes what topologies that are gone have left on disk.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// Logs of topologies that are gone are kept for a day, those of the last 50 of them.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);
const KEPT: usize = 50;

/// Cleans the folders of logs and working folders: `is_there` says which topologies are not gone.
pub(crate) fn clean(logs: &Path, work: &Path, unix_ms: i64, is_there: impl Fn(&str) -> bool) {
    let gone = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| !is_there(&entry.file_name().to_string_lossy()));
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    for folder in gone(work) {
        remove(&folder);
    }
    let mut dated: Vec<_> = gone(logs).into_iter().map(|folder| (written_at(&folder), folder)).collect();
    dated.sort();
    let surplus = dated.len().saturating_sub(KEPT);
    let now = Duration::from_millis(u64::try_from(unix_ms).unwrap_or_default());
    for (at, (written, folder)) in dated.into_iter().enumerate() {
        if at < surplus || now.saturating_sub(written) > KEPT_FOR {
            remove(&folder);
        }
    }
}

/// When something was last written there, since 1970.
fn written_at(folder: &Path) -> Duration {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let written = files.filter_map(|file| file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    written.max().unwrap_or_default()
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!("{} cannot be removed: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_stay_for_a_day_and_working_folders_as_long_as_the_topology() {
        let root = tempfile::tempdir().expect("a folder");
        let (logs, work) = (root.path().join("logs"), root.path().join("work"));
        for topology in ["gone-1", "here-2"] {
            for folder in [&logs, &work] {
                fs::create_dir_all(folder.join(topology)).expect("created");
                fs::write(folder.join(topology).join("6701.log"), "x").expect("written");
            }
        }
        let written = written_at(&logs.join("gone-1")).as_millis() as i64;
        let is_there = |topology: &str| topology == "here-2";
        clean(&logs, &work, written + 1_000, is_there);
        assert!(logs.join("gone-1").exists() && !work.join("gone-1").exists());
        clean(&logs, &work, written + 86_400_001, is_there);
        assert!(!logs.join("gone-1").exists());
        assert!(logs.join("here-2").exists() && work.join("here-2").exists());
    }
}
