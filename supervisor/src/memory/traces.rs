//! Whether the kernel has killed for memory: nobody says so, but there are traces.
//!
//! Within a container that goes on, the counters of its control group tell. A container that was killed as a
//! whole tells nothing to its successor, which has counters of its own: so while nearly all of the memory is in use,
//! a file says so, and a start that finds it knows how the one before has ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::guard::Whole;
use crate::files;
use crate::size;

/// A kill is told from the counters at most this long after it.
const RECENT: Duration = Duration::from_secs(2);
/// How often the file is written.
const WRITTEN_EACH: Duration = Duration::from_millis(900);

/// What was seen, and what is on disk of it.
#[derive(Debug)]
pub(crate) struct Traces {
    path: PathBuf,
    /// Whether the file is there, and since when as it is.
    written: Option<Instant>,
    whole: Option<Whole>,
    kills: Option<u64>,
    rose_at: Option<Instant>,
}

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct NearLimit {
    used: u64,
    limit: u64,
    unix_ms: i64,
}

impl Traces {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, written: None, whole: None, kills: None, rose_at: None }
    }

    /// How an earlier start has ended, if that was probably for memory. The traces of it are removed.
    pub(crate) fn of_earlier(path: &Path, now_unix_ms: i64) -> Option<String> {
        let NearLimit { used, limit, unix_ms } = files::read_json(path)?;
        files::remove(path);
        let seconds = now_unix_ms.saturating_sub(unix_ms).max(0) / 1000;
        Some(format!(
            "the container was probably killed for memory: {} of {} MiB were in use {seconds} seconds before this start",
            used >> 20,
            limit >> 20
        ))
    }

    /// Takes a look at the container in: what is in use, and how often the kernel has killed.
    pub(super) fn note(&mut self, whole: Option<Whole>, kills: u64, now: Instant, unix_ms: i64) {
        self.count(kills, now);
        self.whole = whole;
        let near = whole.filter(|whole| whole.used > whole.limit / 10 * 9);
        match near {
            Some(Whole { used, limit }) => {
                if self.written.is_none_or(|at| now.saturating_duration_since(at) >= WRITTEN_EACH) {
                    self.written = Some(now);
                    files::write_soon(&self.path, &NearLimit { used, limit, unix_ms });
                }
            }
            None => self.clear(),
        }
    }

    /// There is no need for the file any more.
    pub(crate) fn clear(&mut self) {
        if self.written.take().is_some() {
            files::remove(&self.path);
        }
    }

    /// Why a worker is gone that was killed by a signal that nobody here has sent, if the kernel did it a moment
    /// ago.
    pub(crate) fn of_kill(&mut self, kills: u64, now: Instant) -> Option<String> {
        self.count(kills, now);
        let is_recent = self.rose_at.is_some_and(|at| now.saturating_duration_since(at) <= RECENT);
        let seen = self.whole.map_or_else(
            || "nothing bounds the container's memory, so the machine's was short".to_owned(),
            |it| format!("{} of {} were in use at the last look", size::show(it.used), size::show(it.limit)),
        );
        is_recent.then(|| format!("was killed by the kernel for memory ({seen})"))
    }

    fn count(&mut self, kills: u64, now: Instant) {
        if self.kills.replace(kills).is_some_and(|before| kills > before) {
            self.rose_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn whole(used: u64) -> Option<Whole> {
        Some(Whole { used: used * MIB, limit: 1000 * MIB })
    }

    #[test]
    fn a_file_tells_that_most_was_in_use_until_it_is_not_or_the_stop_is_clean() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("memory.json");
        let mut traces = Traces::new(path.clone());
        let start = Instant::now();
        let mut at = start;
        let mut note = |traces: &mut Traces, used, unix_ms| {
            at += Duration::from_secs(1);
            traces.note(whole(used), 0, at, unix_ms);
            path.exists()
        };
        assert!(!note(&mut traces, 900, 1_000));
        assert!(note(&mut traces, 901, 2_000));
        assert!(note(&mut traces, 990, 3_000));
        let told = Traces::of_earlier(&path, 8_500).expect("a trace");
        assert_eq!(
            told,
            "the container was probably killed for memory: 990 of 1000 MiB were in use 5 seconds before this start"
        );
        assert_eq!(Traces::of_earlier(&path, 8_500), None, "it is told once");
        assert!(note(&mut traces, 950, 4_000));
        assert!(!note(&mut traces, 700, 5_000));
        assert!(note(&mut traces, 950, 6_000));
        traces.clear();
        assert_eq!(Traces::of_earlier(&path, 9_000), None);
    }

    #[test]
    fn only_a_counter_that_rose_a_moment_ago_blames_the_kernel() {
        let mut traces = Traces::new(PathBuf::from("nowhere"));
        let start = Instant::now();
        traces.note(whole(700), 5, start, 0);
        assert_eq!(traces.of_kill(5, start), None, "those were before");
        assert_eq!(
            traces.of_kill(6, start).as_deref(),
            Some("was killed by the kernel for memory (700 MiB of 1000 MiB were in use at the last look)")
        );
        traces.note(None, 7, start + Duration::from_secs(10), 0);
        assert!(traces.of_kill(7, start + Duration::from_secs(11)).is_some(), "seen by a look in between");
        assert_eq!(traces.of_kill(7, start + Duration::from_secs(13)), None);
    }
}
