//! Small files that are replaced as a whole.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a file by this value as JSON. After a crash the old or the new one is there.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, value, fs::File::sync_data)
}

/// The same for what is of no use after a crash of the machine, and need not wait for the disk. What fails is
/// logged.
pub(crate) fn write_soon(path: &Path, value: &impl Serialize) {
    if let Err(error) = replace(path, value, |_| Ok(())) {
        tracing::warn!("{} cannot be written: {error}", path.display());
    }
}

fn replace(path: &Path, value: &impl Serialize, sync: impl Fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = fs::File::create(&name)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    sync(&file)?;
    fs::rename(name, path)
}

/// Reads such a file: `None` if it is not there, or cannot be understood (which is logged).
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!("{} is ignored: {error}", path.display());
            return None;
        }
    };
    serde_json::from_slice(&bytes).inspect_err(|error| tracing::warn!("{} is ignored: {error}", path.display())).ok()
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{} cannot be removed: {error}", path.display());
    }
}
