//! The way of an executable to this machine: from any Nimbus or supervisor that has it, going on
//! where an earlier attempt ended.

use std::path::Path;
use std::time::Duration;

use galerna_protocol::nimbus_client::NimbusClient;
use galerna_protocol::supervisor_client::SupervisorClient;
use galerna_protocol::{Artifact, ArtifactChunk, DownloadArtifactRequest, LONGEST_MESSAGE, connect};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tonic::{Status, Streaming};

use super::{ArtifactError, hash_of};

/// A source that sends nothing for this long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who may have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// `host:port` of a Nimbus.
    Nimbus(String),
    /// `host:port` of a supervisor.
    Supervisor(String),
}

impl Source {
    fn address(&self) -> &str {
        match self {
            Self::Nimbus(address) | Self::Supervisor(address) => address,
        }
    }

    async fn open(&self, request: DownloadArtifactRequest) -> Result<Streaming<ArtifactChunk>, Status> {
        let channel = connect(self.address()).await?;
        let answer = match self {
            Self::Nimbus(_) => {
                let client = NimbusClient::new(channel).max_decoding_message_size(LONGEST_MESSAGE);
                { client }.download_artifact(request).await
            }
            Self::Supervisor(_) => {
                let client = SupervisorClient::new(channel).max_decoding_message_size(LONGEST_MESSAGE);
                { client }.download_artifact(request).await
            }
        };
        Ok(answer?.into_inner())
    }
}

/// Gets the whole content into `partial` and verifies it. What a failed attempt has got stays there.
pub(super) async fn fetch(artifact: &Artifact, sources: &[Source], partial: &Path) -> Result<(), ArtifactError> {
    let mut reasons = Vec::new();
    for source in sources {
        match fetch_from(artifact, source, partial).await {
            Ok(()) => return Ok(()),
            Err(reason) => reasons.push(format!("{}: {reason}", source.address())),
        }
    }
    if reasons.is_empty() {
        reasons.push("no nimbus and no other supervisor is known".to_owned());
    }
    Err(ArtifactError::NotFetched { sha256: artifact.sha256.clone(), reason: reasons.join("; ") })
}

async fn fetch_from(artifact: &Artifact, source: &Source, partial: &Path) -> Result<(), String> {
    // A second time only if what an earlier attempt left behind was wrong.
    for _ in 0..2 {
        let had = tokio::fs::metadata(partial).await.map_or(0, |metadata| metadata.len());
        download(artifact, source, partial, had).await?;
        let found = hash_of(partial.to_owned()).await.map_err(|error| error.to_string())?;
        if found == artifact.sha256 {
            return Ok(());
        }
        crate::files::remove(partial);
        if had == 0 {
            return Err(format!("what it sends has the SHA-256 {found}"));
        }
    }
    Err("what it sends is not what was submitted".to_owned())
}

async fn download(artifact: &Artifact, source: &Source, partial: &Path, had: u64) -> Result<(), String> {
    let had = if had > artifact.bytes { 0 } else { had };
    if had == artifact.bytes && had > 0 {
        return Ok(());
    }
    let request = DownloadArtifactRequest { sha256: artifact.sha256.clone(), offset: had };
    let mut chunks = bounded(source.open(request)).await?;
    let mut file = open_at(partial, had).await.map_err(|error| format!("{}: {error}", partial.display()))?;
    let mut at = had;
    while let Some(chunk) = bounded(chunks.message()).await? {
        at += chunk.content.len() as u64;
        if at > artifact.bytes {
            return Err(format!("it sends more than {} bytes", artifact.bytes));
        }
        file.write_all(&chunk.content).await.map_err(|error| format!("{}: {error}", partial.display()))?;
    }
    file.flush().await.map_err(|error| format!("{}: {error}", partial.display()))?;
    if at < artifact.bytes {
        return Err(format!("it ends after {at} of {} bytes", artifact.bytes));
    }
    Ok(())
}

async fn open_at(path: &Path, offset: u64) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).await?;
    file.set_len(offset).await?;
    let mut file = file;
    tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(offset)).await?;
    Ok(file)
}

async fn bounded<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err(format!("nothing came for {} s", PATIENCE.as_secs())),
    }
}
