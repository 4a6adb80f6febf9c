//! How far each file was processed, kept in a file from which a later run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use galerna_topology_api::{Error, Result, RetryBuffer, TopologyContext};
use serde::{Deserialize, Serialize};

use super::source::{Found, Identity};

/// How often the file is written at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// One entry of the file: all lines of this file that start before `offset` were processed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    offset: u64,
    #[serde(flatten)]
    identity: Identity,
}

/// A file's lines that were emitted, in order.
struct Progress {
    path: PathBuf,
    identity: Identity,
    /// Up to where every line was processed.
    done: u64,
    /// Where the latest emitted line ends.
    end: u64,
    /// The starts of the emitted lines that are not processed yet.
    open: BTreeSet<u64>,
}

/// The progress of this task's files. Each task writes a file of its own and, on start, reads those
/// of all: so nothing is lost when files are dealt differently.
pub(super) struct Positions {
    own: PathBuf,
    /// What earlier runs have left: this task's, and those of the other tasks.
    saved: Vec<Entry>,
    others: Vec<Entry>,
    files: BTreeMap<u32, Progress>,
    is_changed: bool,
    written_at: Duration,
}

impl Positions {
    /// Reads what earlier runs have left at `path`.
    pub(super) fn load(path: &Path, context: &TopologyContext) -> Result<Self, String> {
        let (mut saved, mut others) = (Vec::new(), Vec::new());
        for task in 0..context.task_count() {
            let path = of_task(path, task);
            let text = match fs::read(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("cannot read position file {}: {error}", path.display())),
            };
            let entries: Vec<Entry> = serde_json::from_slice(&text)
                .map_err(|error| format!("{} is not a position file: {error}", path.display()))?;
            if task == context.task_index() { &mut saved } else { &mut others }.extend(entries);
        }
        let own = of_task(path, context.task_index());
        Ok(Self { own, saved, others, files: BTreeMap::new(), is_changed: false, written_at: context.elapsed() })
    }

    /// Where to go on with a file; 0 if it is another than the one that was read under its name.
    pub(super) fn resume_at(&self, found: &Found) -> u64 {
        let entries = self.saved.iter().chain(&self.others).filter(|entry| entry.identity == found.identity);
        entries.map(|entry| entry.offset).max().unwrap_or(0)
    }

    /// Starts to follow the progress of a file that is read from `offset` on.
    pub(super) fn opened(&mut self, id: u32, found: &Found, offset: u64) {
        let (path, identity, open) = (found.path.clone(), found.identity, BTreeSet::new());
        let progress = Progress { path, identity, done: offset, end: offset, open };
        // What was known of it under an earlier number is void: it was cut off and begins anew.
        self.files.retain(|_, file| file.identity != found.identity);
        self.saved.retain(|entry| entry.identity != found.identity);
        self.files.insert(id, progress);
        self.is_changed = true;
    }

    /// A line from `start` to `end` was emitted.
    pub(super) fn sent(&mut self, id: u32, start: u64, end: u64) {
        if let Some(file) = self.files.get_mut(&id) {
            file.open.insert(start);
            file.end = end;
        }
    }

    /// The line at `start` needs no more: it was acked, or given up and passed.
    pub(super) fn settled(&mut self, id: u32, start: u64) {
        let Some(file) = self.files.get_mut(&id) else { return };
        file.open.remove(&start);
        let done = file.open.first().copied().unwrap_or(file.end);
        self.is_changed |= done != file.done;
        file.done = done;
    }

    /// Forgets files that are no longer there, once all their lines are settled.
    pub(super) fn keep_only(&mut self, present: &BTreeSet<Identity>) {
        let before = self.files.len() + self.saved.len();
        self.files.retain(|_, file| !file.open.is_empty() || present.contains(&file.identity));
        self.saved.retain(|entry| present.contains(&entry.identity));
        self.is_changed |= self.files.len() + self.saved.len() != before;
    }

    /// Writes the file if there is something new, and a while has passed or it `is_last`.
    /// Dead letters of lines that it moves past are made durable before.
    pub(super) async fn save<K: Ord + Clone>(
        &mut self,
        is_last: bool,
        retries: &RetryBuffer<K>,
        context: &TopologyContext,
    ) -> Result<()> {
        if !self.is_changed || (!is_last && context.elapsed() < self.written_at + INTERVAL) {
            return Ok(());
        }
        retries.sync_dead_letters(context)?;
        let entry = |file: &Progress| Entry { path: file.path.clone(), offset: file.done, identity: file.identity };
        let entries: Vec<_> = self.saved.iter().cloned().chain(self.files.values().map(entry)).collect();
        let text = serde_json::to_vec_pretty(&entries)?;
        let path = self.own.clone();
        tokio::task::spawn_blocking(move || {
            replace(&path, &text).map_err(|error| format!("cannot write position file {}: {error}", path.display()))
        })
        .await?
        .map_err(Error::fatal)?;
        self.is_changed = false;
        self.written_at = context.elapsed();
        Ok(())
    }
}

fn of_task(path: &Path, task: u32) -> PathBuf {
    if task == 0 { path.to_owned() } else { suffixed(path, &format!(".{task}")) }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Puts a new file in the place of `path`: whoever reads it sees the old or the new one, whole.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let temporary = suffixed(path, ".tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}
