//! Files of dead letters: a JSON object in each line.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use galerna_topology_api::engine::DeadLetter;
use galerna_topology_api::{Error, Result, Timestamp};
use serde_json::{Map, Value as Json, json};

/// Where and when a tuple was given up.
pub(crate) struct Origin<'a> {
    pub(crate) topology: &'a str,
    pub(crate) spout: &'a str,
    pub(crate) task: u32,
    pub(crate) now: Timestamp,
}

/// Appends a letter. One write takes a whole line, so tasks and workers of one machine may share a file. A line that
/// a full disk or a crash has cut off is ended first, so that each letter has a line to itself.
pub(crate) fn append(path: &Path, origin: &Origin<'_>, letter: &DeadLetter<'_>) -> Result<()> {
    let DeadLetter { fields, values, failure, tries } = letter;
    let mut named = Map::new();
    for (index, value) in values.iter().enumerate() {
        let name = fields.iter().nth(index).map_or_else(|| index.to_string(), str::to_owned);
        named.insert(name, serde_json::to_value(value)?);
    }
    let line: Json = json!({
        "values": named,
        "reason": failure.reason(),
        "component": failure.component(),
        "tries": tries,
        "topology": origin.topology,
        "spout": origin.spout,
        "task": origin.task,
        "time": origin.now.to_string(),
    });
    let write = || {
        let mut file = open(path)?;
        let end = if ends_with_line(&mut file)? { "" } else { "\n" };
        file.write_all(format!("{end}{line}\n").as_bytes())
    };
    write().map_err(|error| unwritable(path, &error))
}

/// Whether the last line of a file is whole. What cannot be read at its end, such as a pipe, counts as whole.
fn ends_with_line(file: &mut File) -> io::Result<bool> {
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// Has the system keep all letters of a file through a loss of power. Creates the file if there is none.
pub(crate) fn sync(path: &Path) -> Result<()> {
    open(path).and_then(|file| file.sync_data()).map_err(|error| unwritable(path, &error))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    format!("cannot write dead letters to {}: {error}", path.display()).into()
}
