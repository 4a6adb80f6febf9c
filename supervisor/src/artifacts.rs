//! The executables that are kept here, by their SHA-256: fetched, verified, served, evicted.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use galerna_protocol::Artifact;
use sha2::{Digest, Sha256};

pub(crate) use fetch::Source;

/// So many are kept though nothing needs them: the next submission may.
const KEPT: usize = 4;

/// The folder of executables.
#[derive(Debug)]
pub(crate) struct Artifacts {
    folder: PathBuf,
    /// What has been verified since the start, and how its file looked then.
    verified: Mutex<BTreeMap<String, Looks>>,
    /// One download of each at a time.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

type Looks = (u64, Option<SystemTime>);

/// Why an executable cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    #[error("`{0}` is no artifact, expected 64 lower-case hexadecimal digits")]
    NoName(String),
    #[error("artifact {0} is not kept here")]
    Absent(String),
    #[error("cannot get artifact {sha256}: {reason}")]
    NotFetched { sha256: String, reason: String },
    #[error("{path}")]
    File { path: String, source: io::Error },
}

impl Artifacts {
    pub(crate) fn new(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, verified: Mutex::default(), turns: Mutex::default() })
    }

    /// The path of an executable that is there, whole and as it was submitted; fetched if need be.
    pub(crate) async fn ensure(&self, artifact: &Artifact, sources: &[Source]) -> Result<PathBuf, ArtifactError> {
        check_name(&artifact.sha256)?;
        let turn = Arc::clone(lock(&self.turns).entry(artifact.sha256.clone()).or_default());
        let _turn = turn.lock().await;
        if let Some(path) = self.find(&artifact.sha256).await? {
            return Ok(path);
        }
        let path = self.folder.join(&artifact.sha256);
        let partial = self.partial(&artifact.sha256);
        fetch::fetch(artifact, sources, &partial).await?;
        finish(&partial, &path).await.map_err(|source| file_error(&path, source))?;
        self.note_verified(&artifact.sha256, &path);
        tracing::info!("artifact {} is here, {} bytes", artifact.sha256, artifact.bytes);
        Ok(path)
    }

    /// The path of an executable that is there and was verified since the start; else it is verified now.
    pub(crate) async fn find(&self, sha256: &str) -> Result<Option<PathBuf>, ArtifactError> {
        check_name(sha256)?;
        let path = self.folder.join(sha256);
        let Some(looks) = looks_of(&path) else { return Ok(None) };
        if lock(&self.verified).get(sha256) == Some(&looks) {
            return Ok(Some(path));
        }
        if hash_of(path.clone()).await.map_err(|source| file_error(&path, source))? == sha256 {
            self.note_verified(sha256, &path);
            return Ok(Some(path));
        }
        tracing::warn!("artifact {sha256} is damaged on this disk; it is fetched again");
        crate::files::remove(&path);
        Ok(None)
    }

    /// Removes all but those that are needed and a few others.
    pub(crate) fn evict(&self, needed: &BTreeSet<String>) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let mut others = Vec::new();
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let sha256 = name.strip_suffix(".part").unwrap_or(&name);
            let is_busy = lock(&self.turns).get(sha256).is_some_and(|turn| turn.try_lock().is_err());
            if !needed.contains(sha256) && !is_busy {
                let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
                others.push((modified, sha256.to_owned(), file.path()));
            }
        }
        others.sort();
        let surplus = others.len().saturating_sub(KEPT);
        for (_, sha256, path) in others.drain(..surplus) {
            crate::files::remove(&path);
            lock(&self.verified).remove(&sha256);
        }
        let known: BTreeSet<String> = others.into_iter().map(|(_, sha256, _)| sha256).collect();
        lock(&self.turns)
            .retain(|sha256, turn| needed.contains(sha256) || known.contains(sha256) || turn.try_lock().is_err());
    }

    fn partial(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.part"))
    }

    fn note_verified(&self, sha256: &str, path: &Path) {
        if let Some(looks) = looks_of(path) {
            lock(&self.verified).insert(sha256.to_owned(), looks);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn file_error(path: &Path, source: io::Error) -> ArtifactError {
    ArtifactError::File { path: path.display().to_string(), source }
}

/// A hash is the name of a file here, and comes from outside.
fn check_name(sha256: &str) -> Result<(), ArtifactError> {
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(()) } else { Err(ArtifactError::NoName(sha256.chars().take(80).collect())) }
}

fn looks_of(path: &Path) -> Option<Looks> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

/// The SHA-256 of a file, on a thread where that may take its time.
async fn hash_of(path: PathBuf) -> io::Result<String> {
    tokio::task::spawn_blocking(move || {
        let mut file = fs::File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
                count => hash.update(&buffer[..count]),
            }
        }
    })
    .await
    .map_err(io::Error::other)?
}

/// Makes a verified partial file the executable, so that it is there as a whole or not at all.
async fn finish(partial: &Path, path: &Path) -> io::Result<()> {
    let (partial, path) = (partial.to_owned(), path.to_owned());
    tokio::task::spawn_blocking(move || {
        let file = fs::File::open(&partial)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    })
    .await
    .map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_file_with_the_right_content_is_found_and_a_damaged_one_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let artifacts = Artifacts::new(folder.path().join("artifacts")).expect("created");
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = folder.path().join("artifacts").join(sha256);
        assert!(artifacts.find(sha256).await.expect("looked").is_none());
        fs::write(&path, "abc").expect("written");
        assert_eq!(artifacts.find(sha256).await.expect("looked"), Some(path.clone()));
        fs::write(&path, "abd!").expect("written");
        assert!(artifacts.find(sha256).await.expect("looked").is_none());
        assert!(!path.exists());
        for name in ["../secret", "abc", &sha256.to_uppercase()] {
            assert!(matches!(artifacts.find(name).await, Err(ArtifactError::NoName(_))), "{name}");
        }
    }

    #[test]
    fn what_is_needed_is_kept_and_a_few_of_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let artifacts = Artifacts::new(folder.path().to_owned()).expect("created");
        let names: Vec<String> = (0..8).map(|n| format!("{n:064}")).collect();
        for name in &names {
            fs::write(folder.path().join(name), "x").expect("written");
        }
        artifacts.evict(&names[..2].iter().cloned().collect());
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 2 + KEPT);
        assert!(names[..2].iter().all(|name| folder.path().join(name).exists()));
    }
}
