//! Artifacts in a local folder: `<folder>/<sha256>` are whole ones, `<folder>/<sha256>.part` uploads
//! under way.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use galerna_protocol::Artifact;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::{BlobError, BlobStore, Held, Upload, is_artifact_name};

/// How long another upload of the same artifact is waited for.
const BUSY_WAIT: Duration = Duration::from_secs(30);

/// For how long what nobody needs is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// Uploads that were cut off.
    pub(crate) parts: Duration,
    /// Whole artifacts.
    pub(crate) wholes: Duration,
}

impl Default for Kept {
    fn default() -> Self {
        Self { parts: Duration::from_secs(60), wholes: Duration::from_secs(600) }
    }
}

/// Keeps artifacts in a folder.
#[derive(Debug)]
pub(crate) struct FolderStore {
    folder: PathBuf,
    limit: u64,
    /// For how long what nobody needs is kept.
    kept: Kept,
    /// When each file that is not needed was last used, as far as was seen.
    touched: Mutex<BTreeMap<String, Instant>>,
    /// Uploads under way: one at a time for each artifact.
    uploads: Mutex<BTreeMap<String, Weak<AsyncMutex<()>>>>,
}

impl FolderStore {
    /// In this folder, which is made if need be. Longer artifacts than `limit` bytes are refused;
    /// what nobody needs is swept once it was not used for as long as `kept` says.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(folder: impl Into<PathBuf>, limit: u64, kept: Kept) -> Result<Self, BlobError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|source| failed("cannot make", &folder, source))?;
        Ok(Self { folder, limit, kept, touched: Mutex::default(), uploads: Mutex::default() })
    }

    fn whole(&self, sha256: &str) -> Result<PathBuf, BlobError> {
        // A name comes from outside: anything else could be a path to somewhere else.
        if !is_artifact_name(sha256) {
            return Err(BlobError::BadName(sha256.chars().take(80).collect()));
        }
        Ok(self.folder.join(sha256))
    }

    fn touch(&self, file: String) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(file, Instant::now());
    }

    /// How long a file was not used, as far as was seen.
    fn age(&self, file: &str) -> Duration {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.entry(file.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    async fn upload_lock(&self, sha256: &str) -> Result<OwnedMutexGuard<()>, BlobError> {
        let lock = {
            let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
            uploads.retain(|_, lock| lock.strong_count() > 0);
            match uploads.get(sha256).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(AsyncMutex::new(()));
                    uploads.insert(sha256.to_owned(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        let waited = tokio::time::timeout(BUSY_WAIT, lock.lock_owned()).await;
        waited.map_err(|_| BlobError::Busy(sha256.to_owned()))
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn find(&self, sha256: &str) -> Result<Held, BlobError> {
        let whole = self.whole(sha256)?;
        if let Some(bytes) = length(&whole).await? {
            self.touch(sha256.to_owned());
            return Ok(Held::Whole(bytes));
        }
        Ok(Held::Part(length(&part(&whole)).await?.unwrap_or(0)))
    }

    async fn upload(&self, artifact: &Artifact, offset: u64) -> Result<Option<Box<dyn Upload>>, BlobError> {
        let whole = self.whole(&artifact.sha256)?;
        if artifact.bytes > self.limit {
            return Err(BlobError::TooLong { bytes: artifact.bytes, limit: self.limit });
        }
        let lock = self.upload_lock(&artifact.sha256).await?;
        if length(&whole).await?.is_some() {
            return Ok(None);
        }
        let part = part(&whole);
        let held = length(&part).await?.unwrap_or(0);
        if offset > held {
            return Err(BlobError::Gap { offset, held });
        }
        let mut options = OpenOptions::new();
        let opened = options.create(true).write(true).truncate(false).open(&part).await;
        let mut file = opened.map_err(|source| failed("cannot write", &part, source))?;
        let prepared = async {
            file.set_len(offset).await?;
            file.seek(SeekFrom::Start(offset)).await
        };
        prepared.await.map_err(|source| failed("cannot write", &part, source))?;
        let hash = hash_of(part.clone(), offset).await?;
        let artifact = artifact.clone();
        Ok(Some(Box::new(FolderUpload { artifact, whole, part, file, hash, came: offset, _lock: lock })))
    }

    async fn read(&self, sha256: &str, offset: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>, BlobError> {
        let path = self.file(sha256).await?;
        let opened = async {
            let mut file = File::open(&path).await?;
            file.seek(SeekFrom::Start(offset)).await?;
            Ok(file)
        };
        let file = opened.await.map_err(|source| failed("cannot read", &path, source))?;
        Ok(Box::new(file))
    }

    async fn file(&self, sha256: &str) -> Result<PathBuf, BlobError> {
        let whole = self.whole(sha256)?;
        match length(&whole).await? {
            Some(_) => Ok(whole),
            None => Err(BlobError::Missing(sha256.to_owned())),
        }
    }

    async fn sweep(&self, is_needed: &(dyn for<'a> Fn(&'a str) -> bool + Send + Sync)) -> Result<(), BlobError> {
        let listed = |source| failed("cannot list", &self.folder, source);
        let mut entries = fs::read_dir(&self.folder).await.map_err(listed)?;
        while let Some(entry) = entries.next_entry().await.map_err(listed)? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let sha256 = name.strip_suffix(".part").unwrap_or(&name);
            if !is_artifact_name(sha256) || (sha256 == name && is_needed(sha256)) {
                continue;
            }
            let Ok(Ok(_lock)) = tokio::time::timeout(Duration::ZERO, self.upload_lock(sha256)).await else {
                self.touch(name);
                continue;
            };
            if self.age(&name) >= if sha256 == name { self.kept.wholes } else { self.kept.parts } {
                let path = entry.path();
                tracing::info!(file = %path.display(), "removing what nobody needs");
                fs::remove_file(&path).await.map_err(|source| failed("cannot remove", &path, source))?;
                self.touched.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
        }
        Ok(())
    }
}

struct FolderUpload {
    artifact: Artifact,
    whole: PathBuf,
    part: PathBuf,
    file: File,
    hash: Sha256,
    came: u64,
    _lock: OwnedMutexGuard<()>,
}

impl FolderUpload {
    /// Removes what has come: going on with it cannot help.
    async fn refuse(&self, found: String) -> BlobError {
        let _ = fs::remove_file(&self.part).await;
        let Artifact { sha256, bytes, .. } = &self.artifact;
        BlobError::Mismatch { expected: sha256.clone(), bytes: *bytes, found, came: self.came }
    }
}

#[async_trait]
impl Upload for FolderUpload {
    async fn write(&mut self, content: Bytes) -> Result<(), BlobError> {
        let came = self.came + content.len() as u64;
        if came > self.artifact.bytes {
            self.came = came;
            return Err(self.refuse("longer".to_owned()).await);
        }
        let written = async {
            self.file.write_all(&content).await?;
            // tokio's file tells of a failed write with the next one only; a full disk is told at once.
            self.file.flush().await
        };
        if let Err(source) = written.await {
            let error = failed("cannot write", &self.part, source);
            if matches!(error, BlobError::DiskFull { .. }) {
                let _ = fs::remove_file(&self.part).await;
            }
            return Err(error);
        }
        self.hash.update(&content);
        self.came = came;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), BlobError> {
        let found = hex(&self.hash.clone().finalize());
        if self.came < self.artifact.bytes {
            // Cut off: what is here stays, for resuming.
            let Artifact { sha256, bytes, .. } = self.artifact;
            let found = "its beginning".to_owned();
            return Err(BlobError::Mismatch { expected: sha256, bytes, found, came: self.came });
        }
        if found != self.artifact.sha256 {
            return Err(self.refuse(found).await);
        }
        let settled = async {
            self.file.sync_all().await?;
            fs::rename(&self.part, &self.whole).await?;
            match self.whole.parent() {
                // So that the new name outlives a crash of the machine.
                Some(folder) => File::open(folder).await?.sync_all().await,
                None => Ok(()),
            }
        };
        settled.await.map_err(|source| failed("cannot write", &self.whole, source))
    }
}

fn part(whole: &Path) -> PathBuf {
    whole.with_extension("part")
}

async fn length(path: &Path) -> Result<Option<u64>, BlobError> {
    match fs::metadata(path).await {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("cannot read", path, source)),
    }
}

/// The hash of the first `length` bytes, to be gone on with.
async fn hash_of(path: PathBuf, length: u64) -> Result<Sha256, BlobError> {
    if length == 0 {
        return Ok(Sha256::new());
    }
    let shown = path.clone();
    let hashed = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(path)?;
        file.rewind()?;
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1024 * 1024]);
        let mut rest = file.take(length);
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(hash),
                count => hash.update(&buffer[..count]),
            }
        }
    });
    let hashed = hashed.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    hashed.map_err(|source| failed("cannot read", &shown, source))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> BlobError {
    let path = path.display().to_string();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::DiskFull { path },
        _ => BlobError::Io { what, path, source },
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Result;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn artifact(content: &[u8]) -> Artifact {
        let sha256 = hex(&Sha256::digest(content));
        Artifact { sha256, bytes: content.len() as u64, program: "words".into(), is_debug: false }
    }

    fn store(folder: &Path, kept: Duration) -> FolderStore {
        FolderStore::open(folder, 1000, Kept { parts: kept, wholes: kept }).expect("a temporary folder can be used")
    }

    async fn upload(store: &FolderStore, artifact: &Artifact, offset: u64, content: &'static [u8]) -> Result<()> {
        if let Some(mut upload) = store.upload(artifact, offset).await? {
            upload.write(Bytes::from_static(content)).await?;
            upload.finish().await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn cut_off_upload_is_not_visible_and_is_gone_on_with() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), Duration::MAX);
        let artifact = artifact(b"hello world");
        assert!(upload(&store, &artifact, 0, b"hello").await.is_err());
        assert_eq!(store.find(&artifact.sha256).await?, Held::Part(5));
        assert!(matches!(store.file(&artifact.sha256).await, Err(BlobError::Missing(_))));
        assert!(matches!(store.upload(&artifact, 6).await, Err(BlobError::Gap { offset: 6, held: 5 })));
        // A restarted daemon knows of it, too.
        let store = self::store(folder.path(), Duration::MAX);
        upload(&store, &artifact, 5, b" world").await?;
        assert_eq!(store.find(&artifact.sha256).await?, Held::Whole(11));
        let mut content = String::new();
        store.read(&artifact.sha256, 6).await?.read_to_string(&mut content).await?;
        assert_eq!(content, "world");
        Ok(())
    }

    #[tokio::test]
    async fn changed_or_longer_bytes_are_refused_and_leave_nothing() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), Duration::MAX);
        let artifact = artifact(b"hello world");
        for content in [&b"hello wOrld"[..], b"hello world!"] {
            let refusal = upload(&store, &artifact, 0, content).await.expect_err("something else");
            assert!(refusal.to_string().contains(&artifact.sha256), "{refusal}");
            assert_eq!(store.find(&artifact.sha256).await?, Held::Part(0));
        }
        let long = Artifact { bytes: 1001, ..artifact };
        assert!(matches!(store.upload(&long, 0).await, Err(BlobError::TooLong { .. })));
        Ok(())
    }

    #[tokio::test]
    async fn names_that_are_paths_are_refused() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), Duration::MAX);
        for name in ["", "../../etc/passwd", &"A".repeat(64)] {
            assert!(matches!(store.find(name).await, Err(BlobError::BadName(_))), "{name}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_nobody_needs_or_goes_on_with_is_swept() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), Duration::ZERO);
        let (needed, unneeded, cut_off) = (artifact(b"needed"), artifact(b"unneeded"), artifact(b"cut off"));
        upload(&store, &needed, 0, b"needed").await?;
        upload(&store, &unneeded, 0, b"unneeded").await?;
        assert!(upload(&store, &cut_off, 0, b"cut").await.is_err());
        let under_way = artifact(b"under way");
        let mut upload = store.upload(&under_way, 0).await?.expect("not there yet");
        upload.write(Bytes::from_static(b"under")).await?;
        store.sweep(&|sha256| sha256 == needed.sha256).await?;
        assert_eq!(store.find(&needed.sha256).await?, Held::Whole(6));
        assert_eq!(store.find(&unneeded.sha256).await?, Held::Part(0));
        assert_eq!(store.find(&cut_off.sha256).await?, Held::Part(0));
        assert_eq!(store.find(&under_way.sha256).await?, Held::Part(5));
        Ok(())
    }

    #[tokio::test]
    async fn two_uploads_of_one_artifact_at_once_take_turns_and_both_succeed() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let store = store(folder.path(), Duration::MAX);
        let artifact = artifact(b"hello world");
        let first = upload(&store, &artifact, 0, b"hello world");
        let second = upload(&store, &artifact, 0, b"hello world");
        let (first, second) = tokio::join!(first, second);
        first?;
        second?;
        assert_eq!(store.find(&artifact.sha256).await?, Held::Whole(11));
        Ok(())
    }
}
