//! What has been launched, on disk, so that a restarted daemon finds it again; and the numbers of
//! incarnations.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launcher::{Identity, Launch};
use crate::reports::Key;

/// One launch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    pub(crate) topology: String,
    pub(crate) slot: u32,
    pub(crate) incarnation: u64,
    /// `None` from just before until just after the process is started.
    pub(crate) identity: Option<Identity>,
    /// What was started.
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// How long its log was.
    pub(crate) log_start: u64,
    pub(crate) launched_unix_ms: i64,
    pub(crate) has_attached: bool,
    /// Its worker has ended for good.
    pub(crate) has_ended: bool,
}

impl Record {
    pub(crate) fn key(&self) -> Key {
        Key { topology: self.topology.clone(), slot: self.slot, incarnation: self.incarnation }
    }

    /// What was, or is to be, started.
    pub(crate) fn launch(&self, directory: PathBuf, log: PathBuf) -> Launch {
        let arguments = self.arguments.iter().map(Into::into).collect();
        Launch { program: self.program.clone(), arguments, directory, log }
    }
}

/// The records, one for each slot.
#[derive(Debug)]
pub(crate) struct Records {
    folder: PathBuf,
    incarnation: PathBuf,
    last: u64,
}

impl Records {
    /// Reads all records. `newest` is the highest incarnation that is known otherwise.
    pub(crate) fn load(folder: &Path, incarnation: &Path, newest: u64) -> (Self, BTreeMap<u32, Record>) {
        let mut found: BTreeMap<u32, Record> = BTreeMap::new();
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(record) = crate::files::read_json::<Record>(&path)
                && galerna_coordination::keys::is_name(&record.topology)
            {
                found.insert(record.slot, record);
            }
        }
        let counted = crate::files::read_json::<u64>(incarnation).unwrap_or_default();
        let last = found.values().map(|record| record.incarnation).chain([counted, newest]).max().unwrap_or_default();
        (Self { folder: folder.to_owned(), incarnation: incarnation.to_owned(), last }, found)
    }

    /// Whether anything was ever launched from this disk.
    pub(crate) fn has_counted(&self) -> bool {
        self.last > 0
    }

    /// A number above all before, and not below `least`. It is on disk before it is used.
    pub(crate) fn next_incarnation(&mut self, least: u64) -> io::Result<u64> {
        let next = (self.last + 1).max(least);
        crate::files::write_json(&self.incarnation, &next)?;
        self.last = next;
        Ok(next)
    }

    pub(crate) fn save(&self, record: &Record) -> io::Result<()> {
        crate::files::write_json(&self.path(record.slot), record)
    }

    pub(crate) fn remove(&self, slot: u32) {
        crate::files::remove(&self.path(slot));
    }

    fn path(&self, slot: u32) -> PathBuf {
        self.folder.join(format!("{slot}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_grow_over_restarts_and_lost_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let (workers, counter) = (folder.path().join("workers"), folder.path().join("incarnation.json"));
        let (mut records, found) = Records::load(&workers, &counter, 0);
        assert!(found.is_empty() && !records.has_counted());
        assert_eq!(records.next_incarnation(40).expect("written"), 40);
        assert_eq!(records.next_incarnation(40).expect("written"), 41);
        let record = Record { topology: "a-1".to_owned(), slot: 7, incarnation: 41, ..Record::default() };
        records.save(&record).expect("written");
        std::fs::write(workers.join("8.json"), "{").expect("written");
        let (mut records, found) = Records::load(&workers, &counter, 3);
        assert_eq!(found.into_values().collect::<Vec<_>>(), [record]);
        assert_eq!(records.next_incarnation(5).expect("written"), 42);
        std::fs::remove_file(&counter).expect("removed");
        assert_eq!(Records::load(&workers, &counter, 50).0.next_incarnation(0).expect("written"), 51);
    }
}
