//! How far each file was processed, kept in a file from which a later run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use galerna_topology_api::{Error, Result, TopologyContext};
use serde::{Deserialize, Serialize};

use super::copies::Original;
use super::fingerprint::{Fingerprint, Likeness};
use super::reader::open_content;
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
    /// What the file is recognized by beside its identity. Older position files lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Fingerprint>,
}

impl Entry {
    /// The file as one that may be copied.
    fn into_original(self) -> Option<Original> {
        let Self { path, offset, identity, content } = self;
        content.map(|content| Original { path, identity, content, offset, done: offset })
    }
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
    content: Option<Fingerprint>,
}

impl Progress {
    fn entry(&self) -> Entry {
        Entry { path: self.path.clone(), offset: self.done, identity: self.identity, content: self.content }
    }
}

/// Where to begin with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) offset: u64,
    /// Up to where all lines were processed.
    pub(super) done: u64,
    /// Up to where an earlier run has processed a file that has other content now.
    pub(super) rewritten_before: Option<u64>,
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

    /// Where to start reading a file: at its start if the file is not the one read before under this name, or if its
    /// content differs.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn resume_at(&self, found: &Found) -> io::Result<Start> {
        let entries = self.saved.iter().chain(&self.others);
        let is_same = |entry: &&Entry| match entry.content {
            Some(_) => entry.identity.on_any_device() == found.identity.on_any_device(),
            None => entry.identity == found.identity,
        };
        let Some(entry) = entries.filter(is_same).max_by_key(|entry| entry.offset) else {
            return Ok(Start::default());
        };
        let is_kept = match entry.content {
            Some(content) => content.compare(open_content(found)?.0)? == Likeness::Same,
            None => true,
        };
        Ok(match is_kept {
            true => Start { offset: entry.offset, done: entry.offset, rewritten_before: None },
            false if entry.identity == found.identity => {
                Start { rewritten_before: Some(entry.offset), ..Start::default() }
            }
            false => Start::default(),
        })
    }

    /// Starts to follow the progress of a file that is read from `offset` on. All lines before `done` were processed;
    /// those from there to `offset` are under way as lines of the file that this one is a copy of. The position of
    /// the copy stays before them, so that a later run reads them again.
    pub(super) fn opened(&mut self, id: u32, found: &Found, done: u64, offset: u64) {
        let identity = found.identity.on_any_device();
        let content = self.saved.iter().find(|entry| entry.identity.on_any_device() == identity && done > 0);
        let content = content.and_then(|entry| entry.content);
        let progress = Progress {
            path: found.path.clone(),
            identity: found.identity,
            done,
            end: offset,
            open: (done < offset).then_some(done).into_iter().collect(),
            content,
        };
        // What was known of it under an earlier number is void: it was cut off and begins anew.
        self.files.retain(|_, file| file.identity != found.identity);
        self.saved.retain(|entry| entry.identity.on_any_device() != identity);
        self.others.retain(|entry| entry.identity.on_any_device() != identity);
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

    /// What a file is recognized by, as far as it was read.
    pub(super) fn note(&mut self, id: u32, content: Fingerprint) {
        if let Some(file) = self.files.get_mut(&id) {
            file.content = Some(content);
        }
    }

    /// Forgets files that are no longer there, once all their lines are settled, and returns them.
    pub(super) fn keep_only(&mut self, present: &BTreeSet<Identity>) -> Vec<Original> {
        let is_present = |file: &Progress| !file.open.is_empty() || present.contains(&file.identity);
        let (kept, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.files).into_iter().partition(|(_, file)| is_present(file));
        self.files = kept;
        let present: BTreeSet<_> = present.iter().map(|identity| identity.on_any_device()).collect();
        let is_present = |entry: &Entry| present.contains(&entry.identity.on_any_device());
        let (kept, gone_saved) = std::mem::take(&mut self.saved).into_iter().partition::<Vec<_>, _>(is_present);
        self.saved = kept;
        self.is_changed |= !gone.is_empty() || !gone_saved.is_empty();
        let gone = gone.into_values().map(|file| file.entry()).chain(gone_saved);
        gone.filter_map(Entry::into_original).collect()
    }

    /// The files that other tasks have read in earlier runs.
    pub(super) fn of_other_tasks(&self) -> impl Iterator<Item = Original> {
        self.others.iter().cloned().filter_map(Entry::into_original)
    }

    /// Up to where all lines of a file were processed.
    pub(super) fn done(&self, id: u32) -> Option<u64> {
        self.files.get(&id).map(|file| file.done)
    }

    /// Whether there is something new, and a while has passed or it `is_last`.
    pub(super) fn is_due(&self, is_last: bool, context: &TopologyContext) -> bool {
        self.is_changed && (is_last || context.elapsed() >= self.written_at + INTERVAL)
    }

    /// Writes the file if that is due.
    pub(super) async fn save(&mut self, is_last: bool, context: &TopologyContext) -> Result<()> {
        if !self.is_due(is_last, context) {
            return Ok(());
        }
        let entries: Vec<_> = self.saved.iter().cloned().chain(self.files.values().map(Progress::entry)).collect();
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
